package holdfasttest_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/holdfasttest"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
)

var errNotNow = errors.New("not now")

// whole is the way of a saga that completes.
var whole = []string{"do create-order", "do reserve-stock", "do charge-payment", "do confirm-order", "do ship"}

func TestFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		fault func(k *holdfasttest.Kit)
		err   error // of the saga
		steps []string
	}{
		"none": {func(*holdfasttest.Kit) {}, nil, whole},
		"a local step fails twice": {
			func(k *holdfasttest.Kit) { k.FailDo("create-order", errNotNow).Times(2) }, nil,
			[]string{"do create-order: failed", "do create-order", "do reserve-stock", "do charge-payment", "do confirm-order", "do ship"}},
		"a local step panics": {
			func(k *holdfasttest.Kit) { k.FailDo("create-order", &holdfast.PanicError{Value: "boom"}).Times(1) }, nil,
			[]string{"do create-order: panicked", "do create-order", "do reserve-stock", "do charge-payment", "do confirm-order", "do ship"}},
		"a local step fails for good": {
			func(k *holdfasttest.Kit) { k.FailDo("create-order", holdfast.Permanent(errNotNow)) }, holdfast.ErrSagaCompensated,
			[]string{"do create-order: failed"}},
		"a local step is refused": {
			func(k *holdfasttest.Kit) { k.FailDo("create-order", saga.Refuse("no")) }, holdfast.ErrSagaCompensated,
			[]string{"do create-order: refused"}},
		"a local step's result is lost": {
			func(k *holdfasttest.Kit) { k.LoseDo("create-order").Times(1) }, nil, whole},
		"a local step's results are all lost": {
			func(k *holdfasttest.Kit) { k.LoseDo("create-order") }, holdfast.ErrSagaCompensated,
			[]string{"do create-order", "undo create-order"}},
		"a participant's result is lost": {
			func(k *holdfasttest.Kit) { k.LoseDo("reserve-stock").Times(1) }, nil, whole},
		"a participant's results are all lost": {
			func(k *holdfasttest.Kit) { k.LoseDo("reserve-stock") }, holdfast.ErrSagaCompensated,
			[]string{"do create-order", "do reserve-stock", "undo reserve-stock", "undo create-order"}},
		"a participant panics once": {
			func(k *holdfasttest.Kit) { k.FailDo("reserve-stock", &holdfast.PanicError{Value: "boom"}).Times(1) }, nil,
			[]string{"do create-order", "do reserve-stock: panicked", "do reserve-stock", "do charge-payment", "do confirm-order", "do ship"}},
		"a reply is lost": {
			func(k *holdfasttest.Kit) { k.LoseReply("charge-payment", false).Times(1) }, nil, whole},
		"replies are lost": {
			func(k *holdfasttest.Kit) { k.LoseReply("charge-payment", false) }, holdfast.ErrSagaCompensated,
			[]string{"do create-order", "do reserve-stock", "do charge-payment", "undo charge-payment", "undo reserve-stock", "undo create-order"}},
		"a reply is late": {
			func(k *holdfasttest.Kit) { k.DelayReply("charge-payment", false, 3*time.Second).Times(1) }, nil, whole},
		"a reply comes twice": {
			func(k *holdfasttest.Kit) { k.RepeatReply("charge-payment", false) }, nil, whole},
		"an Undo is lost, and its reply": {
			func(k *holdfasttest.Kit) {
				k.FailDo("charge-payment", saga.Refuse("no"))
				k.LoseReply("reserve-stock", true).Times(1)
				k.LoseUndo("create-order").Times(1)
			}, holdfast.ErrSagaCompensated,
			[]string{"do create-order", "do reserve-stock", "do charge-payment: refused", "undo reserve-stock", "undo create-order"}},
		"after the pivot it goes forward": {
			func(k *holdfasttest.Kit) { k.FailDo("ship", errNotNow).Times(40) }, nil,
			[]string{"do create-order", "do reserve-stock", "do charge-payment", "do confirm-order", "do ship: failed", "do ship"}},
		"after the pivot it parks": {
			func(k *holdfasttest.Kit) { k.FailDo("ship", saga.Refuse("no such address")) }, holdfast.ErrSagaParked,
			[]string{"do create-order", "do reserve-stock", "do charge-payment", "do confirm-order", "do ship: refused"}},
		"it goes forward for ever": {
			func(k *holdfasttest.Kit) { k.FailDo("ship", errNotNow) }, holdfast.ErrSagaPending,
			[]string{"do create-order", "do reserve-stock", "do charge-payment", "do confirm-order", "do ship: failed"}},
		"an Undo fails for good": {
			func(k *holdfasttest.Kit) {
				k.FailDo("charge-payment", saga.Refuse("no"))
				k.FailUndo("reserve-stock", holdfast.Permanent(errNotNow))
			}, holdfast.ErrSagaCompensationFailed,
			[]string{"do create-order", "do reserve-stock", "do charge-payment: refused", "undo reserve-stock: failed", "undo create-order"}},
	} {
		t.Run(name, func(t *testing.T) {
			k := shop(t)
			tt.fault(k)
			res := holdfasttest.RunSaga(k, orderPayment, order{Number: "A-1"})
			if tt.err == nil {
				require.NoError(t, res.Err)
				require.Equal(t, order{Number: "A-1", Stock: 41, Note: "confirmed"}, res.State)
			} else {
				require.ErrorIs(t, res.Err, tt.err)
				require.Equal(t, res.ID, sagaError(t, res.Err).ID)
				require.NotEmpty(t, sagaError(t, res.Err).Reason)
			}
			require.Equal(t, tt.steps, res.Steps)
			require.Zero(t, k.LateReplies())
		})
	}
}

func sagaError(t *testing.T, err error) *holdfast.SagaError {
	t.Helper()
	var out *holdfast.SagaError
	require.ErrorAs(t, err, &out)
	return out
}

func TestAFaultRollsBackWhatTheStepWrote(t *testing.T) {
	k := shop(t)
	k.FailDo("create-order", saga.Refuse("no"))
	holdfasttest.RunSaga(k, orderPayment, order{Number: "A-1"})
	require.Zero(t, count(t, k.DB(), &placed{}))
}

func TestNoParticipant(t *testing.T) {
	k := holdfasttest.New(t)
	res := holdfasttest.RunSaga(k, saga.Saga[order]{Name: "lonely", Steps: []saga.Step[order]{
		saga.Message("reserve-stock", "stock.reserve", "stock.release").Retry(saga.Retry{Attempts: 1}),
	}}, order{})
	require.Equal(t, core.StateCompensationFailed, res.Status.State)
	require.ErrorContains(t, res.Err, "no participant is bound to topic stock.release")
	require.ErrorContains(t, errors.New(res.Status.Core.Cause.Reason), "no participant is bound to topic stock.reserve")
}

func TestAFunctionThatEndsItsGoroutine(t *testing.T) {
	exit := func(context.Context, *gorm.DB, *trip) error {
		runtime.Goexit() // as t.FailNow does
		return nil
	}
	for i, step := range []saga.StepDef{saga.Local("exit", exit, nil), saga.Message("exit", "exit", ""), saga.Activity("exit", "Exit", "")} {
		want := holdfast.ErrSagaCompensated
		if i == 2 {
			want = holdfast.ErrSagaPending // it is not Holdfast that calls it
		}
		k := holdfasttest.New(t)
		k.Activity("Exit", func(context.Context, saga.ActivityInput) error { return exit(nil, nil, nil) })
		k.Participate(worker.Participant{Topic: "exit", Do: func(context.Context, *gorm.DB, holdfast.Message) (any, error) { return nil, exit(nil, nil, nil) }})
		res := holdfasttest.RunSaga(k, sagaOf(step.NoUndo().Retry(saga.Retry{Attempts: 1})), trip{})
		require.ErrorIs(t, res.Err, want)
		require.ErrorContains(t, res.Err, "ended its goroutine")
	}
}
