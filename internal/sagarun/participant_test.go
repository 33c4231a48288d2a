package sagarun_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/sagarun"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
)

var seats = saga.Saga[trip]{Name: "seats", Steps: []saga.Step[trip]{
	saga.Message("seat", "seat.take", "seat.leave").Receive(saga.Into(func(s *trip, seat string) error {
		if seat == "window" {
			return saga.Refuse("draughty")
		}
		s.Seat = seat
		return nil
	})),
	saga.Message("meal", "meal.order", "meal.cancel").When(saga.If(func(s trip) bool { return s.Train })).
		Send(saga.From(func(s trip) string { return s.Who })),
}}

// seated is a rig whose message steps are done by a participant.
func seated(t *testing.T, do sagarun.Participation) (*rig, *gorm.DB) {
	db := database(t)
	r := newRig(t, nil, seats)
	r.wire.participant = &sagarun.Participant{Name: "seats", Topic: "seat.take", UndoTopic: "seat.leave", DB: db, Replies: r.wire, Do: do,
		Undo: func(_ context.Context, tx *gorm.DB, m holdfast.Message) (any, error) {
			return nil, note(tx, "undo %s", m.Body)
		}}
	return r, db
}

func (r *rig) seat(data string) activities.SagaStep {
	s := r.step("seats", "seat", data)
	s.Wait = time.Minute
	return s
}

func takeSeat(_ context.Context, tx *gorm.DB, m holdfast.Message) (any, error) {
	return "4a", note(tx, "do %s", m.Body)
}

func TestMessageStep(t *testing.T) {
	t.Parallel()
	r, db := seated(t, takeSeat)
	s := r.seat(`{"who":"ann"}`)
	s.Last = true
	for range 2 {
		o := r.do(s)
		require.Equal(t, core.OutcomeDone, o.Kind, o.Error)
		require.JSONEq(t, `{"seat":"4a"}`, string(o.Patch))
	}
	require.JSONEq(t, `{"who":"ann","seat":"4a"}`, r.ended[s.Saga.ID])
	require.Equal(t, holdfast.Message{ID: r.wire.sent[0].ID, Topic: "seat.take", Key: "K-1", ContentType: "application/json", Body: []byte(`{"who":"ann"}`)}, r.wire.sent[0])
	require.Equal(t, broker.SagaCall{Saga: s.Saga.ID, Workflow: s.Saga.Workflow, Group: "g", Step: "seat", ReplyTo: "h.replies.g.me", Replies: "h.replies.g", Topic: "seat.take"}, r.wire.calls[0])
	require.Equal(t, broker.SagaReply{Saga: s.Saga.ID, Workflow: s.Saga.Workflow, Step: "seat", Outcome: "done", Result: []byte(`"4a"`), Participant: "seats", Topic: "seat.take"}, r.wire.replies[0])

	s.Cause = "no room"
	for range 2 {
		require.Equal(t, core.Outcome{Kind: core.OutcomeDone}, r.undo(s))
	}
	require.Equal(t, "no room", r.wire.calls[2].Cause)
	require.True(t, r.wire.calls[2].Undo)
	require.Equal(t, []string{`do {"who":"ann"}`, `undo {"who":"ann"}`}, notes(t, db))
	o := r.do(s)
	require.Equal(t, core.OutcomeBlocked, o.Kind)
	require.Contains(t, o.Error, "no room")
}

func TestMessageUndoneBeforeItCame(t *testing.T) {
	t.Parallel()
	r, db := seated(t, takeSeat)
	s := r.seat(`{}`)
	s.Cause = "timeout"
	for range 2 {
		require.Equal(t, core.OutcomeBlocked, r.undo(s).Kind)
	}
	require.Equal(t, core.OutcomeBlocked, r.do(s).Kind)
	require.Empty(t, notes(t, db))
}

func TestHowAParticipantFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   sagarun.Participation
		kind core.OutcomeKind
		text string
	}{
		"refusal": {func(context.Context, *gorm.DB, holdfast.Message) (any, error) { return nil, saga.Refuse("full") }, core.OutcomeRefused, "full"},
		"error":   {func(context.Context, *gorm.DB, holdfast.Message) (any, error) { return nil, errOops }, core.OutcomeFailed, "participant seats gave up at attempt 3: oops"},
		"panic":   {func(context.Context, *gorm.DB, holdfast.Message) (any, error) { panic("oops") }, core.OutcomeFailed, "panic: oops"},
		"no JSON": {func(context.Context, *gorm.DB, holdfast.Message) (any, error) { return func() {}, nil }, core.OutcomeFailed, "is no JSON"},
		"too large": {func(context.Context, *gorm.DB, holdfast.Message) (any, error) {
			return strings.Repeat("x", broker.MaxSagaResult), nil
		}, core.OutcomeFailed, "what participant seats answers has"},
		"refused by us": {func(_ context.Context, tx *gorm.DB, _ holdfast.Message) (any, error) {
			return "window", note(tx, "window")
		}, core.OutcomeFailed, "draughty"},
		"not what we take": {func(context.Context, *gorm.DB, holdfast.Message) (any, error) { return 1, nil }, core.OutcomeFailed, "not what Receive takes"},
		"answers nil":      {func(context.Context, *gorm.DB, holdfast.Message) (any, error) { return nil, nil }, core.OutcomeDone, ""},
		"wrapped refusal": {func(context.Context, *gorm.DB, holdfast.Message) (any, error) {
			return nil, fmt.Errorf("at noon: %w", saga.Refuse("full"))
		}, core.OutcomeRefused, "full"},
		"writes and refuses": {func(_ context.Context, tx *gorm.DB, _ holdfast.Message) (any, error) {
			return nil, cmpErr(note(tx, "gone"), saga.Refuse("full"))
		}, core.OutcomeRefused, "full"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, db := seated(t, c.do)
			o := r.do(r.seat(`{}`))
			require.Equal(t, c.kind, o.Kind, o.Error)
			require.Contains(t, o.Error, c.text)
			require.NotContains(t, notes(t, db), "gone")
		})
	}
}

func cmpErr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

func TestAnUndoThatRefusesGivesUp(t *testing.T) {
	t.Parallel()
	r, _ := seated(t, takeSeat)
	r.wire.participant.Undo = func(context.Context, *gorm.DB, holdfast.Message) (any, error) { return nil, saga.Refuse("too late") }
	s := r.seat(`{}`)
	require.Equal(t, core.OutcomeDone, r.do(s).Kind)
	o := r.undo(s)
	require.Equal(t, core.OutcomeFailed, o.Kind)
	require.Equal(t, holdfast.ClassPermanent, o.Class)
	require.Contains(t, o.Error, "an Undo must not refuse: too late")
}

func TestAParticipantWithoutUndoBlocks(t *testing.T) {
	t.Parallel()
	r, db := seated(t, takeSeat)
	r.wire.participant.Undo = nil
	s := r.seat(`{}`)
	require.Equal(t, core.OutcomeBlocked, r.undo(s).Kind)
	require.Equal(t, core.OutcomeBlocked, r.do(s).Kind)
	require.Empty(t, notes(t, db))
}

// TestMessagesThatAreNotForIt: dead letters, or a failed step where a saga asks.
func TestMessagesThatAreNotForIt(t *testing.T) {
	t.Parallel()
	r, _ := seated(t, takeSeat)
	p := r.wire.participant
	plain := broker.Delivery{Message: holdfast.Message{ID: "m", Topic: "seat.take"}}
	err := p.Handle(t.Context(), plain)
	require.True(t, holdfast.IsPermanent(err))
	require.ErrorContains(t, err, "is no saga's")
	taken, err := p.GiveUp(t.Context(), plain, holdfast.Failure{})
	require.NoError(t, err)
	require.False(t, taken)

	s := r.seat(`{}`)
	s.Step.UndoTopic = "seat.take"
	o := r.undo(s)
	require.Equal(t, core.OutcomeFailed, o.Kind)
	require.Contains(t, o.Error, `asks on topic seat.take to undo its step seat, but participant seats does that on "seat.leave"`)
}

func TestReplyThatCannotBeSent(t *testing.T) {
	t.Parallel()
	r, db := seated(t, takeSeat)
	p, call := r.wire.participant, broker.SagaCall{Saga: "saga/g/seats/1", Workflow: "saga/g/seats/1", Step: "seat"}
	d := broker.Delivery{Message: holdfast.Message{ID: "m", Topic: "seat.take", Body: []byte("{}")}, Saga: &call}

	r.wire.replyErr = errOops
	err := p.Handle(t.Context(), d)
	require.ErrorIs(t, err, errOops)
	require.IsType(t, broker.Wait(errOops), err, "no fault of the message")
	_, err = p.GiveUp(t.Context(), d, holdfast.Failure{})
	require.ErrorIs(t, err, errOops, "it comes again")

	r.wire.replyErr = holdfast.ErrInvalid
	require.True(t, holdfast.IsPermanent(p.Handle(t.Context(), d)))
	taken, err := p.GiveUp(t.Context(), d, holdfast.Failure{})
	require.NoError(t, err)
	require.False(t, taken, "it becomes a dead letter")

	r.wire.replyErr = nil
	require.NoError(t, p.Handle(t.Context(), d))
	require.Equal(t, []string{"do {}"}, notes(t, db), "once")
}

func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	away, err := gorm.Open(postgres.Open("postgres://nobody@127.0.0.1:1/nothing?sslmode=disable"), &gorm.Config{Logger: logger.Discard, DisableAutomaticPing: true})
	require.NoError(t, err)
	pool, err := away.DB()
	require.NoError(t, err)
	t.Cleanup(func() { _ = pool.Close() })
	p := &sagarun.Participant{Name: "seats", Topic: "seat.take", UndoTopic: "seat.leave", DB: away, Do: takeSeat}
	for topic, call := range map[string]broker.SagaCall{
		"seat.take":  {Saga: "s", Workflow: "s", Step: "seat"},
		"seat.leave": {Saga: "s", Workflow: "s", Step: "seat", Undo: true},
	} {
		err = p.Handle(t.Context(), broker.Delivery{Message: holdfast.Message{Topic: topic}, Saga: &call})
		require.IsType(t, broker.Wait(errOops), err, "no fault of the message")
	}
	r := newRig(t, away, localTrip)
	require.True(t, r.do(r.step("local-trip", "room", `{}`)).Excused)
	require.True(t, r.undo(r.step("local-trip", "room", `{}`)).Excused)
}

// A function that fails for what it could not reach itself is at fault.
func TestUserUnavailableCounts(t *testing.T) {
	t.Parallel()
	r := newRig(t, database(t), localTrip)
	o := r.do(r.step("local-trip", "room", `{"who":"nobody"}`))
	require.Equal(t, core.OutcomeFailed, o.Kind)
	require.False(t, o.Excused)
}

// localTrip is a saga of one local step, which cannot reach the hotel of nobody.
var localTrip = saga.Saga[trip]{Name: "local-trip", Steps: []saga.Step[trip]{
	saga.Local("room", func(_ context.Context, _ *gorm.DB, s *trip) error {
		if s.Who == "nobody" {
			return &holdfast.UnavailableError{Part: "hotel"}
		}
		return nil
	}, func(context.Context, *gorm.DB, *trip) error { return nil }),
}}

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil, seats)
	s := r.step("seats", "seat", `{}`)
	require.Equal(t, core.Outcome{Kind: core.OutcomePending}, r.do(s), "it does not wait")
	s.Wait = time.Millisecond
	require.Equal(t, core.Outcome{Kind: core.OutcomePending}, r.do(s))
	require.Len(t, r.wire.sent, 2)

	s.Wait = time.Minute
	r.wire.err = fmt.Errorf("%w: seat.take", holdfast.ErrUnroutable)
	o := r.do(s)
	require.Equal(t, core.OutcomePending, o.Kind, "it may come")
	require.Equal(t, "no participant is bound to topic seat.take: start it", o.Error)
	r.wire.err = &holdfast.UnavailableError{Part: "RabbitMQ", Err: errOops}
	o = r.do(s)
	require.Equal(t, core.OutcomePending, o.Kind)
	require.Contains(t, o.Error, "RabbitMQ")
	r.wire.err = holdfast.ErrTooLarge
	o = r.do(s)
	require.Equal(t, core.OutcomeFailed, o.Kind)
	require.Equal(t, holdfast.ClassPermanent, o.Class)
}

func TestConditionOfAMessage(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil, seats)
	require.Equal(t, core.OutcomeSkipped, r.do(r.step("seats", "meal", `{}`)).Kind)
	require.Empty(t, r.wire.sent)
	require.Equal(t, core.OutcomePending, r.do(r.step("seats", "meal", `{"who":"ann","train":true}`)).Kind)
	require.Equal(t, `"ann"`, string(r.wire.sent[0].Body))
}

// TestWaiters: a reply goes to the one who waits for it, or to nobody.
func TestWaiters(t *testing.T) {
	t.Parallel()
	r, _ := seated(t, takeSeat)
	s := r.seat(`{}`)
	require.Equal(t, core.OutcomeDone, r.do(s).Kind)
	require.Empty(t, r.wire.unheard)
	reply := r.wire.replies[0]
	require.False(t, r.Waiters.Give(reply), "a second reply is nobody's here")
	s.Wait = 0
	require.Equal(t, core.OutcomePending, r.do(s).Kind)
	require.Len(t, r.wire.unheard, 1, "it is for the workflow")

	s.Wait = time.Minute
	s.Saga.Workflow += "/undo" // which asks the same for itself
	require.Equal(t, core.OutcomeDone, r.do(s).Kind)
}

// TestAReplyAtTheLastMoment is never lost: either the step has it, or whoever
// brings it hears that nobody does.
func TestAReplyAtTheLastMoment(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil, seats)
	for i := range 300 {
		s := r.seat(`{}`)
		s.Wait = time.Duration(i%50) * 10 * time.Microsecond
		if s.Wait == 0 {
			continue
		}
		given := make(chan bool, 1)
		go func() {
			time.Sleep(s.Wait) // about as long as the step waits: any order is right
			given <- r.Waiters.Give(broker.SagaReply{Saga: s.Saga.ID, Workflow: s.Saga.Workflow, Step: "seat", Topic: s.Step.Topic, Outcome: "refused", Reason: "full"})
		}()
		o := r.do(s)
		require.Equal(t, <-given, o.Kind == core.OutcomeRefused, "%+v", o)
	}
}
