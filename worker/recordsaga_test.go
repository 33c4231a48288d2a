package worker_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdkactivity "go.temporal.io/sdk/activity"
	sdkworker "go.temporal.io/sdk/worker"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// sagaRecorder runs sagas whose histories are kept.
type sagaRecorder struct {
	recorder
	hired *running // who takes part

	mu     sync.Mutex
	closed map[string]bool // steps that fail, by the saga's key and their name
}

// TestRecordSagas does for sagas what TestRecordHistories does for transactions:
// through a real worker, with a participant. TestRecordSagas of package workflows
// records what takes no more than the workflow.
func TestRecordSagas(t *testing.T) {
	r := &sagaRecorder{recorder: *newRecorder(t, sagaSiteOn), closed: map[string]bool{}}
	r.hire()
	r.start(r.whole(1))
	for name, scenario := range map[string]func(key string){
		"saga-worker-completed":   r.completes,
		"saga-worker-compensated": r.goesBack,
		"saga-worker-steered":     r.isSteered,
		"saga-worker-forward":     r.goesForward,
		"saga-worker-lost-undo":   r.failsToUndo,
		"saga-worker-no-reply":    r.hasNoReply,
	} {
		key := name + "-1"
		scenario(key)
		r.saveSaga(name, workflows.SagaID(r.at.Prefix, group, "whole", key))
	}
	key := "saga-worker-undone-1"
	r.completes(key)
	id := workflows.SagaID(r.at.Prefix, group, "whole", key)
	r.undo(id, key, r.completed(id), false)
	r.saveSaga("saga-worker-undone", workflows.SagaUndoID(id))
	r.changes("saga-worker-versions")
}

// whole is a saga with steps of each kind. Version 2 has one step more, before all
// others.
func (r *sagaRecorder) whole(version int) saga.Saga[journey] {
	steps := []saga.Step[journey]{
		r.step("a"),
		saga.Choose("how", saga.Pick(func(j journey) string { return j.By }), saga.Case("train", r.step("train")), saga.Otherwise(r.step("walk"))),
		saga.Parallel("both", seat().Timeout(30*time.Second), saga.Sequence("then", r.step("b"), r.step("c").When(saga.If(func(j journey) bool { return j.Paid })))),
		saga.Activity("mail", "send-mail", "").NoUndo().On("mail"),
		saga.Wait("approve", 0).When(saga.If(func(j journey) bool { return j.Price > 0 })),
		saga.Sub("stay", saga.Saga[journey]{Name: "stay", Steps: []saga.Step[journey]{r.step("in")}}),
		r.step("end").AsPivot(),
		r.step("after").Forward(),
	}
	if version > 1 {
		steps = append([]saga.Step[journey]{r.step("new")}, steps...)
	}
	return saga.Saga[journey]{Name: "whole", Version: version, Key: journeyID, Steps: steps}
}

// step is a local step that is refused, or cannot be undone, while it is closed.
func (r *sagaRecorder) step(name string) saga.StepDef {
	act := func(what string, wrong error) func(context.Context, *gorm.DB, *journey) error {
		return func(_ context.Context, tx *gorm.DB, j *journey) error {
			if r.isClosed(j.ID + " " + what) {
				return wrong
			}
			return write(tx, j.ID, "%s", what)
		}
	}
	return saga.Local(name, act("do "+name, saga.Refuse("closed")), act("undo "+name, holdfast.Permanent(errors.New("the key is lost")))).
		Retry(saga.Retry{First: 100 * time.Millisecond, Max: 100 * time.Millisecond})
}

func (r *sagaRecorder) isClosed(what string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed[what]
}

// shut closes a step of a saga, or opens it.
func (r *sagaRecorder) shut(what string, closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed[what] = closed
}

// hire runs the participant, and whoever sends mail.
func (r *sagaRecorder) hire() {
	r.hired = r.participants(r.seats(nil))
	mail := sdkworker.New(r.temporal, "mail", sdkworker.Options{DisableWorkflowWorker: true})
	mail.RegisterActivityWithOptions(func(context.Context, core.ActivityInput) error { return nil }, sdkactivity.RegisterOptions{Name: "send-mail"})
	require.NoError(r.t, mail.Start())
	r.t.Cleanup(mail.Stop)
}

// start runs a worker with these versions of the saga, in the place of the one
// before.
func (r *sagaRecorder) start(defs ...saga.Saga[journey]) {
	r.t.Helper()
	if r.w != nil {
		r.w.stop()
	}
	o := hurried(r.options())
	o.Instance, o.Timeouts.Task = "recorder-1", 10*time.Second
	r.w = r.runWith(o, func(w *worker.Worker) {
		for _, def := range defs {
			w.Saga(def)
		}
	})
}

// set sets out: it starts a saga under version 1.
func (r *sagaRecorder) set(key string, change ...func(*journey)) *worker.SagaHandle[journey] {
	r.t.Helper()
	j := journey{ID: key, By: "train"}
	for _, c := range change {
		c(&j)
	}
	h, err := worker.StartSaga(r.ctx(), r.w.Worker, r.whole(1), j)
	require.NoError(r.t, err)
	return h
}

func (r *sagaRecorder) saveSaga(name, id string) {
	r.t.Helper()
	r.completed(id)
	r.write(name, r.historyOf(id))
}

func (r *sagaRecorder) completes(key string) {
	_, err := r.set(key, func(j *journey) { j.Paid = true }).Wait(r.ctx())
	require.NoError(r.t, err)
}

func (r *sagaRecorder) goesBack(key string) {
	r.shut(key+" do end", true)
	_, err := r.set(key).Wait(r.ctx())
	stood(r.t, err, holdfast.ErrSagaCompensated)
}

// isSteered: answered, paused, resumed, and compensated by signal.
func (r *sagaRecorder) isSteered(key string) {
	h := r.set(key, func(j *journey) { j.Price, j.By = 7, "mule" })
	r.awaitStanding(h.ID(), core.StateWaiting)
	for _, action := range []string{sagas.UpdatePause, sagas.UpdateResume} {
		_, err := r.steer(h.ID(), action)
		require.NoError(r.t, err)
	}
	require.NoError(r.t, r.temporal.SignalWorkflow(r.ctx(), h.ID(), "", sagas.UpdateRetry, sagas.Request{Operator: "ann"}))
	require.NoError(r.t, r.temporal.SignalWorkflow(r.ctx(), h.ID(), "", workflows.UpdateCompensate, ann("")))
	_, err := h.Wait(r.ctx())
	stood(r.t, err, holdfast.ErrSagaCompensated)
}

// goesForward: after the pivot it is refused, retried, refused, and skipped.
func (r *sagaRecorder) goesForward(key string) {
	r.shut(key+" do after", true)
	h := r.set(key)
	for _, ask := range []func() (sagas.Status, error){
		func() (sagas.Status, error) { return r.steer(h.ID(), sagas.UpdateRetry) },
		func() (sagas.Status, error) {
			return r.steer(h.ID(), sagas.UpdateSkip, func(req *sagas.Request) { req.Step = "after" })
		},
	} {
		r.awaitStanding(h.ID(), core.StateParked)
		_, err := ask()
		require.NoError(r.t, err)
	}
	_, err := h.Wait(r.ctx())
	require.NoError(r.t, err)
}

// failsToUndo: an Undo fails for good, and is retried by an operator.
func (r *sagaRecorder) failsToUndo(key string) {
	r.shut(key+" do end", true)
	r.shut(key+" undo b", true)
	h := r.set(key)
	_, err := h.Wait(r.ctx())
	require.Equal(r.t, "b", stood(r.t, err, holdfast.ErrSagaCompensationFailed).Step)
	r.shut(key+" undo b", false)
	_, err = r.steer(h.ID(), sagas.UpdateRetry)
	require.NoError(r.t, err)
	_, err = h.Wait(r.ctx())
	stood(r.t, err, holdfast.ErrSagaCompensated)
}

// hasNoReply: the participant is away, and asked again until it is there.
func (r *sagaRecorder) hasNoReply(key string) {
	r.hired.stop()
	h := r.set(key)
	asked := func() bool {
		n := 0
		for _, e := range r.historyOf(h.ID()).Events {
			if strings.Contains(string(e.GetUserMetadata().GetSummary().GetData()), "seat") {
				n++
			}
		}
		return n > 2
	}
	until(r.t, "it is asked again", asked)
	r.hired = r.participants(r.seats(nil))
	_, err := h.Wait(r.ctx())
	require.NoError(r.t, err)
}

// changes records a saga that was begun under version 1, and ended by a worker that
// has versions 1 and 2, and one of version 2.
func (r *sagaRecorder) changes(name string) {
	h := r.set(name+"-1", func(j *journey) { j.Price = 7 })
	r.awaitStanding(h.ID(), core.StateWaiting)
	r.start(r.whole(2)) // it is replayed by a worker without it
	require.NoError(r.t, worker.JoinSaga(r.w.Worker, r.whole(2), name+"-1").Approve(r.ctx(), "approve", nil, worker.By{Operator: "ann", Reason: "fair"}))
	r.awaitStanding(h.ID(), core.StateNoWorker)
	r.start(r.whole(1), r.whole(2))
	_, err := worker.JoinSaga(r.w.Worker, r.whole(1), name+"-1").Wait(r.ctx())
	require.NoError(r.t, err)
	require.NotContains(r.t, r.logged(r.orders, name+"-1"), "do new")
	r.saveSaga(name, h.ID())

	_, err = worker.StartSaga(r.ctx(), r.w.Worker, r.whole(2), journey{ID: name + "-2"})
	require.NoError(r.t, err)
	_, err = worker.JoinSaga(r.w.Worker, r.whole(2), name+"-2").Wait(r.ctx())
	require.NoError(r.t, err)
	require.Contains(r.t, r.logged(r.orders, name+"-2"), "do new")
	r.saveSaga(name+"-2", workflows.SagaID(r.at.Prefix, group, "whole", name+"-2"))
}
