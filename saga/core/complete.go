package core

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfastmq/holdfast"
)

// Complete returns the plan with what it leaves open filled in, or what is wrong
// with it: each error names the step and the remedy, and wraps
// [holdfast.ErrInvalid].
func (p Plan) Complete() (Plan, error) {
	c := &completion{plan: p.Name}
	p = c.whole(p)
	return p, errors.Join(c.errs...)
}

// completion goes through the steps in their order.
type completion struct {
	plan     string
	within   []string // sagas that this one is a part of
	seen     map[string]bool
	steps    int
	parallel int    // how many parallel groups and choices it is inside of
	pivot    string // the pivot that was passed
	forward  string // the first step that cannot go back
	errs     []error
}

// whole completes a plan.
func (c *completion) whole(p Plan) Plan {
	c.seen = map[string]bool{}
	if err := holdfast.ValidateName("saga's name", p.Name); err != nil {
		c.wrong("", "%v", err)
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
	p.Steps = c.each(p.Steps)
	if c.steps > MaxSteps {
		c.wrong("", "it has %d steps and groups, the limit is %d: make a saga of some of them, and that a step",
			c.steps, MaxSteps)
	}
	return p
}

func (c *completion) wrong(step, format string, args ...any) {
	where := "saga " + c.plan
	if step != "" {
		where += ", step " + step
	}
	// An error in args says itself that it is invalid.
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), holdfast.ErrInvalid.Error()+": ", "")
	c.errs = append(c.errs, fmt.Errorf("%w: %s: %s", holdfast.ErrInvalid, where, text))
}

func (c *completion) each(in []Step) []Step {
	out := make([]Step, len(in))
	for i, s := range in {
		out[i] = c.step(s)
	}
	return out
}

func (c *completion) step(s Step) Step {
	c.steps++
	if s.Name == "" {
		s.Name = fmt.Sprintf("number %d", c.steps) // for what else is wrong with it
		c.wrong(s.Name, "its name is empty")
	} else if err := holdfast.ValidateName("step's name", s.Name); err != nil {
		c.wrong(s.Name, "%v", err)
	}
	if c.seen[s.Name] {
		c.wrong(s.Name, "two steps have this name: give each its own, since the step rows are kept by it")
	}
	c.seen[s.Name] = true
	if s.Timeout < 0 || s.Retry.Attempts < 0 || s.Retry.First < 0 || s.Retry.Max < 0 {
		c.wrong(s.Name, "a timeout or retry is negative")
	}
	if s.Patience != 0 && s.Kind != Message {
		c.wrong(s.Name, "Patience is for a message step, whose participant may have to wait: leave it out")
	}
	if s.Group() {
		return c.group(s)
	}
	if len(s.Steps) > 0 {
		c.wrong(s.Name, "a %s step cannot hold other steps", s.Kind)
	}
	c.kind(s)
	after := c.pivot != "" || c.forward != ""
	s = c.direction(s)
	if s.Kind == Saga && s.Saga != nil {
		s.Saga = c.sub(s)
		if name := s.Saga.staysDone(); name != "" && s.Undo && !after && !s.Pivot {
			c.wrong(s.Name, "step %s of saga %s has no Undo, and a later failure would have to undo it: "+
				"give it one, or say NoUndo of either, or make this step the pivot or put it after", name, s.Saga.Name)
		}
	}
	return s
}

// staysDone returns the first step that cannot be undone, and does not say that it
// needs nothing.
func (p *Plan) staysDone() (name string) {
	p.Each(func(s *Step, _ int) {
		if name == "" && !s.Group() && !s.Undo && !s.NoUndo {
			name = s.Name
		}
	})
	return name
}

// kind checks what the kinds need.
func (c *completion) kind(s Step) {
	switch s.Kind {
	case Local:
	case Wait:
		if s.Undo {
			c.wrong(s.Name, "a wait does nothing that could be undone")
		}
		if s.Retry != (Retry{}) {
			c.wrong(s.Name, "a wait is not tried again, since its timeout is for good: give it a longer one, or say Park")
		}
	case Message:
		if s.Topic == "" {
			c.wrong(s.Name, "its topic is empty")
		} else if err := (holdfast.Message{Topic: s.Topic}).Validate(); err != nil {
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
			c.wrong(s.Name, "it has no saga: give it one")
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
		if after && s.Kind == Wait {
			s.OnFailure = Park
		}
	}
	switch s.OnFailure {
	case Backward:
		if after {
			c.wrong(s.Name, "it goes backward on failure, but comes after the pivot %s, after which there is no way back: "+
				"make it Forward or Park, or move the pivot behind it", c.pivot)
		} else if c.forward != "" {
			c.wrong(s.Name, "it goes backward on failure, but comes after the Forward step %s, which cannot: "+
				"put it before, or make it Forward or Park", c.forward)
		}
	case Forward:
		if c.forward == "" {
			c.forward = s.Name
		}
		if s.Kind == Wait {
			c.wrong(s.Name, "a wait cannot be Forward, since its timeout is for good: say Park")
		}
	case Park:
	default:
		c.wrong(s.Name, "on failure %q: want backward, forward or park", s.OnFailure)
	}
	if s.Kind == Wait && !s.Undo {
		s.NoUndo = true
	}
	if s.UndoUncertain && (s.Kind != Local || !s.Undo) {
		c.wrong(s.Name, "UndoUncertain is for a local step that has an Undo: "+
			"of a message step, its participant says so; leave it out")
	}
	if s.Undo && s.NoUndo {
		c.wrong(s.Name, "it has an Undo and says NoUndo: leave one of them out")
	}
	if !s.Undo && !s.NoUndo && !after && c.forward == "" {
		c.wrong(s.Name, "it has no Undo, and a later failure, or its own, would have to undo it: "+
			"give it one, or say NoUndo, or put it after the pivot")
	}
	if s.Pivot {
		switch {
		case c.pivot != "":
			c.wrong(s.Name, "it is a second pivot after %s: there is one point of no return", c.pivot)
		case c.parallel > 0:
			c.wrong(s.Name, "a pivot cannot be inside a parallel group or a choice: put it before or after")
		case s.OnFailure == Forward:
			c.wrong(s.Name, "it is the pivot and Forward: say Forward of the steps after it, "+
				"and AsPivot of the last one that may fail and go backward")
		case c.forward != "":
			c.wrong(s.Name, "a Forward step, %s, comes before the pivot: "+
				"put it after, since the pivot may still fail and go backward", c.forward)
		}
		if c.parallel == 0 {
			c.pivot = s.Name
		}
	}
	return s
}

func (c *completion) group(s Step) Step {
	if len(s.Steps) == 0 {
		c.wrong(s.Name, "the %s is empty", s.Kind)
	}
	if s.Pivot {
		c.wrong(s.Name, "a %s cannot be the pivot: mark a step", s.Kind)
	}
	if s.Kind == Choice {
		c.choice(&s)
	} else if s.Undo || s.NoUndo || s.OnFailure != "" || s.Timeout != 0 || s.Retry != (Retry{}) {
		c.wrong(s.Name, "a %s has no failure, timeout, retry or Undo of its own: say it of its steps", s.Kind)
	}
	if s.Kind != Sequence {
		c.parallel++
		defer func() { c.parallel-- }()
	}
	if s.Kind == Sequence {
		s.Steps = c.each(s.Steps)
		return s
	}
	// What goes forward in one branch does not come before the other branches.
	before, first := c.forward, c.forward
	forward := make([]string, len(s.Steps)) // of each branch
	s.Steps = slices.Clone(s.Steps)
	for i := range s.Steps {
		c.forward = before
		s.Steps[i] = c.step(s.Steps[i])
		forward[i] = c.forward
		first = cmp.Or(first, c.forward)
	}
	c.forward = first
	if s.Kind == Parallel && before == "" {
		for i, name := range forward {
			c.beside(name, s.Steps[:i], s.Steps[i+1:])
		}
	}
	return s
}

// beside finds what goes backward beside a Forward step, if there is one.
func (c *completion) beside(forward string, others ...[]Step) {
	if forward == "" {
		return
	}
	for _, steps := range others {
		each(steps, 0, func(s *Step, _ int) {
			switch {
			case s.OnFailure != Backward:
			case s.Kind == Choice:
				s.OnFailure = Park
			default:
				c.wrong(s.Name, "it goes backward on failure, but runs beside the Forward step %s, which cannot: "+
					"put it before the group, or make it Forward or Park", forward)
			}
		})
	}
}

// choice sees to a choice's own failure, which is that of its Pick, and finds what
// can never be chosen.
func (c *completion) choice(s *Step) {
	back := c.pivot == "" && c.forward == ""
	switch {
	case s.OnFailure == "" && back:
		s.OnFailure = Backward
	case s.OnFailure == "":
		s.OnFailure = Park
	case s.OnFailure != Park && !(s.OnFailure == Backward && back):
		c.wrong(s.Name, "a choice that cannot be made would end the same when it is made again: say Park, or nothing")
	}
	if s.Undo {
		c.wrong(s.Name, "a choice does nothing that could be undone: say it of its steps")
	}
	s.NoUndo = true
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

// sub completes the plan of a sub-saga. One that contains itself would never end:
// what comes after it is unreachable.
func (c *completion) sub(s Step) *Plan {
	within := append(slices.Clone(c.within), c.plan)
	if slices.Contains(within, s.Saga.Name) {
		c.wrong(s.Name, "saga %s contains itself: what comes after it is unreachable", s.Saga.Name)
		return s.Saga
	}
	inner := &completion{plan: s.Saga.Name, within: within}
	p := inner.whole(*s.Saga)
	c.errs = append(c.errs, inner.errs...)
	return &p
}
