package holdfasttest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/holdfasttest"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// trip is the state of the sagas below.
type trip struct {
	Days    int
	Flag    string
	Done    []string
	Hotel   string
	Mail    string
	Counter int
}

func local(name string) saga.StepDef {
	return saga.Local(name, func(context.Context, *gorm.DB, *trip) error { return nil }, func(context.Context, *gorm.DB, *trip) error { return nil })
}

func sagaOf(steps ...saga.Step[trip]) saga.Saga[trip] {
	return saga.Saga[trip]{Name: "trip", Steps: steps}
}

func TestParallelStepsAreInTheSameOrderEachTime(t *testing.T) {
	def := sagaOf(
		saga.Parallel("book", local("flight"), saga.Sequence("stay", local("hotel"), local("breakfast")), local("car"), saga.Message("train", "train.book", "train.cancel")),
		saga.Message("pay", "pay", "refund"),
	)
	for range 20 {
		k := holdfasttest.New(t)
		for _, topic := range []string{"train.book", "pay"} {
			nothing := func(context.Context, *gorm.DB, holdfast.Message) (any, error) { return nil, nil }
			k.Participate(worker.Participant{Topic: topic, UndoTopic: map[string]string{"train.book": "train.cancel", "pay": "refund"}[topic], Do: nothing, Undo: nothing})
		}
		k.FailDo("pay", saga.Refuse("no"))
		res := holdfasttest.RunSaga(k, def, trip{})
		require.Equal(t, []string{"do flight", "do hotel", "do car", "do train", "do breakfast", "do pay: refused",
			"undo breakfast", "undo train", "undo car", "undo hotel", "undo flight"}, res.Steps)
	}
}

func TestConditionsAndChoices(t *testing.T) {
	def := sagaOf(
		local("insure").When(saga.If(func(s trip) bool { return s.Days > 7 })),
		saga.Choose("how", saga.Pick(func(s trip) string { return s.Flag }), saga.Case("fast", local("fly")), saga.Otherwise(local("walk"))),
	)
	k := holdfasttest.New(t)
	require.Equal(t, []string{"do walk"}, holdfasttest.RunSaga(k, def, trip{Days: 1}).Steps)
	require.Equal(t, []string{"do insure", "do fly"}, holdfasttest.RunSaga(k, def, trip{Days: 8, Flag: "fast"}).Steps)
}

func waiting() saga.Saga[trip] {
	return sagaOf(local("ask"), saga.Wait("approve", 48*time.Hour).Receive(saga.Into(func(s *trip, flag string) error {
		s.Flag = flag
		return nil
	})), local("go"))
}

func TestWaits(t *testing.T) {
	t.Run("nobody answers", func(t *testing.T) {
		began := time.Now()
		res := holdfasttest.RunSaga(holdfasttest.New(t), waiting(), trip{})
		require.ErrorIs(t, res.Err, holdfast.ErrSagaCompensated)
		require.Equal(t, "approve", sagaError(t, res.Err).Step)
		require.Equal(t, []string{"do ask", "undo ask"}, res.Steps)
		require.Less(t, time.Since(began), time.Minute, "48 hours cost no time")
	})
	t.Run("answered early", func(t *testing.T) {
		k := holdfasttest.New(t)
		k.Answer("approve", "yes")
		res := holdfasttest.RunSaga(k, waiting(), trip{})
		require.NoError(t, res.Err)
		require.Equal(t, "yes", res.State.Flag)
	})
	t.Run("answered after a day", func(t *testing.T) {
		k := holdfasttest.New(t)
		k.After(24*time.Hour, func() { k.Answer("approve", "yes") })
		res := holdfasttest.RunSaga(k, waiting(), trip{})
		require.NoError(t, res.Err)
		require.Equal(t, "yes", res.State.Flag)
	})
	t.Run("answered too late", func(t *testing.T) {
		k := holdfasttest.New(t)
		k.After(49*time.Hour, func() { k.Answer("approve", "yes") })
		res := holdfasttest.RunSaga(k, waiting(), trip{})
		require.ErrorIs(t, res.Err, holdfast.ErrSagaCompensated)
	})
	t.Run("refused while it waits", func(t *testing.T) {
		k := holdfasttest.New(t)
		k.OnState(holdfast.SagaWaiting, func(s holdfast.SagaStanding) {
			require.Equal(t, "approve", s.Step)
			k.Refuse("approve", "too far")
		})
		res := holdfasttest.RunSaga(k, waiting(), trip{})
		require.ErrorIs(t, res.Err, holdfast.ErrSagaCompensated)
		require.True(t, sagaError(t, res.Err).Refused)
	})
}

func mail(fail error) func(context.Context, saga.ActivityInput) (string, error) {
	return func(_ context.Context, in saga.ActivityInput) (string, error) {
		return fmt.Sprintf("%s %s %t", in.Step, in.Data, in.Undo), fail
	}
}

func TestActivities(t *testing.T) {
	def := sagaOf(
		saga.Activity("mail", "SendMail", "RecallMail").Send(saga.From(func(s trip) int { return s.Days })).Receive(saga.Into(func(s *trip, r string) error {
			s.Mail = r
			return nil
		})),
		local("end"),
	)
	k := holdfasttest.New(t)
	k.Activity("SendMail", mail(nil))
	k.Activity("RecallMail", mail(nil))
	res := holdfasttest.RunSaga(k, def, trip{Days: 3})
	require.NoError(t, res.Err)
	require.Equal(t, "mail 3 false", res.State.Mail)
	k.FailDo("mail", errNotNow).Times(1)
	k.FailDo("end", saga.Refuse("no"))
	res = holdfasttest.RunSaga(k, def, trip{Days: 3})
	require.ErrorIs(t, res.Err, holdfast.ErrSagaCompensated)
	require.Equal(t, []string{"do mail: failed", "do mail", "do end: refused", "undo mail"}, res.Steps)

	k = holdfasttest.New(t)
	k.Activity("SendMail", mail(temporal.NewNonRetryableApplicationError("no such address", sagas.RefusedType, nil)))
	k.Activity("RecallMail", mail(nil))
	res = holdfasttest.RunSaga(k, def, trip{})
	require.True(t, sagaError(t, res.Err).Refused)
	require.Equal(t, []string{"do mail: refused"}, res.Steps)

	k = holdfasttest.New(t)
	k.Activity("SendMail", mail(nil))
	k.Activity("RecallMail", mail(nil))
	k.FailDo("mail", saga.Refuse("no such address"))
	res = holdfasttest.RunSaga(k, def, trip{})
	require.True(t, sagaError(t, res.Err).Refused)
	require.Equal(t, []string{"do mail: refused"}, res.Steps)
}

func TestSubSagas(t *testing.T) {
	type stay struct{ Nights int }
	hotel := saga.Saga[stay]{Name: "hotel", Steps: []saga.Step[stay]{
		saga.Local("room", func(_ context.Context, _ *gorm.DB, s *stay) error {
			s.Nights++
			return nil
		}, func(context.Context, *gorm.DB, *stay) error { return nil }),
		saga.Message("breakfast", "breakfast.order", "breakfast.cancel"),
	}}
	def := sagaOf(local("flight"), saga.Sub("stay", hotel).
		Send(saga.From(func(s trip) stay { return stay{s.Days} })).
		Receive(saga.Into(func(s *trip, r stay) error {
			s.Days = r.Nights
			return nil
		})), local("end"))
	kit := func(t *testing.T) *holdfasttest.Kit {
		k := holdfasttest.New(t)
		nothing := func(context.Context, *gorm.DB, holdfast.Message) (any, error) { return nil, nil }
		k.Participate(worker.Participant{Topic: "breakfast.order", UndoTopic: "breakfast.cancel", Do: nothing, Undo: nothing})
		return k
	}
	t.Run("completed", func(t *testing.T) {
		res := holdfasttest.RunSaga(kit(t), def, trip{Days: 3})
		require.NoError(t, res.Err)
		require.Equal(t, 4, res.State.Days)
		require.Equal(t, []string{"do flight", "do room", "do breakfast", "do end"}, res.Steps)
	})
	t.Run("refused", func(t *testing.T) {
		k := kit(t)
		k.FailDo("breakfast", saga.Refuse("no eggs"))
		res := holdfasttest.RunSaga(k, def, trip{Days: 3})
		require.ErrorIs(t, res.Err, holdfast.ErrSagaCompensated)
		require.Equal(t, "stay", sagaError(t, res.Err).Step)
		require.Equal(t, []string{"do flight", "do room", "do breakfast: refused", "undo room", "undo flight"}, res.Steps)
	})
	t.Run("undone", func(t *testing.T) {
		k := kit(t)
		k.FailDo("end", saga.Refuse("no"))
		res := holdfasttest.RunSaga(k, def, trip{Days: 3})
		require.Equal(t, []string{"do flight", "do room", "do breakfast", "do end: refused", "undo breakfast", "undo room", "undo flight"}, res.Steps)
	})
	t.Run("a reply that is late", func(t *testing.T) {
		k := kit(t)
		k.DelayReply("breakfast", false, 5*time.Second).Times(1)
		res := holdfasttest.RunSaga(k, def, trip{Days: 3})
		require.NoError(t, res.Err)
		require.Zero(t, k.LateReplies())
	})
}

func TestUndoAfterTheEnd(t *testing.T) {
	k := shop(t)
	res := holdfasttest.RunSaga(k, orderPayment, order{Number: "A-1"})
	require.NoError(t, res.Err)
	undone := holdfasttest.UndoSaga(k, res, "ordered by mistake")
	require.ErrorIs(t, undone.Err, holdfast.ErrSagaCompensated)
	require.Equal(t, []string{"undo charge-payment", "undo reserve-stock", "undo create-order"}, undone.Steps)
	require.Equal(t, "cancelled", placed{Number: "A-1"}.of(t, k))
	require.Equal(t, res.ID, undone.ID)
}

func TestTheSameKeyJoins(t *testing.T) {
	k := shop(t)
	first := holdfasttest.RunSaga(k, orderPayment, order{Number: "A-1", Amount: 1})
	second := holdfasttest.RunSaga(k, orderPayment, order{Number: "A-1", Amount: 2})
	require.Equal(t, first.State, second.State)
	require.Empty(t, second.Steps)
}

func TestStateTooLarge(t *testing.T) {
	k := holdfasttest.New(t)
	res := holdfasttest.RunSaga(k, sagaOf(saga.Local("grow", func(_ context.Context, _ *gorm.DB, s *trip) error {
		s.Flag = string(make([]byte, core.MaxData))
		return nil
	}, nil).NoUndo()), trip{})
	require.ErrorIs(t, res.Err, holdfast.ErrSagaCompensated)
	require.ErrorContains(t, res.Err, "limit")
}

// TestWhatUndosAreGiven: as in a worker.
func TestWhatUndosAreGiven(t *testing.T) {
	var given []string
	days := func(what string, change func(s *trip)) func(context.Context, *gorm.DB, *trip) error {
		return func(_ context.Context, _ *gorm.DB, s *trip) error {
			given = append(given, fmt.Sprint(what, " ", s.Days))
			change(s)
			return nil
		}
	}
	k := holdfasttest.New(t)
	book := func(what string) worker.Participation {
		return worker.TypedParticipation(func(_ context.Context, _ *gorm.DB, days int) (any, error) {
			given = append(given, fmt.Sprint(what, " ", days))
			return nil, nil
		})
	}
	failing := worker.TypedParticipation(func(_ context.Context, _ *gorm.DB, days int) (any, error) {
		given = append(given, fmt.Sprint("call ", days))
		return nil, holdfast.Permanent(errNotNow)
	})
	k.Participate(worker.Participant{Topic: "room.book", UndoTopic: "room.cancel", Do: book("book"), Undo: book("cancel")})
	k.Participate(worker.Participant{Topic: "api.call", UndoTopic: "api.undo", Do: failing, Undo: book("undo call"), UndoUncertain: true})
	send := saga.From(func(s trip) int { return s.Days })
	res := holdfasttest.RunSaga(k, sagaOf(
		saga.Message("room", "room.book", "room.cancel").Send(send),
		saga.Local("half", days("half", func(s *trip) { s.Days /= 2 }), days("undo half", func(s *trip) { s.Mail = "cancelled" })),
		saga.Message("api", "api.call", "api.undo").Send(send),
	), trip{Days: 8})
	require.ErrorIs(t, res.Err, holdfast.ErrSagaCompensated)
	require.Equal(t, []string{"book 8", "half 8", "call 4", "undo call 4", "undo half 4", "cancel 8"}, given)
	require.Equal(t, trip{Days: 4, Mail: "cancelled"}, res.State)
}
