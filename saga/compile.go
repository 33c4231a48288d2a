package saga

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/guard"
	"github.com/holdfastmq/holdfast/saga/core"
)

// Compiled is a definition that was checked: its plan, and its functions by step.
// Its methods may be called from many goroutines, if the functions may. A panic of
// a function of the state is a [holdfast.PanicError]; those of Do and Undo are left
// to the transaction that they run in.
type Compiled struct {
	Plan  core.Plan
	Lane  holdfast.Lane
	key   func(json.RawMessage) (string, error)
	steps map[string]StepDef
}

// maxPlan limits a plan, in bytes of JSON: it is in the history of each saga, beside
// the state.
const maxPlan = 256 << 10

// Compile checks the definition.
func (d Saga[S]) Compile() (*Compiled, error) {
	c := &Compiled{Plan: core.Plan{Name: d.Name, Version: d.Version, OneByOne: d.OneByOne}, Lane: d.Lane,
		steps: map[string]StepDef{}}
	if d.Key != nil {
		c.key = func(data json.RawMessage) (string, error) {
			s, err := decode[S](data)
			if err != nil {
				return "", err
			}
			return d.Key(s), nil
		}
	}
	b := &builder{Compiled: c, state: reflect.TypeFor[S]()}
	if err := d.Lane.Validate(); err != nil {
		b.errs = append(b.errs, fmt.Errorf("saga %s: %w", d.Name, err))
	}
	for i, s := range d.Steps {
		if s == nil {
			b.wrong(fmt.Sprintf("number %d", i+1), "it is nil")
			continue
		}
		c.Plan.Steps = append(c.Plan.Steps, b.add(s.define(), nil))
	}
	plan, err := c.Plan.Complete()
	c.Plan = plan
	if text, wrong := json.Marshal(plan); wrong != nil || len(text) > maxPlan {
		b.errs = append(b.errs, fmt.Errorf("%w: saga %s: its plan has %d bytes of JSON, those of its sub-sagas included, "+
			"the limit is %d: make it shorter", holdfast.ErrTooLarge, plan.Name, len(text), maxPlan))
	}
	if err := errors.Join(append(b.errs, err)...); err != nil {
		return nil, err
	}
	return c, nil
}

// builder makes a plan of steps, and finds what is wrong with their functions.
type builder struct {
	*Compiled
	state reflect.Type
	errs  []error
}

func (b *builder) wrong(step, format string, args ...any) {
	step = cmp.Or(step, "without a name")
	b.errs = append(b.errs, fmt.Errorf("%w: saga %s, step %s: %s",
		holdfast.ErrInvalid, b.Plan.Name, step, fmt.Sprintf(format, args...)))
}

// add takes a step and those in it, and returns its part of the plan. in is the
// group that it is in.
func (b *builder) add(d StepDef, in *core.Step) core.Step {
	s := d.step
	choice := in != nil && in.Kind == core.Choice
	if choice && d.isCase {
		s.Name = in.Name + "." + s.Name
	}
	for _, err := range d.errs {
		b.wrong(s.Name, "%v", err)
	}
	if d.isCase && !choice {
		b.wrong(s.Name, "Case and Otherwise are for Choose alone: use Sequence")
	}
	for _, f := range []struct {
		what  string
		takes reflect.Type
	}{{"its functions take", d.state}, {"When takes", d.when.state},
		{"Send takes", d.send.state}, {"Receive takes", d.recv.state}, {"Pick takes", d.pick.state}} {
		if f.takes != nil && f.takes != b.state {
			b.wrong(s.Name, "%s a %v, but the saga's state is %v", f.what, f.takes, b.state)
		}
	}
	switch {
	case s.Group():
		if d.step.Conditional || d.send.state != nil || d.step.Receives {
			b.wrong(s.Name, "When, Send and Receive are for steps, not for a %s", s.Kind)
		}
	case s.Kind == core.Local:
		if d.send.state != nil || d.step.Receives {
			b.wrong(s.Name, "a local step has the state itself: Send and Receive are for the other kinds")
		}
	case s.Kind == core.Wait:
		if d.send.state != nil {
			b.wrong(s.Name, "a wait sends nothing: leave Send out")
		}
	}
	if s.TaskQueue != "" && s.Kind != core.Activity {
		b.wrong(s.Name, "On is for activities: leave it out")
	}
	b.steps[s.Name] = d
	for _, x := range d.steps {
		s.Steps = append(s.Steps, b.add(x, &s))
	}
	return s
}

// Subs are the sagas that this one has as steps, at whatever depth, in their order.
func (c *Compiled) Subs() []*Compiled {
	var out []*Compiled
	c.Plan.Each(func(s *core.Step, _ int) {
		if sub := c.steps[s.Name].sub; sub != nil {
			out = append(append(out, sub), sub.Subs()...)
		}
	})
	return out
}

// Key returns the business key of a state; empty: the saga has none.
func (c *Compiled) Key(data json.RawMessage) (string, error) {
	if c.key == nil {
		return "", nil
	}
	return guard.Value(func() (string, error) { return c.key(data) })
}

// Do runs a local step's Do with tx, and returns what it changed in the state, as
// a merge patch.
func (c *Compiled) Do(ctx context.Context, tx *gorm.DB, step string,
	data json.RawMessage) (patch json.RawMessage, err error) {
	f := c.steps[step].do
	if f == nil {
		return nil, c.missing(step, "Do")
	}
	return f(ctx, tx, data)
}

// Undo runs a local step's Undo with tx, and returns what it changed in the state,
// as a merge patch.
func (c *Compiled) Undo(ctx context.Context, tx *gorm.DB, step string,
	data json.RawMessage) (patch json.RawMessage, err error) {
	f := c.steps[step].undo
	if f == nil {
		return nil, c.missing(step, "Undo")
	}
	return f(ctx, tx, data)
}

// When reports whether the step is to be done in that state.
func (c *Compiled) When(step string, data json.RawMessage) (bool, error) {
	if f := c.steps[step].when.f; f != nil {
		return guard.Value(func() (bool, error) { return f(data) })
	}
	return true, nil
}

// Send returns what the step sends: a message's body, an activity's input, a
// sub-saga's first state.
func (c *Compiled) Send(step string, data json.RawMessage) (json.RawMessage, error) {
	d := c.steps[step]
	f := d.send.f
	if f == nil {
		return data, nil
	}
	out, err := guard.Value(func() (json.RawMessage, error) { return f(data) })
	if err == nil && d.step.Kind == core.Saga {
		err = holdfast.Permanent(core.CheckData(out))
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Receive takes a result into the state, and returns the change as a merge patch.
func (c *Compiled) Receive(step string, data, result json.RawMessage) (patch json.RawMessage, err error) {
	if f := c.steps[step].recv.f; f != nil {
		return guard.Value(func() (json.RawMessage, error) { return f(data, result) })
	}
	return nil, nil
}

// Pick returns the case that a choice takes.
func (c *Compiled) Pick(step string, data json.RawMessage) (string, error) {
	f := c.steps[step].pick.f
	if f == nil {
		return "", c.missing(step, "Pick")
	}
	return guard.Value(func() (string, error) { return f(data) })
}

func (c *Compiled) missing(step, what string) error {
	return holdfast.Permanent(fmt.Errorf("%w: saga %s version %d has no %s in step %s",
		holdfast.ErrNotFound, c.Plan.Name, c.Plan.Version, what, step))
}
