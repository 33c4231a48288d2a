package sagahandle

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"

	"go.temporal.io/api/serviceerror"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/sagaexpress"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// isExpress reports whether sagas of this definition are run by this process itself.
func (h *Handles) isExpress(c *saga.Compiled) bool {
	return c != nil && h.o.Express != nil &&
		cmp.Or(c.Lane, h.o.Lanes["saga/"+c.Plan.Name]) == holdfast.Express && h.o.Express.Takes(&c.Plan)
}

// startExpress starts a saga in the Express lane.
func (h *Handles) startExpress(ctx context.Context, c *saga.Compiled, key string,
	data json.RawMessage) (id string, end *End, err error) {
	if err := h.o.Gate.Enter(ctx); err != nil {
		return "", nil, err
	}
	defer h.o.Gate.Leave()
	id = h.ID(c.Plan.Name, key)
	end = h.ends.expect(id)
	end.run, err = h.o.Express.Start(ctx, &c.Plan, id,
		holdfast.SagaStart{Name: c.Plan.Name, Version: c.Plan.Version, Key: key, State: data})
	if err != nil {
		h.ends.forget(end)
		return "", nil, err
	}
	h.o.Metrics.SagaStarted(c.Plan.Name)
	return id, end, nil
}

// HandOver starts the workflow of a saga that began in the Express lane. nil: it has one.
// [holdfast.ErrDuplicate]: that is another one's, which used the same key.
func (h *Handles) HandOver(ctx context.Context, in sagas.Input) error {
	_, _, err := sagas.Start(ctx, h.o.Temporal,
		sagas.StartConfig{Prefix: h.o.Prefix, Fresh: true, TaskTimeout: h.o.TaskTimeout}, in)
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	switch {
	case err == nil, errors.As(err, &already):
		return nil
	case errors.Is(err, holdfast.ErrDuplicate):
		return err
	}
	return temporalerr.Unavailable("hand over saga "+in.ID, err)
}

// HandOverHalf hands over a saga whose half record nobody has settled. What was done of it
// the step rows tell.
func (h *Handles) HandOverHalf(ctx context.Context, half holdfast.Half) error {
	return h.HandOver(ctx, h.startedWith(h.ID(half.Saga.Name, half.Saga.Key), half.Database, *half.Saga))
}

// startedWith is the input of the workflow of a saga of which only is known what it was
// started with.
func (h *Handles) startedWith(id, database string, s holdfast.SagaStart) sagas.Input {
	in := sagas.Input{ID: id, Group: h.o.Group, Prefix: h.o.Prefix, Name: s.Name, Key: s.Key, Version: s.Version,
		Data: s.State, Tokens: s.Tokens, Database: database, Again: true}
	if c, err := h.definition(s.Name, s.Version); err == nil && c != nil {
		in.Plan, in.StepNames = &c.Plan, h.o.StepNames(c.Plan)
	}
	return in
}

// carryOn gives a saga of the Express lane its workflow, which repeats what the step rows
// know: whoever wants to see it, or to steer it, needs one. That of a saga which has
// completed is awaited, for a moment: nothing else may come between. [holdfast.ErrNotFound]:
// no row of this process's database says that it was begun.
func (h *Handles) carryOn(ctx context.Context, id string) error {
	if h.o.Express == nil {
		return holdfast.ErrNotFound
	}
	if known, ok := workflows.ParseID(id); !ok || known.Kind != workflows.KindSaga {
		return holdfast.ErrNotFound // the workflow that undoes one, say
	}
	s, err := h.o.Express.Begun(ctx, id)
	if err != nil {
		return err
	}
	if err := h.HandOver(ctx, h.startedWith(id, h.o.Database(), s)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	_ = h.o.Temporal.GetWorkflow(ctx, id, "").Get(ctx, nil)
	return nil
}

// carriesOn is carryOn for a saga that may have ended, or have no workflow. It reports
// whether it has one now.
func (h *Handles) carriesOn(ctx context.Context, id string) bool {
	_, err := h.describeOnce(ctx, id)
	return errors.Is(err, holdfast.ErrNotFound) && h.carryOn(ctx, id) == nil
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
	r.Leave(action, req)
	select {
	case <-r.Left():
		return r.Taken()
	case <-ctx.Done():
	case <-h.o.Gate.Over():
	}
	return false
}
