package sagahandle

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/shell"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

const (
	// lookEvery is how often a saga that is waited for is looked at, to see whether
	// it needs an operator; more often at first.
	lookEvery = time.Second
	lookFirst = 50 * time.Millisecond
	// askFor bounds the question how a saga stands.
	askFor = time.Second
	// unansweredLooks is how many looks in a row at a saga that needs an operator may have no
	// answer to what is wrong with it, before its caller is told without that.
	unansweredLooks = 5
)

// verdict is what a caller learns of a saga.
type verdict struct {
	data json.RawMessage
	err  error
}

// Wait waits for a saga: this process tells it of its end, or, where that comes
// in another one or not by itself, Temporal does. joined says that the caller has not
// started it: whatever it was started with is meant.
func (h *Handles) Wait(ctx context.Context, id string, end *End, joined bool) (json.RawMessage, error) {
	if err := h.o.Gate.AwaitRunning(ctx); err != nil {
		return nil, err
	}
	h.awaitLeft(ctx, id, end)
	if err := end.Refused(); err != nil {
		return nil, err
	}
	select {
	case <-end.left():
	default: // what is told under its ID meanwhile may be another's, whose key it used
		return h.stillPending(ctx, id)
	}
	var done <-chan struct{}
	if end != nil {
		done = end.done
		late := time.NewTimer(lookEvery)
		defer late.Stop()
		select {
		case <-done:
			return end.verdict.data, end.verdict.err
		case <-end.look:
		case <-late.C:
		case <-ctx.Done():
		case <-h.o.Gate.Over():
		}
	}
	watching, cancel := context.WithCancel(ctx)
	var stopper sync.WaitGroup
	stopper.Go(func() {
		select {
		case <-done:
		case <-h.o.Gate.Over():
		case <-watching.Done():
		}
		cancel()
	})
	v := h.watch(watching, id, end.comes(), joined)
	if in := end.lostIn(); in != "" && errors.Is(v.err, holdfast.ErrNotFound) {
		v.err = fmt.Errorf("%w: workflow %s, which it shared, was ended from outside before it began: start it again "+
			"with the same key", v.err, in)
	}
	interrupted := watching.Err() != nil
	cancel()
	stopper.Wait()
	select {
	case <-done:
		return end.verdict.data, end.verdict.err
	default:
	}
	if interrupted {
		return h.stillPending(ctx, id)
	}
	if end != nil {
		h.ends.forget(end)
	}
	return v.data, v.err
}

// stillPending is the answer to a caller who cannot wait any longer.
func (h *Handles) stillPending(ctx context.Context, id string) (json.RawMessage, error) {
	out := &holdfast.SagaError{Condition: holdfast.ErrSagaPending, ID: id}
	select {
	case <-h.o.Gate.Over(): // the client may be closed
		out.Reason = h.o.Gate.Ended().Error()
		return nil, out
	default:
	}
	standing, data := h.stands(context.WithoutCancel(ctx), id)
	out.Step, out.Reason = standing.Step, standing.String()
	if standing.State == "" {
		out.Reason = "how it stands is not known: neither Temporal nor its process answers"
	}
	out.Reason += " (asked until: " + context.Cause(ctx).Error() + ")"
	return data, out
}

// ask asks a saga's workflow how it stands.
func (h *Handles) ask(ctx context.Context, workflowID string) (status sagas.Status, err error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	v, err := h.o.Temporal.QueryWorkflow(ctx, workflowID, "", workflows.QueryStatus)
	if err != nil {
		return status, err
	}
	return status, v.Get(&status)
}

// awaitLeft waits for as long as this process runs the saga in the Express lane.
func (h *Handles) awaitLeft(ctx context.Context, id string, end *End) {
	left := end.left() // what else is told under its ID may be another's, whose key it used
	if r := h.running(id); end == nil && r != nil {
		left = r.Left()
	}
	select {
	case <-left:
	case <-ctx.Done():
	case <-h.o.Gate.Over():
	}
}

// permanent is err, if that will not change.
func permanent(err error) error {
	if holdfast.IsPermanent(err) {
		return err
	}
	return nil
}

// watch waits until a saga has ended or needs an operator. One that has
// completed, or did not end by itself, may have been undone since. started says that
// this process has started it: if it has no workflow, the Keeper will start that.
func (h *Handles) watch(ctx context.Context, id string, started, joined bool) verdict {
	v, ended := h.follow(ctx, id, id)
	for errors.Is(v.err, holdfast.ErrNotFound) || joined && errors.Is(v.err, errKeyUsed) {
		_, err := h.carryOn(ctx, id, waiting, nil)
		if errors.Is(err, holdfast.ErrNotFound) && !started || holdfast.IsPermanent(err) {
			return verdict{err: cmp.Or(permanent(err), v.err)}
		}
		if err != nil && !pause(ctx, lookEvery) {
			return v
		}
		v, ended = h.follow(ctx, id, id)
	}
	if !ended || ctx.Err() != nil {
		return v
	}
	undo := workflows.SagaUndoID(id)
	undoing, err := h.describe(ctx, undo)
	var none *serviceerror.NotFound
	if errors.As(err, &none) {
		return v
	}
	own, gone := h.describe(ctx, id)
	if err == nil && gone == nil && own.WorkflowCloseTime != nil &&
		undoing.WorkflowStartTime.Before(*own.WorkflowCloseTime) {
		return v // it was started again since, with the same key
	}
	undone, _ := h.follow(ctx, id, undo)
	return undone
}

// describe describes a workflow, as often as Temporal is away until it is not.
func (h *Handles) describe(ctx context.Context, workflowID string) (d *described, err error) {
	for {
		d, err = h.o.Temporal.DescribeWorkflow(ctx, workflowID, "")
		var none *serviceerror.NotFound
		if err == nil || errors.As(err, &none) || !pause(ctx, lookEvery) {
			return d, err
		}
	}
}

// pause waits, and reports false if ctx is done.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// follow waits for a workflow of the saga id: for its end, and looks at it once in
// a while to see whether it needs an operator. undoable says that another workflow
// may have undone what this one did.
func (h *Handles) follow(ctx context.Context, id, workflowID string) (v verdict, undoable bool) {
	ctx, cancel := context.WithCancel(ctx)
	type result struct {
		status sagas.Status
		err    error
	}
	results := make(chan result, 1)
	defer func() {
		cancel()
		<-results // closed
	}()
	go func() {
		defer close(results)
		var r result
		for {
			r.err = h.o.Temporal.GetWorkflow(ctx, workflowID, "").Get(ctx, &r.status)
			if r.err == nil || final(r.err) || !pause(ctx, lookEvery) {
				results <- r
				return
			}
		}
	}()
	tick, wait, unanswered := time.NewTimer(0), lookFirst, 0
	defer tick.Stop()
	for {
		select {
		case r := <-results:
			if r.err != nil {
				return h.lost(ctx, id, workflowID, r.err)
			}
			return verdictOn(r.status), r.status.State == core.StateCompleted
		case <-tick.C:
			v, needed, answered := h.needsOperator(ctx, id, workflowID)
			if unanswered++; !needed || answered {
				unanswered = 0
			}
			if needed && (answered || unanswered == unansweredLooks) {
				return v, false
			}
			tick.Reset(wait)
			wait = min(2*wait, lookEvery)
		case <-ctx.Done():
			return verdict{err: ctx.Err()}, false
		}
	}
}

// final reports whether asking again for the result would bring the same.
func final(err error) bool {
	var none *serviceerror.NotFound
	var failed *temporal.WorkflowExecutionError
	return errors.As(err, &none) || errors.As(err, &failed)
}

// errKeyUsed is of a start whose key is another saga's.
var errKeyUsed = fmt.Errorf("%w: its key is another saga's", holdfast.ErrDuplicate)

// lost is the verdict on a workflow that has no result.
func (h *Handles) lost(ctx context.Context, id, workflowID string, err error) (v verdict, undoable bool) {
	var none *serviceerror.NotFound
	var failure *temporal.ApplicationError
	var ended *temporal.WorkflowExecutionError
	switch {
	case errors.As(err, &none):
		return verdict{err: fmt.Errorf("%w: saga %s", holdfast.ErrNotFound, id)}, false
	case errors.As(err, &failure) && failure.Type() == workflows.KeyUsed:
		return verdict{err: fmt.Errorf("%w: saga %s: %s", errKeyUsed, id, failure.Message())}, false
	case errors.As(err, &failure) && failure.Type() == workflows.InvalidInput:
		return verdict{err: fmt.Errorf("%w: saga %s: %s", holdfast.ErrInvalid, id, failure.Message())}, true
	case !errors.As(err, &ended):
		return verdict{err: err}, false // ctx is done
	}
	v.err = &holdfast.SagaError{Condition: holdfast.ErrSagaParked, ID: id,
		Reason: fmt.Sprintf("its workflow did not end by itself (%v): `%s` undoes what it did",
			errors.Unwrap(ended), undoCommand(h.o.Prefix, id))}
	if status, err := h.ask(ctx, workflowID); err == nil {
		v.data = status.Core.Data
	}
	return v, true
}

// undoCommand is a command line that undoes a saga which was ended from outside.
func undoCommand(prefix, id string) string {
	return command(prefix, "saga compensate", id, "--reason", shell.Text)
}

// command is a command line about the saga id.
func command(prefix, verb, id string, flags ...string) string {
	if prefix != workflows.DefaultPrefix {
		flags = append(flags, "--prefix", prefix)
	}
	return shell.Holdfast(verb, id, flags...)
}

// needsOperator looks whether the saga waits for an operator; answered is false where nobody says why.
func (h *Handles) needsOperator(ctx context.Context, id, workflowID string) (v verdict, needed, answered bool) {
	describing, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	d, err := h.o.Temporal.DescribeWorkflow(describing, workflowID, "")
	if err != nil || d.Status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return v, false, true
	}
	state, _ := d.TypedSearchAttributes.GetKeyword(temporal.NewSearchAttributeKeyKeyword(workflows.AttributeState))
	if state != core.StateParked && state != core.StateCompensationFailed {
		return v, false, true
	}
	status, err := h.ask(ctx, workflowID)
	if err != nil {
		return verdict{err: &holdfast.SagaError{Condition: sagas.Condition(state), ID: id,
			Reason: "no process of its group says why: start one, and see `" +
				command(h.o.Prefix, "saga show", id) + "`"}}, true, false
	}
	v = verdictOn(status)
	return v, !errors.Is(v.err, holdfast.ErrSagaPending), true // it may have gone on meanwhile
}

// verdictOn is what a saga's status means for who waits for it.
func verdictOn(s sagas.Status) verdict { return verdict{data: s.Core.Data, err: s.Err()} }
