package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
)

// Compiled is a definition that was checked: its plan, and its functions by step.
// Its methods may be called from many goroutines, if the functions may.
type Compiled struct {
	Plan  core.Plan
	key   func(json.RawMessage) (string, error)
	steps map[string]StepDef
}

// Compile checks the definition.
func (d Saga[S]) Compile() (*Compiled, error) {
	c := &Compiled{Plan: core.Plan{Name: d.Name, Version: d.Version}, steps: map[string]StepDef{}}
	if d.Key != nil {
		c.key = func(data json.RawMessage) (string, error) {
			s, err := decode[S](data)
			if err != nil {
				return "", err
			}
			return d.Key(s), nil
		}
	}
	var errs []error
	for i, s := range d.Steps {
		if s == nil {
			errs = append(errs, fmt.Errorf("%w: saga %s: step %d is nil", holdfast.ErrInvalid, d.Name, i+1))
			continue
		}
		step, err := c.add(s.define(), reflect.TypeFor[S](), "")
		errs = append(errs, err)
		c.Plan.Steps = append(c.Plan.Steps, step)
	}
	plan, err := c.Plan.Complete()
	c.Plan = plan
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	return c, nil
}

// add takes a step and those in it, and returns its part of the plan. in names the
// choice it is a case of.
func (c *Compiled) add(d StepDef, state reflect.Type, in string) (core.Step, error) {
	s := d.step
	if d.isCase {
		s.Name = in + "." + s.Name
	}
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: saga %s, step %s: %s", holdfast.ErrInvalid, c.Plan.Name, s.Name, fmt.Sprintf(format, args...)))
	}
	for _, err := range d.errs {
		wrong("%v", err)
	}
	for what, t := range map[string]reflect.Type{"its functions": d.state, "When": d.when.state, "Send": d.send.state, "Receive": d.recv.state, "Pick": d.pick.state} {
		if t != nil && t != state {
			wrong("%s take a %v, but the saga's state is %v", what, t, state)
		}
	}
	if s.Kind == core.Local && (d.send.f != nil || d.recv.f != nil) {
		wrong("a local step has the state itself: Send and Receive are for the other kinds")
	}
	if s.Group() && (d.when.f != nil || d.send.f != nil || d.recv.f != nil) {
		wrong("When, Send and Receive are for steps, not for a %s", s.Kind)
	}
	if s.TaskQueue != "" && s.Kind != core.Activity {
		wrong("On is for activities")
	}
	c.steps[s.Name] = d
	for _, x := range d.steps {
		if x.isCase != (s.Kind == core.Choice) {
			wrong("Case and Otherwise belong into Choose, and nothing else does")
			continue
		}
		step, err := c.add(x, state, s.Name)
		errs = append(errs, err)
		s.Steps = append(s.Steps, step)
	}
	return s, errors.Join(errs...)
}

// Subs are the sagas that this one has as steps, at whatever depth.
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
	return c.key(data)
}

// Do runs a local step's Do with tx, and returns what it changed in the state, as
// a merge patch.
func (c *Compiled) Do(ctx context.Context, tx *gorm.DB, step string, data json.RawMessage) (patch json.RawMessage, err error) {
	f := c.steps[step].do
	if f == nil {
		return nil, c.missing(step, "Do")
	}
	return f(ctx, tx, data)
}

// Undo runs a local step's Undo with tx.
func (c *Compiled) Undo(ctx context.Context, tx *gorm.DB, step string, data json.RawMessage) error {
	f := c.steps[step].undo
	if f == nil {
		return c.missing(step, "Undo")
	}
	_, err := f(ctx, tx, data)
	return err
}

// When reports whether the step is to be done in that state.
func (c *Compiled) When(step string, data json.RawMessage) (bool, error) {
	if f := c.steps[step].when.f; f != nil {
		return f(data)
	}
	return true, nil
}

// Send returns what the step sends: a message's body, an activity's input, a
// sub-saga's first state.
func (c *Compiled) Send(step string, data json.RawMessage) (json.RawMessage, error) {
	if f := c.steps[step].send.f; f != nil {
		return f(data)
	}
	return data, nil
}

// Receive takes a result into the state, and returns the change as a merge patch.
func (c *Compiled) Receive(step string, data, result json.RawMessage) (patch json.RawMessage, err error) {
	if f := c.steps[step].recv.f; f != nil {
		return f(data, result)
	}
	return nil, nil
}

// Pick returns the case that a choice takes.
func (c *Compiled) Pick(step string, data json.RawMessage) (string, error) {
	f := c.steps[step].pick.f
	if f == nil {
		return "", c.missing(step, "Pick")
	}
	return f(data)
}

func (c *Compiled) missing(step, what string) error {
	return holdfast.Permanent(fmt.Errorf("%w: saga %s version %d has no %s in step %s", holdfast.ErrNotFound, c.Plan.Name, c.Plan.Version, what, step))
}
