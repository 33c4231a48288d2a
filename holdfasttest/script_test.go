package holdfasttest_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/holdfasttest"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// ride has a step of another service between two of its own.
var ride = saga.Saga[order]{
	Name: "ride",
	Key:  func(o order) string { return o.Number },
	Steps: []saga.Step[order]{
		saga.Local("book", func(context.Context, *gorm.DB, *order) error { return nil },
			func(context.Context, *gorm.DB, *order) error { return nil }),
		saga.Message("seat", "seat.take", "seat.give").Receive(saga.Into(func(o *order, seat int) error {
			o.Stock = seat
			return nil
		})),
		saga.Local("print", func(_ context.Context, _ *gorm.DB, o *order) error {
			if o.Amount < 0 {
				return saga.Refuse("no paper")
			}
			return nil
		}, nil).NoUndo(),
	},
}

// outcome is what two participants must agree in.
type outcome struct {
	Err   string
	Steps []string
	Stock int
	Tries int
}

func outcomeOf(res holdfasttest.SagaResult[order]) outcome {
	out := outcome{Steps: res.Steps, Stock: res.State.Stock, Tries: res.Status.Core.Steps["seat"].Tries}
	if res.Err != nil {
		out.Err = res.Err.Error()
	}
	return out
}

// TestScriptedIsAsReal: a participant that is played, and one that does the same,
// bring a saga to the same end, by the same steps.
func TestScriptedIsAsReal(t *testing.T) {
	taken := func(context.Context, *gorm.DB, holdfast.Message) (any, error) { return 7, nil }
	fails := func(err error) worker.Participation {
		return func(context.Context, *gorm.DB, holdfast.Message) (any, error) { return nil, err }
	}
	once := func() worker.Participation { // fails the first time
		n := 0
		return func(context.Context, *gorm.DB, holdfast.Message) (any, error) {
			if n++; n == 1 {
				return nil, errors.New("busy")
			}
			return 7, nil
		}
	}
	for name, row := range map[string]struct {
		back   bool // the step after it refuses
		script func(*holdfasttest.Scripted)
		do     worker.Participation
		undo   worker.Participation
		fault  func(*holdfasttest.Kit)
	}{
		"done":    {script: func(s *holdfasttest.Scripted) { s.Answers(holdfasttest.Done(7)) }, do: taken},
		"undone":  {back: true, script: func(s *holdfasttest.Scripted) { s.Answers(holdfasttest.Done(7)) }, do: taken},
		"refused": {script: func(s *holdfasttest.Scripted) { s.Answers(holdfasttest.Refused("full")) }, do: fails(saga.Refuse("full"))},
		"failed":  {script: func(s *holdfasttest.Scripted) { s.Answers(holdfasttest.Failed(errors.New("busy"))) }, do: fails(errors.New("busy"))},
		"permanently": {script: func(s *holdfasttest.Scripted) {
			s.Answers(holdfasttest.Failed(holdfast.Permanent(errors.New("no such train"))))
		}, do: fails(holdfast.Permanent(errors.New("no such train")))},
		"at last": {script: func(s *holdfasttest.Scripted) {
			s.Answers(holdfasttest.Failed(errors.New("busy")), holdfasttest.Done(7))
		}, do: once()},
		"unknown, then known": {script: func(s *holdfasttest.Scripted) { s.Answers(holdfasttest.Unknown(7), holdfasttest.Done(8)) }, do: taken,
			fault: func(k *holdfasttest.Kit) { k.LoseReply("seat", false).Times(1) }},
		"unknown": {script: func(s *holdfasttest.Scripted) { s.Answers(holdfasttest.Unknown(7)) }, do: taken,
			fault: func(k *holdfasttest.Kit) { k.LoseReply("seat", false) }},
		"the undo fails, and then not": {back: true, script: func(s *holdfasttest.Scripted) {
			s.Answers(holdfasttest.Done(7)).UndoAnswers(holdfasttest.Failed(errors.New("busy")), holdfasttest.Done(nil))
		}, do: taken, undo: once()},
	} {
		t.Run(name, func(t *testing.T) {
			o := order{Number: "T-1"}
			if row.back {
				o.Amount = -1
			}
			real := holdfasttest.New(t)
			if row.fault != nil {
				row.fault(real)
			}
			undo := row.undo
			if undo == nil {
				undo = fails(nil)
			}
			real.Service(nil).Participate(worker.Participant{Topic: "seat.take", UndoTopic: "seat.give", Do: row.do, Undo: undo, Tries: 1, Ladder: []time.Duration{}})
			want := outcomeOf(holdfasttest.RunSaga(real, ride, o))

			played := holdfasttest.New(t)
			row.script(played.Script("seat.take", "seat.give"))
			require.Equal(t, want, outcomeOf(holdfasttest.RunSaga(played, ride, o)))
		})
	}
}

// TestASilentParticipant: nothing was done, so nothing is undone, and it never will be.
func TestASilentParticipant(t *testing.T) {
	k := holdfasttest.New(t)
	seats := k.Script("seat.take", "seat.give").Answers(holdfasttest.Silent())
	res := holdfasttest.RunSaga(k, ride, order{Number: "T-1"})
	require.ErrorIs(t, res.Err, holdfast.ErrSagaCompensated)
	require.Equal(t, []string{"do book", "undo book"}, res.Steps, "there is nothing to undo")
	asked := seats.Asked()
	require.Greater(t, len(asked), 1)
	require.True(t, slices.ContainsFunc(asked, func(a holdfasttest.Asked) bool { return a.Undo }))
	require.Equal(t, "seat", asked[0].Step)
	require.Equal(t, res.ID, asked[0].Saga)
	require.Equal(t, "seat.take", asked[0].Message.Topic)
}

// TestAnswersBy: the answer depends on what is asked.
func TestAnswersBy(t *testing.T) {
	k := holdfasttest.New(t)
	k.Script("seat.take", "seat.give").AnswersBy(func(m holdfast.Message) holdfasttest.Answer {
		var o order
		if err := json.Unmarshal(m.Body, &o); err != nil {
			return holdfasttest.Failed(err)
		}
		if o.Amount > 100 {
			return holdfasttest.Refused("too many")
		}
		return holdfasttest.Done(o.Amount)
	})
	res := holdfasttest.RunSaga(k, ride, order{Number: "T-1", Amount: 3})
	require.NoError(t, res.Err)
	require.Equal(t, 3, res.State.Stock)
	res = holdfasttest.RunSaga(k, ride, order{Number: "T-2", Amount: 300})
	require.ErrorContains(t, res.Err, "too many")
}
