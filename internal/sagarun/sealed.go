package sagarun

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// program is the definition of one saga: its functions get the state opened, and what they
// make of it is sealed.
type program struct {
	*saga.Compiled
	box *seal.Box
	ref activities.SagaRef
}

// find returns the program of the saga of a step.
func (r *Runner) find(s activities.SagaStep) (*program, error) {
	c, err := r.Definitions.Find(s.Saga.Name, s.Saga.Version)
	if err != nil {
		return nil, err
	}
	return &program{c, r.Box, s.Saga}, nil
}

// begin is find for a step that is to be run: not says that this process cannot, and that
// out is what came of it.
func (r *Runner) begin(ctx context.Context, s activities.SagaStep) (c *program, out activities.SagaResult, not bool) {
	c, err := r.find(s)
	if err != nil {
		return nil, noWorker(err), true
	}
	switch _, err := c.open(ctx, s.Data); {
	case seal.Missing(err):
		return nil, noKey(err), true
	case err != nil:
		return nil, nothing(failed(ctx, err)), true
	}
	return c, activities.SagaResult{}, false
}

func (p *program) open(ctx context.Context, data json.RawMessage) (seal.Opened, error) {
	return p.box.OpenState(ctx, p.ref.ID, p.related, data)
}

// related reports whether the saga owner has this one as a step, at whatever depth, or is
// such a step of it, or is it by its ID of before the prefix was part of that.
func (p *program) related(owner string) bool {
	if has(p.ref.Key, workflows.WithoutGroup(owner)) { // also of an ID of a form of one's own
		return true
	}
	of, ok := workflows.ParseID(owner)
	if !ok {
		return false
	}
	if before, other := workflows.BeforePrefixes(owner); other && before == p.ref.ID {
		return true
	}
	return has(of.Key, workflows.WithoutGroup(p.ref.ID))
}

// has reports whether a sub-saga's key has another saga's ID in it, and a step behind it.
func has(key, id string) bool { return strings.Contains("."+key, "."+id+".") }

// patch seals what a function changed in a state, and sees to it that it fits. Of a saga
// that was begun in clear what cannot be sealed stays in clear.
func (p *program) patch(ctx context.Context, was json.RawMessage, o seal.Opened,
	patch json.RawMessage) (json.RawMessage, error) {
	sealed, err := p.box.Patch(ctx, o.Owner, o.Began, patch)
	if err != nil || !p.box.Seals() || len(sealed) == 0 {
		return sealed, err
	}
	now, err := core.Merge(was, sealed)
	if err == nil {
		err = core.CheckData(now)
	}
	switch {
	case err != nil && !o.Began: // it was begun in clear, and fits in clear: encryption is no reason to turn back
		return patch, nil
	case err != nil:
		return nil, holdfast.Permanent(fmt.Errorf("encrypted: %w", err))
	}
	return sealed, nil
}

// Do is that of the definition.
func (p *program) Do(ctx context.Context, tx *gorm.DB, step string, data json.RawMessage) (json.RawMessage, error) {
	return p.change(ctx, data, func(data json.RawMessage) (json.RawMessage, error) {
		return p.Compiled.Do(ctx, tx, step, data)
	})
}

// Undo is that of the definition.
func (p *program) Undo(ctx context.Context, tx *gorm.DB, step string, data json.RawMessage) (json.RawMessage, error) {
	return p.change(ctx, data, func(data json.RawMessage) (json.RawMessage, error) {
		return p.Compiled.Undo(ctx, tx, step, data)
	})
}

func (p *program) change(ctx context.Context, data json.RawMessage,
	f func(data json.RawMessage) (patch json.RawMessage, err error)) (json.RawMessage, error) {
	o, err := p.open(ctx, data)
	if err != nil {
		return nil, err
	}
	patch, err := f(o.Data)
	if err != nil {
		return nil, err
	}
	return p.patch(ctx, data, o, patch)
}

// When is that of the definition.
func (p *program) When(ctx context.Context, step string, data json.RawMessage) (bool, error) {
	o, err := p.open(ctx, data)
	if err != nil {
		return false, err
	}
	return p.Compiled.When(step, o.Data)
}

// Pick is that of the definition.
func (p *program) Pick(ctx context.Context, step string, data json.RawMessage) (string, error) {
	o, err := p.open(ctx, data)
	if err != nil {
		return "", err
	}
	return p.Compiled.Pick(step, o.Data)
}

// Body is what the definition sends to a participant, in clear.
func (p *program) Body(ctx context.Context, step string, data json.RawMessage) (json.RawMessage, error) {
	o, err := p.open(ctx, data)
	if err != nil {
		return nil, err
	}
	return p.Compiled.Send(step, o.Data)
}

// Input is what the definition sends to an activity or a sub-saga.
func (p *program) Input(ctx context.Context, s core.Step, data json.RawMessage) (json.RawMessage, error) {
	o, err := p.open(ctx, data)
	if err != nil {
		return nil, err
	}
	out, err := p.Compiled.Send(s.Name, o.Data)
	if err != nil || !p.box.Seals() {
		return out, err
	}
	if s.Kind == core.Activity {
		return p.box.Value(ctx, seal.Input, p.ref.ID, s.Name, out)
	}
	sealed, err := p.box.State(ctx, o.Owner, out)
	if err == nil {
		err = core.CheckData(sealed)
	}
	switch {
	case err == nil || seal.Missing(err):
		return sealed, err
	case !o.Began && json.Valid(out): // as in patch
		return out, nil
	}
	return nil, holdfast.Permanent(err)
}

// Receive is that of the definition. result is what a participant, an activity or an
// operator answered, or the last state of a sub-saga.
func (p *program) Receive(ctx context.Context, s core.Step, data, result json.RawMessage) (json.RawMessage, error) {
	result, err := p.result(ctx, s, result)
	if err != nil {
		return nil, err
	}
	return p.change(ctx, data, func(data json.RawMessage) (json.RawMessage, error) {
		return p.Compiled.Receive(s.Name, data, result)
	})
}

func (p *program) result(ctx context.Context, s core.Step, result json.RawMessage) (json.RawMessage, error) {
	switch s.Kind {
	case core.Saga:
		o, err := p.open(ctx, result)
		return o.Data, err
	case core.Wait:
		return p.box.OpenValue(ctx, seal.Answer, p.ref.ID, s.Name, result)
	}
	return p.box.OpenValue(ctx, seal.Result, p.ref.ID, s.Name, result)
}
