package sagahandle

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/serviceerror"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/sagaexpress"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// isExpress reports whether sagas of this definition are run by this process itself.
func (h *Handles) isExpress(c *saga.Compiled) bool {
	return c != nil && h.o.Express != nil && c.Plan.Express && h.o.Express.Takes(&c.Plan)
}

// othersKey says that a saga's key was used for another one, as far as its begin row tells.
func (h *Handles) othersKey(ctx context.Context, id string, c *saga.Compiled, data json.RawMessage) error {
	if c == nil || h.o.Express == nil || !c.Plan.BeginRow() {
		return nil
	}
	b, err := h.o.Express.Begun(ctx, id)
	if err != nil || b.Content == sagas.ContentOf(data) {
		return nil // Temporal or the workflow finds it
	}
	return holdfast.Permanent(fmt.Errorf("%w: saga %s was started with other content: use a new key for new work, or "+
		"JoinSaga for the one that is there", holdfast.ErrDuplicate, id))
}

// takenBefore makes the workflow of in the one that drives the saga before it is started, where it
// does not do so itself: with RollingUpgrade an earlier version may run it. Processes without that
// find the row then.
func (h *Handles) takenBefore(ctx context.Context, c *saga.Compiled, in sagas.Input) (sagas.Input, error) {
	if !h.o.Rolling || c == nil || h.o.Express == nil || !h.o.Express.Has("") || !c.Plan.Quick() {
		return in, nil
	}
	row := barrier.BegunSaga{SagaStart: holdfast.SagaStart{Name: in.Name, Version: in.Version, Key: in.Key},
		Content: sagas.ContentOf(in.Data)}
	found, err := h.o.Express.Take(ctx, in.ID, row, askFor)
	switch {
	case err != nil:
		return in, err
	case found.Last != nil: // its workflow ends as the saga did
		_, err = h.carryOn(ctx, in.ID, looking, nil)
	}
	in.Again = in.Again || len(found.State) > 0 // a process has begun it
	return in, err
}

// startExpress starts a saga in the Express lane.
func (h *Handles) startExpress(ctx context.Context, c *saga.Compiled, key string,
	data json.RawMessage, at holdfast.Trace) (id string, end *End, err error) {
	if err := h.o.Gate.Enter(ctx); err != nil {
		return "", nil, err
	}
	defer h.o.Gate.Leave()
	id = h.ID(c.Plan.Name, key)
	end = h.ends.expect(id)
	if r := h.running(id); r != nil && r.IsFor(data) { // it is joined
		end.run = r
		return id, end, nil
	}
	end.run, err = h.o.Express.Start(ctx, &c.Plan, id,
		holdfast.SagaStart{Name: c.Plan.Name, Version: c.Plan.Version, Key: key, State: data, Trace: at})
	if err != nil {
		h.ends.forget(end)
		return "", nil, err
	}
	h.o.Metrics.SagaStarted(c.Plan.Name)
	return id, end, nil
}

// HandOver starts the workflow of a saga that began in the Express lane, and that nobody
// drives any more, and reports whether it had none. [holdfast.ErrDuplicate]: it has that of
// another saga, which used the same key.
func (h *Handles) HandOver(ctx context.Context, in sagas.Input) (started bool, err error) {
	_, _, err = sagas.Start(ctx, h.o.Temporal,
		sagas.StartConfig{Prefix: h.o.Prefix, Fresh: true, TaskTimeout: h.o.TaskTimeout}, in)
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &already):
		return false, nil
	case errors.Is(err, holdfast.ErrDuplicate):
		if d, unknown := h.describeOnce(ctx, in.ID); unknown != nil || d.WorkflowCloseTime == nil {
			return false, &holdfast.UnavailableError{Part: "Temporal", Remedy: "it is tried again: that may end",
				Err: errors.New("the workflow of another start, with other content, has the ID " + in.ID)}
		}
		return false, err
	}
	return false, temporalerr.Unavailable("hand over saga "+in.ID, err)
}

// keeperWait is how long the Keeper waits for a step that is under way: it comes again.
const keeperWait = 100 * time.Millisecond

// ErrElsewhere means that other processes of the group run the saga: this one does not have
// its database.
var ErrElsewhere = &holdfast.UnavailableError{Part: "PostgreSQL",
	Err:    errors.New("this process does not have the saga's database"),
	Remedy: "start a process of the group that has its sagas and its database"}

// HandOverHalf hands over a saga whose half record nobody has settled. What was done of it
// the step rows tell. ErrElsewhere: another process has to.
func (h *Handles) HandOverHalf(ctx context.Context, half holdfast.Half) error {
	if h.o.Express == nil || !h.o.Express.Has(half.Database) {
		return ErrElsewhere
	}
	id := h.ID(half.Saga.Name, half.Saga.Key)
	row := barrier.BegunSaga{SagaStart: *half.Saga, Content: sagas.ContentOf(half.Saga.State)}
	found, err := h.o.Express.Take(ctx, id, row, keeperWait)
	if err != nil || found.Last != nil { // it has completed
		return err
	}
	in := h.startedWith(id, half.Database, found.Started(*half.Saga))
	in.Began = half.At
	_, err = h.HandOver(ctx, in)
	return err
}

// startedWith is the input of the workflow of a saga of which only is known what it was
// started with.
func (h *Handles) startedWith(id, database string, s holdfast.SagaStart) sagas.Input {
	in := sagas.Input{ID: id, Group: h.o.Group, Prefix: h.o.Prefix, Name: s.Name, Key: s.Key, Version: s.Version,
		Data: s.State, Tokens: s.Tokens, Database: database, Again: true, Begun: true,
		Trace: s.Trace.Bounded()}
	if c, err := h.definition(s.Name, s.Version); err == nil && c != nil {
		in.Plan, in.StepNames = &c.Plan, h.o.StepNames(c.Plan)
	}
	return in
}

// errDriven means that a saga has no workflow yet, since a process drives it.
var errDriven = errors.New("a process of its group runs it")

// startsWithin is how long after a saga was taken from its process its workflow may still
// have to be started. A workflow that is not known later is over.
const startsWithin = time.Hour

// startsBy is how long after that whoever took it has started it, if that process has not died
// meanwhile: who waits for the saga starts it then.
const startsBy = 30 * time.Second

// errDeserted means that a saga has no workflow, and nobody drives it: its cohort's was ended from
// outside.
var errDeserted = errors.New("nobody drives it: the workflow that it shared was ended from outside")

// carrying says which sagas carryOn gives their workflows, beside those that have completed.
type carrying int

const (
	looking carrying = iota // no other: who looks changes nothing
	waiting                 // those that nobody drives
	taking                  // those that a process drives, too: they are taken from it
)

// carryOn gives a saga its workflow that has none, by which it is seen and steered: one
// that has completed has all that is known of it from the first. One that how does not mean is
// errDriven, or errDeserted. asked, if not nil, has one that has not completed begin with that;
// taken says that this was so. [holdfast.ErrNotFound]: no row
// of this process's database says that it was begun, or it has had its workflow.
func (h *Handles) carryOn(ctx context.Context, id string, how carrying, asked *sagas.Asked) (taken bool, err error) {
	if h.o.Express == nil || !h.o.Express.Has("") {
		return h.fromCohort(ctx, id, how, asked)
	}
	if known, ok := workflows.ParseID(id); !ok || known.Kind != workflows.KindSaga || known.Undo {
		return false, holdfast.ErrNotFound
	}
	b, err := h.o.Express.Begun(ctx, id)
	driven := b.Holder != barrier.HolderWorkflow
	switch {
	case err != nil:
		return false, err
	case b.Last != nil:
	case !driven && (len(b.State) == 0 || time.Since(b.Taken) > startsWithin):
		return false, holdfast.ErrNotFound
	case how == taking:
	case how == waiting && !driven && time.Since(b.Taken) > startsBy: // whoever took it has died before
	case !h.Deserted(ctx, b.Holder):
		return false, errDriven
	case how == looking:
		now, err := h.o.Express.Begun(ctx, id) // the last member may have ended since, and its cohort with it
		switch {
		case err != nil:
			return false, err
		case now.Holder == b.Holder && now.Last == nil:
			return false, errDeserted
		}
		return h.carryOn(ctx, id, how, asked)
	}
	if b.Last == nil {
		if err := h.mayAsk(ctx, id, b, asked); err != nil {
			return false, err
		}
	}
	if b.Last == nil && driven {
		if b, err = h.o.Express.Take(ctx, id, b, askFor); err != nil {
			return false, err
		}
	}
	in := h.startedWith(id, h.o.Database(), b.SagaStart)
	if b.Last == nil {
		done := h.wasDone(ctx, id, asked)
		if done != nil && !errors.Is(done, holdfast.ErrInvalid) { // who asks again finds it
			return false, done
		} // if done is another error, whoever drove it has come so far meanwhile
		if done == nil && !h.o.Rolling { // an earlier version may run the first task, and not know Asked
			in.Asked = asked
		}
		started, err := h.HandOver(ctx, in)
		return started && in.Asked != nil && err == nil, cmp.Or(err, done)
	}
	in.Content = b.Content
	if in, err = sagas.CompletedInput(in, b.Last); err != nil {
		return false, err
	}
	if err := h.o.Express.Reopen(ctx, id, b); err != nil {
		return false, err
	}
	if _, err := h.HandOver(ctx, in); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	_ = h.o.Temporal.GetWorkflow(ctx, id, "").Get(ctx, nil) // it ends at once
	return false, nil
}

// mayAsk says why a saga cannot begin with what is asked for: then it is left as it is.
func (h *Handles) mayAsk(ctx context.Context, id string, b barrier.BegunSaga, asked *sagas.Asked) error {
	if asked == nil || asked.Action == sagas.UpdatePause || asked.Action == workflows.UpdateCompensate {
		return nil
	}
	c, err := h.definition(b.Name, b.Version)
	if err != nil || c == nil {
		return &holdfast.UnavailableError{Part: "saga " + b.Name, Err: fmt.Errorf("%s of %s: this process does not have the "+
			"saga, which has no workflow yet", asked.Action, id), Remedy: "ask in a process that has it"}
	}
	if err := sagas.MayBegin(&c.Plan, b.State, *asked); err != nil {
		return refusedAs(id, asked.Action, asked.Step, err.Error())
	}
	return h.wasDone(ctx, id, asked)
}

// wasDone says that a step cannot be skipped any more, since its row tells that it was done.
func (h *Handles) wasDone(ctx context.Context, id string, asked *sagas.Asked) error {
	if asked == nil || asked.Action != sagas.UpdateSkip {
		return nil
	}
	did, err := h.o.Express.Did(ctx, id, asked.Step)
	if err == nil && did {
		err = refusedAs(id, asked.Action, asked.Step, "it is done: skip is for what waits or failed")
	}
	return err
}

// carriesOn is carryOn for what steers a saga that may have ended, or have no workflow. It reports
// whether it has one now, and whether what is asked for is done with that.
func (h *Handles) carriesOn(ctx context.Context, id string, asked sagas.Asked) (has, done bool, err error) {
	if _, err := h.describeOnce(ctx, id); !errors.Is(err, holdfast.ErrNotFound) {
		return false, false, nil
	}
	done, err = h.carryOn(ctx, id, taking, &asked)
	if errors.Is(err, holdfast.ErrNotFound) {
		return false, false, nil
	}
	return err == nil, done, err
}

// running is the saga of that ID which this process runs in the Express lane, or nil.
func (h *Handles) running(id string) *sagaexpress.Run {
	if h.o.Express == nil {
		return nil
	}
	return h.o.Express.Running(id)
}

// takeOut has a saga that this process runs go on in its workflow, where it can be
// steered. It reports whether what is asked for is done already.
func (h *Handles) takeOut(ctx context.Context, id, action string, req sagas.Request) bool {
	r := h.running(id)
	if r == nil {
		return false
	}
	won := r.Leave(action, req)
	select {
	case <-r.Left():
		return won && r.Taken()
	case <-r.Forgone(): // its workflow is asked, or the saga is taken from whoever drives it
	case <-ctx.Done():
	case <-h.o.Gate.Over():
	}
	return false
}
