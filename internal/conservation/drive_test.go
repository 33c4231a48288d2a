package conservation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// patience is how long anything may go on without a saga that ends.
const patience = 5 * time.Minute

// world is what a run of the test has: servers, processes, sagas.
type world struct {
	*testing.T
	*scenario
	at       childConfig
	temporal client.Client
	books    map[string]*books
	slots    []*slot

	mu       sync.Mutex
	started  map[int]bool
	ends     map[int]string
	undoing  map[int]bool
	progress chan struct{} // closed, and another made, when a saga has ended

	operators sync.WaitGroup // those that ask something of a saga

	killed, retried, paused, turned, undone, wrong, express, handled atomic.Int64
}

func newWorld(t *testing.T, maxCohort int) *world {
	st := stacktest.Shared(t)
	w := &world{T: t, temporal: stacktest.TemporalClient(t, st), books: map[string]*books{}, started: map[int]bool{},
		ends: map[int]string{}, undoing: map[int]bool{}, progress: make(chan struct{})}
	w.at = childConfig{AMQPURL: st.AMQPURL(), Prefix: stacktest.Prefix(t), Group: "orders", Temporal: st.TemporalAddress(), Namespace: st.Namespace(),
		MaxCohort: maxCohort}
	t.Cleanup(w.deleteQueues)
	urls := map[string]string{}
	for _, name := range databases {
		urls[name] = stacktest.Database(t, st)
		b, err := openBooks(urls[name])
		require.NoError(t, err)
		t.Cleanup(b.close)
		w.books[name] = b
		require.NoError(t, barrier.Migrate(t.Context(), b.DB))
		require.NoError(t, b.Exec(schema).Error)
		for _, kind := range kinds {
			for i := range accounts {
				require.NoError(t, b.Exec("INSERT INTO accounts VALUES (?, ?)", account(kind, i), opening).Error)
			}
		}
	}
	for range orchestrators {
		w.slots = append(w.slots, w.slot(orders, urls[orders]))
	}
	for _, name := range participants {
		w.slots = append(w.slots, w.slot(name, urls[name]))
	}
	return w
}

// spawnAll starts the processes.
func (w *world) spawnAll() {
	for _, s := range w.slots {
		go s.live()
		w.Cleanup(s.close)
	}
	for _, s := range w.slots {
		select {
		case <-s.ready:
		case <-s.over:
			w.Fatal(s.said())
		case <-time.After(patience):
			w.Fatal("never ready: " + s.said())
		}
	}
}

// closeAll ends the processes: they finish what they have in hand.
func (w *world) closeAll() {
	var all sync.WaitGroup
	for _, s := range w.slots {
		all.Go(s.close)
	}
	all.Wait()
}

// tally counts what happened.
func (w *world) tally() map[string]int64 {
	out := map[string]int64{"killed": w.killed.Load(), "retried by an operator": w.retried.Load(), "paused": w.paused.Load(),
		"turned back by an operator": w.turned.Load(), "undone after completion": w.undone.Load(), "without a workflow": w.express.Load(),
		"asked by a handle": w.handled.Load()}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, how := range w.ends {
		out[how]++
	}
	return out
}

func (w *world) deleteQueues() {
	queues := []string{"dead", "dead.oversized", "half.orders", "replies.orders", "retry.1s", "retry.3s", "retry.10s", "retry.30s",
		"retry.1m", "retry.5m", "retry.15m", "retry.1h"}
	for _, name := range participants {
		queues = append(queues, "q."+name, "alone."+name)
	}
	for i := range queues {
		queues[i] = w.at.Prefix + "." + queues[i]
	}
	stacktest.DeleteQueues(w, w.at.AMQPURL, queues...)
}

// begun takes note of a saga that is started, and sends its operator.
func (w *world) begun(n int) {
	w.mu.Lock()
	first := !w.started[n]
	w.started[n] = true
	w.mu.Unlock()
	p := w.sagas[n]
	if !first {
		return
	}
	if p.compensate {
		w.operators.Go(func() { w.turnBack(p) })
	}
	if p.pause {
		w.operators.Go(func() { w.holdUp(p) })
	}
}

// ended takes note of a saga that has ended, or has it undone.
func (w *world) ended(n int, how string) {
	p := w.sagas[n]
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.undo && how == completed {
		if !w.undoing[n] {
			w.undoing[n] = true
			go w.undoCompleted(p)
		}
		return
	}
	if w.ends[n] != "" {
		return
	}
	w.ends[n] = how
	close(w.progress)
	w.progress = make(chan struct{})
}

// endedSoFar is how many sagas have ended, and a channel that is closed when there
// are more.
func (w *world) endedSoFar() (int, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.ends), w.progress
}

// awaitEnds waits until so many sagas have ended.
func (w *world) awaitEnds(n int) error {
	for {
		ended, more := w.endedSoFar()
		if ended >= n {
			return nil
		}
		select {
		case <-more:
		case <-time.After(patience):
			return fmt.Errorf("no saga has ended for %v, and %d of %d have", patience, ended, len(w.sagas))
		case <-w.Context().Done():
			return w.Context().Err()
		}
	}
}

// start starts the sagas, at most window at a time.
func (w *world) start(window int) error {
	for i, p := range w.sagas {
		if err := w.awaitEnds(i + 1 - window); err != nil {
			return err
		}
		w.slots[i%orchestrators].follow(p.following())
	}
	return w.awaitEnds(len(w.sagas))
}

// rage kills processes as planned.
func (w *world) rage() {
	for _, k := range w.kills {
		if w.awaitEnds(k.after) != nil {
			return
		}
		w.slots[k.child].kill(k)
	}
}

func (p *plannedSaga) following() following {
	return following{N: p.N, Shape: p.Shape, Order: p.Order}
}

func (p *plannedSaga) id() string { return workflows.SagaID(p.site, "orders", p.Name, p.Order.ID) }

// steer sends an operator's Update, as often as nobody is there to answer. It
// reports whether it was accepted.
func (w *world) steer(id, update, reason string) bool {
	for w.Context().Err() == nil {
		ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
		handle, err := w.temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: id, UpdateName: update, UpdateID: update + reason,
			Args: []any{sagas.Request{Operator: "ann", Reason: reason}}, WaitForStage: client.WorkflowUpdateStageCompleted})
		if err == nil {
			err = handle.Get(ctx, nil)
		}
		cancel()
		var refused *temporal.ApplicationError
		var ended *serviceerror.NotFound
		if err == nil || errors.As(err, &refused) || errors.As(err, &ended) {
			return err == nil
		}
		pause(w.Context(), 100*time.Millisecond)
	}
	return false
}

// byHandle reports whether the operator of a saga asks by its handle, in one of the processes that are
// killed, and so meets sagas without a workflow; otherwise from outside, by an Update.
func (p *plannedSaga) byHandle() bool { return p.N%2 == 0 }

// ask asks something of a saga, and reports whether it was done.
func (w *world) ask(p *plannedSaga, what, reason string) bool {
	if !p.byHandle() {
		return w.steer(p.id(), what, reason)
	}
	select {
	case done := <-w.slots[(p.N/2)%orchestrators].steer(steering{p.following(), what, reason}):
		if done {
			w.handled.Add(1)
		}
		return done
	case <-time.After(patience):
		w.Errorf("saga %d, %s: nobody answers what became of %s", p.N, p.id(), what)
	case <-w.Context().Done():
	}
	return false
}

// turnBack compensates a saga that runs.
func (w *world) turnBack(p *plannedSaga) {
	if w.ask(p, workflows.UpdateCompensate, "the customer withdrew") {
		w.turned.Add(1)
	}
}

// holdUp pauses a saga until some others have ended.
func (w *world) holdUp(p *plannedSaga) {
	if !w.ask(p, sagas.UpdatePause, "stock is counted") && !p.byHandle() { // a handle may be told twice
		return
	}
	w.paused.Add(1)
	ended, _ := w.endedSoFar()
	_ = w.awaitEnds(min(ended+10, len(w.sagas)*9/10))
	w.ask(p, sagas.UpdateResume, "it is counted")
}

// undoCompleted undoes a saga that has completed.
func (w *world) undoCompleted(p *plannedSaga) {
	if p.byHandle() {
		w.ask(p, workflows.UpdateCompensate, "sent back")
		w.undone.Add(1)
		w.slots[p.N%orchestrators].follow(p.following())
		return
	}
	for w.Context().Err() == nil {
		err := w.startUndo(p)
		var there *serviceerror.WorkflowExecutionAlreadyStarted
		if err == nil || errors.As(err, &there) {
			w.undone.Add(1)
			w.slots[p.N%orchestrators].follow(p.following())
			return
		}
		pause(w.Context(), time.Second) // Temporal does not answer in time
	}
}

// giveWorkflow starts the workflow of a saga that has none, as it completed in a cohort or the Express
// lane: it says how that ended. One that a process drives is waited for.
func (w *world) giveWorkflow(ctx context.Context, p *plannedSaga) error {
	for {
		_, err := w.temporal.DescribeWorkflowExecution(ctx, p.id(), "")
		var none *serviceerror.NotFound
		if !errors.As(err, &none) {
			return err
		}
		b, err := barrier.ReadBegun(ctx, w.books[orders].DB, p.id())
		if err == nil && b.Last != nil {
			in, err := sagas.CompletedInput(sagas.Input{ID: p.id(), Group: w.at.Group, Prefix: w.at.Prefix, Name: p.Name, Key: p.Order.ID,
				Version: b.Version, Content: b.Content, Tokens: true}, b.Last)
			if err != nil {
				return err
			}
			if err := barrier.ReopenSaga(ctx, w.books[orders].DB, p.id(), b.Content, false, time.Second); err != nil {
				return err
			}
			_, _, err = sagas.Start(ctx, w.temporal, sagas.StartConfig{Prefix: w.at.Prefix, Fresh: true}, in)
			var there *serviceerror.WorkflowExecutionAlreadyStarted
			if errors.As(err, &there) {
				return nil
			}
			w.express.Add(1)
			return err
		}
		if err != nil && !errors.Is(err, holdfast.ErrNotFound) {
			return err
		}
		select { // it is driven, or is just being given its workflow
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *world) startUndo(p *plannedSaga) error {
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
	defer cancel()
	if err := w.giveWorkflow(ctx, p); err != nil {
		return err
	}
	var known sagas.Status
	run := w.temporal.GetWorkflow(ctx, p.id(), "")
	if err := run.Get(ctx, &known); err != nil {
		return err
	}
	in := sagas.Input{ID: p.id(), Group: w.at.Group, Prefix: w.at.Prefix, Name: p.Name, Key: p.Order.ID, Version: known.Version, Plan: &known.Plan,
		Undo: &sagas.UndoOf{RunID: run.GetRunID(), Operator: "ann", Reason: "sent back"}, Resumed: &known}
	_, err := w.temporal.ExecuteWorkflow(ctx, sagas.UndoOptions(w.at.Prefix, in), sagas.Name, in)
	return err
}

// operate retries whatever is parked, until ctx is done.
func (w *world) operate(ctx context.Context) {
	query := fmt.Sprintf("TaskQueue = '%s' AND ExecutionStatus = 'Running' AND %s IN ('parked', 'compensation-failed')",
		workflows.TaskQueue(w.at.Prefix, "orders"), workflows.AttributeState)
	for round := 0; ctx.Err() == nil; round++ {
		found, err := w.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: query, PageSize: 200})
		if err == nil {
			var all sync.WaitGroup
			for _, x := range found.Executions {
				all.Go(func() {
					if w.steer(x.Execution.WorkflowId, sagas.UpdateRetry, fmt.Sprint("look ", round)) {
						w.retried.Add(1)
					}
				})
			}
			all.Wait()
		}
		pause(ctx, 500*time.Millisecond)
	}
}
