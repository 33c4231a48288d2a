package holdfasttest

import (
	"encoding/json"
	"fmt"
	"time"

	"go.temporal.io/sdk/testsuite"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// operator is who asks for what a test asks for.
const operator = "test"

// hook is something to do when a step is begun.
type hook struct {
	step string
	undo bool
	f    func()
}

// watcher is something to do when the saga comes to stand somewhere.
type watcher struct {
	state string
	f     func(holdfast.SagaStanding)
}

// request is what an operator asks for.
type request struct {
	update string
	req    sagas.Request
}

// OnDo calls f when a step's Do is begun for the first time, before it runs. f may
// ask for what an operator can: [Kit.Pause] and the others. The saga hears that
// when it waits for something: a reply ([Kit.DelayReply] sees to that), an answer,
// a retry. Steps that follow each other at once are one piece of work, here as with
// Temporal. f is not called for waits and sub-sagas: see [Kit.OnState].
func (k *Kit) OnDo(step string, f func()) { k.hook(step, false, f) }

// OnUndo does the same with a step's Undo.
func (k *Kit) OnUndo(step string, f func()) { k.hook(step, true, f) }

func (k *Kit) hook(step string, undo bool, f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hooks = append(k.hooks, &hook{step: step, undo: undo, f: f})
}

// callHooks calls what is to be done when a step is begun, once.
func (k *Kit) callHooks(step string, undo bool) {
	k.mu.Lock()
	var due []*hook
	for _, h := range k.hooks {
		if h.step == step && h.undo == undo && h.f != nil {
			due = append(due, &hook{f: h.f})
			h.f = nil
		}
	}
	k.mu.Unlock()
	for _, h := range due {
		h.f()
	}
}

// OnState calls f each time the saga comes to stand at one of the words that are not its
// usual way: [holdfast.SagaWaiting], [holdfast.SagaParked] and so on. f may ask for what
// an operator can.
func (k *Kit) OnState(state string, f func(holdfast.SagaStanding)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.watchers = append(k.watchers, watcher{state, f})
}

// stands is told where a workflow has come to stand.
func (k *Kit) stands(workflowID, state string) {
	k.mu.Lock()
	r := k.run
	var due []watcher
	for _, w := range k.watchers {
		if w.state == state && r != nil && r.id == workflowID {
			due = append(due, w)
		}
	}
	k.mu.Unlock()
	if len(due) == 0 {
		return
	}
	r.env.RegisterDelayedCallback(func() {
		if r.env.IsWorkflowCompleted() {
			return
		}
		status, err := r.status()
		if err != nil {
			panic(err)
		}
		for _, w := range due {
			w.f(status.Standing())
		}
	}, 0)
}

func (r *run) status() (status sagas.Status, err error) {
	v, err := r.env.QueryWorkflow(workflows.QueryStatus)
	if err != nil {
		return status, fmt.Errorf("asking %s how it stands: %w", r.id, err)
	}
	return status, v.Get(&status)
}

// After calls f once d has passed since the beginning of the next saga, or from
// now on if one is under way, by its own clock: waiting costs no time.
func (k *Kit) After(d time.Duration, f func()) {
	if k.current() != nil {
		k.after(d, f)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.later = append(k.later, later{d, f})
}

// later is something to do in the next saga.
type later struct {
	after time.Duration
	f     func()
}

// Pause asks the saga under way to pause; if none is, the next one, as soon as it
// has begun. So do the others. What is refused is in [SagaResult.Rejected].
func (k *Kit) Pause(reason string) {
	k.ask(sagas.UpdatePause, sagas.Request{Reason: reason})
}

// Resume ends a pause.
func (k *Kit) Resume(reason string) {
	k.ask(sagas.UpdateResume, sagas.Request{Reason: reason})
}

// Retry tries a step again that has failed; the empty name means all.
func (k *Kit) Retry(step, reason string) {
	k.ask(sagas.UpdateRetry, sagas.Request{Step: step, Reason: reason})
}

// Skip goes on without a step.
func (k *Kit) Skip(step, reason string) {
	k.ask(sagas.UpdateSkip, sagas.Request{Step: step, Reason: reason})
}

// Compensate has the saga go back.
func (k *Kit) Compensate(reason string) {
	k.ask(workflows.UpdateCompensate, sagas.Request{Reason: reason})
}

// Answer answers a wait; v, in JSON, is the answer's value, and may be nil.
func (k *Kit) Answer(step string, v any) {
	k.t.Helper()
	req := sagas.Request{Step: step, Reason: "answered by the test"}
	if v != nil {
		value, err := json.Marshal(v)
		if err != nil {
			k.t.Fatalf("the answer to %s: %v", step, err)
		}
		req.Value = value
	}
	k.ask(sagas.UpdateAnswer, req)
}

// Refuse answers a wait with no.
func (k *Kit) Refuse(step, reason string) {
	k.ask(sagas.UpdateAnswer, sagas.Request{Step: step, Reason: reason, Refuse: true})
}

// Cancel asks Temporal to cancel the saga's workflow.
func (k *Kit) Cancel() {
	if r := k.current(); r != nil {
		r.env.CancelWorkflow()
		return
	}
	k.After(0, k.Cancel)
}

// ask sends an Update.
func (k *Kit) ask(update string, req sagas.Request) {
	req.Operator = operator
	k.mu.Lock()
	r := k.run
	if r == nil {
		k.waiting = append(k.waiting, request{update, req})
	}
	k.mu.Unlock()
	if r != nil {
		r.ask(update, req)
	}
}

func (r *run) ask(update string, req sagas.Request) {
	refused := func(err error) {
		if err == nil {
			return
		}
		r.k.mu.Lock()
		defer r.k.mu.Unlock()
		r.rejected = append(r.rejected, fmt.Errorf("%s: %w", update, err))
	}
	r.env.UpdateWorkflow(update, "", &testsuite.TestUpdateCallback{
		OnAccept:   func() {},
		OnReject:   refused,
		OnComplete: func(_ any, err error) { refused(err) },
	}, req)
}
