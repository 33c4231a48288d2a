package core

import (
	"errors"
	"fmt"

	"github.com/holdfastmq/holdfast"
)

// Complete returns the plan with what it leaves open filled in, or what is wrong
// with it: each error names the step and the remedy, and wraps
// [holdfast.ErrInvalid].
func (p Plan) Complete() (Plan, error) {
	c := &completion{plan: p.Name, seen: map[string]bool{}, ancestors: []string{p.Name}}
	if err := holdfast.ValidateName("saga's name", p.Name); err != nil {
		c.errs = append(c.errs, err)
	}
	if p.Version == 0 {
		p.Version = 1
	}
	if p.Version < 0 {
		c.wrong("", "its version is %d: want 1 or more", p.Version)
	}
	if len(p.Steps) == 0 {
		c.wrong("", "it has no steps")
	}
	p.Steps = c.steps(p.Steps)
	return p, errors.Join(c.errs...)
}

// completion goes through the steps in their order.
type completion struct {
	plan      string
	ancestors []string // sagas that this one is a part of, itself included
	seen      map[string]bool
	parallel  int    // how many parallel groups and choices it is inside of
	pivot     string // the pivot that was passed
	forward   string // the first step that cannot go back
	parked    bool
	errs      []error
}

func (c *completion) wrong(step, format string, args ...any) {
	where := "saga " + c.plan
	if step != "" {
		where += ", step " + step
	}
	c.errs = append(c.errs, fmt.Errorf("%w: %s: %s", holdfast.ErrInvalid, where, fmt.Sprintf(format, args...)))
}

func (c *completion) steps(in []Step) []Step {
	out := make([]Step, len(in))
	for i, s := range in {
		out[i] = c.step(s)
	}
	return out
}

func (c *completion) step(s Step) Step {
	if err := holdfast.ValidateName("step's name", s.Name); err != nil {
		c.wrong(s.Name, "%v", err)
	}
	if c.seen[s.Name] {
		c.wrong(s.Name, "two steps have this name: give each its own, since the step rows are kept by it")
	}
	c.seen[s.Name] = true
	if s.Timeout < 0 || s.Retry.Attempts < 0 || s.Retry.First < 0 || s.Retry.Max < 0 {
		c.wrong(s.Name, "a timeout or retry is negative")
	}
	if s.Group() {
		return c.group(s)
	}
	if len(s.Steps) > 0 {
		c.wrong(s.Name, "a %s step cannot hold other steps", s.Kind)
	}
	c.kind(s)
	s = c.direction(s)
	if s.Kind == Saga && s.Saga != nil {
		s.Saga = c.sub(s)
	}
	return s
}

// kind checks what the kinds need.
func (c *completion) kind(s Step) {
	switch s.Kind {
	case Local:
	case Wait:
		if s.Undo {
			c.wrong(s.Name, "a wait does nothing that could be undone")
		}
	case Message:
		if err := (holdfast.Message{Topic: s.Topic}).Validate(); err != nil {
			c.wrong(s.Name, "its topic: %v", err)
		}
		if s.UndoTopic != "" {
			if err := (holdfast.Message{Topic: s.UndoTopic}).Validate(); err != nil {
				c.wrong(s.Name, "its Undo's topic: %v", err)
			}
			if s.UndoTopic == s.Topic {
				c.wrong(s.Name, "Do and Undo have the same topic %s: give the Undo its own", s.Topic)
			}
		}
	case Activity:
		if s.Type == "" {
			c.wrong(s.Name, "the activity's type is empty")
		}
	case Saga:
		if s.Saga == nil {
			c.wrong(s.Name, "it has no saga")
		}
	default:
		c.wrong(s.Name, "its kind is %q", s.Kind)
	}
}

// direction sees to what a failure leads to, and to the Undo.
func (c *completion) direction(s Step) Step {
	after := c.pivot != ""
	if s.OnFailure == "" {
		s.OnFailure = Backward
		if after {
			s.OnFailure = Forward
		}
	}
	switch s.OnFailure {
	case Backward:
		if after {
			c.wrong(s.Name, "it goes backward on failure, but comes after the pivot %s, after which there is no way back: make it Forward or Park, or move the pivot behind it", c.pivot)
		} else if c.forward != "" {
			c.wrong(s.Name, "it goes backward on failure, but comes after the Forward step %s, which cannot: put it before, or make it Forward or Park", c.forward)
		}
	case Forward:
		if c.forward == "" {
			c.forward = s.Name
		}
		if s.Kind == Wait {
			c.wrong(s.Name, "a wait cannot be Forward, since its timeout is for good: make it Backward or Park")
		}
	case Park:
	default:
		c.wrong(s.Name, "on failure %q: want backward, forward or park", s.OnFailure)
	}
	if s.Kind == Wait {
		s.NoUndo = true
	}
	if s.Undo && s.NoUndo {
		c.wrong(s.Name, "it has an Undo and says NoUndo: leave one of them out")
	}
	if !s.Undo && !s.NoUndo && s.OnFailure == Backward && !after {
		c.wrong(s.Name, "it has no Undo, and a later failure, or its own, would have to undo it: give it one, or say NoUndo, or put it after the pivot")
	}
	if s.Pivot {
		switch {
		case c.pivot != "":
			c.wrong(s.Name, "it is a second pivot after %s: there is one point of no return", c.pivot)
		case c.parallel > 0:
			c.wrong(s.Name, "a pivot cannot be inside a parallel group or a choice: put it before or after")
		case c.forward != "":
			c.wrong(s.Name, "a Forward step, %s, comes before the pivot: put it after, since the pivot may still fail and go backward", c.forward)
		}
		c.pivot = s.Name
	}
	return s
}

func (c *completion) group(s Step) Step {
	switch {
	case len(s.Steps) == 0:
		c.wrong(s.Name, "the %s is empty", s.Kind)
	case s.Pivot:
		c.wrong(s.Name, "a %s cannot be the pivot: mark a step", s.Kind)
	case s.Undo || s.OnFailure != "" && s.Kind != Choice:
		c.wrong(s.Name, "a %s has no failure of its own: say it of its steps", s.Kind)
	}
	if s.Kind == Choice {
		c.cases(s)
		s.OnFailure, s.NoUndo = Park, true
		if c.pivot == "" && c.forward == "" {
			s.OnFailure = Backward
		}
	}
	if s.Kind != Sequence {
		c.parallel++
		defer func() { c.parallel-- }()
	}
	if s.Kind == Sequence {
		s.Steps = c.steps(s.Steps)
		return s
	}
	// What goes forward in one branch does not come before the other branches.
	before, forward := c.forward, c.forward
	s.Steps = append([]Step(nil), s.Steps...)
	for i := range s.Steps {
		c.forward = before
		s.Steps[i] = c.step(s.Steps[i])
		if c.forward != "" && forward == "" {
			forward = c.forward
		}
	}
	if s.Kind == Parallel && forward != before {
		for i := range s.Steps {
			if name := backward(s.Steps[i : i+1]); name != "" {
				c.wrong(name, "it goes backward on failure, but runs beside the Forward step %s, which cannot: put it before the group, or make it Forward or Park", forward)
			}
		}
	}
	c.forward = forward
	return s
}

// cases finds what can never be chosen.
func (c *completion) cases(s Step) {
	taken := map[string]string{}
	for _, x := range s.Steps {
		if x.Kind != Sequence {
			c.wrong(x.Name, "a choice holds cases: use Case or Otherwise")
			continue
		}
		if by, there := taken[x.Case]; there {
			c.wrong(first(x), "it is unreachable: case %q of choice %s is taken by %s", x.Case, s.Name, by)
		}
		taken[x.Case] = first(x)
	}
}

// first names a case by its first step.
func first(s Step) string {
	if len(s.Steps) > 0 {
		return s.Steps[0].Name
	}
	return s.Name
}

// backward returns the first step that goes backward on failure.
func backward(steps []Step) string {
	for _, s := range steps {
		if !s.Group() && s.OnFailure == Backward {
			return s.Name
		}
		if name := backward(s.Steps); name != "" {
			return name
		}
	}
	return ""
}

// sub completes the plan of a sub-saga. One that contains itself would never end:
// what comes after it is unreachable.
func (c *completion) sub(s Step) *Plan {
	for _, a := range c.ancestors {
		if a == s.Saga.Name {
			c.wrong(s.Name, "saga %s contains itself: what comes after it is unreachable", a)
			return s.Saga
		}
	}
	inner := &completion{plan: s.Saga.Name, seen: map[string]bool{}, ancestors: append(append([]string(nil), c.ancestors...), s.Saga.Name)}
	p := *s.Saga
	p.Steps = inner.steps(p.Steps)
	c.errs = append(c.errs, inner.errs...)
	return &p
}
