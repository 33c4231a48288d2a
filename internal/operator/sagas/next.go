package sagas

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/saga/core"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// whatNext says what comes next in a saga, in sentences.
func whatNext(s sagaflow.Status, now time.Time) []string {
	var next []string
	say := func(format string, args ...any) { next = append(next, fmt.Sprintf(format, args...)) }
	s.Plan.Each(func(step *core.Step, _ int) {
		if at := s.Core.Steps[step.Name]; at != nil && at.Status == core.UnknownOutside {
			say("What %s did outside its database is not known: if it acts there, look, and undo it by hand.", step.Name)
		}
	})
	if s.Core.Phase == core.Completed || s.Core.Phase == core.Compensated {
		return next
	}
	if s.Core.Paused {
		say("It is paused: no further step begins until it is resumed.")
	}
	s.Plan.Each(func(step *core.Step, _ int) {
		if at := s.Core.Steps[step.Name]; at != nil && !branches(step) {
			if line := nextOf(s, step, *at, now); line != "" {
				say("%s", line)
			}
		}
	})
	if then := comesThen(s); len(then) > 0 {
		say("Then: %s.", text.Join(then))
	}
	return next
}

// branches reports whether a step has no status of its own.
func branches(step *core.Step) bool { return step.Kind == core.Sequence || step.Kind == core.Parallel }

// nextOf says what one step waits for; empty: nothing.
func nextOf(s sagaflow.Status, step *core.Step, at core.StepState, now time.Time) string {
	switch {
	case at.NoWorker && strings.Contains(s.Reason, "has the saga's database"):
		return fmt.Sprintf("%s waits for a process that can run it: %s.", step.Name, s.Reason)
	case at.NoWorker:
		return fmt.Sprintf("%s waits for a process of group %s that has version %d of %s: start one.", step.Name, s.Group,
			s.Version, s.Name)
	case at.Status == core.Running && at.SkipWanted:
		return step.Name + " is being skipped."
	case at.Status == core.Running:
		return step.Name + " " + underWay(step, at, now)
	case at.Status == core.Retrying:
		return fmt.Sprintf("%s is tried again %s (try %d%s).", step.Name, nextTry(at, now), at.Tries+1, ofTries(step))
	case at.Status == core.Undoing:
		return fmt.Sprintf("%s is being undone (try %d).", step.Name, at.UndoTries)
	case at.Status == core.Reundoing:
		return fmt.Sprintf("The Undo of %s is tried again %s (try %d).", step.Name, nextTry(at, now), at.UndoTries+1)
	case at.Status == core.UndoFailed:
		return step.Name + " could not be undone: it waits for an operator, who tries again or skips it."
	case s.Core.Phase == core.Forwards && (at.Status == core.Failed || at.Status == core.Refused):
		return fmt.Sprintf("%s %s: it waits for an operator, who tries again, skips it or compensates the saga.",
			step.Name, at.Status)
	}
	return ""
}

// nextTry says when a step is tried again, whose time may have come while the saga is paused.
func nextTry(at core.StepState, now time.Time) string {
	if at.Next.IsZero() {
		return "when the saga is resumed"
	}
	return "at " + text.Clock(at.Next, now)
}

// underWay says what a step that is being done waits for.
func underWay(step *core.Step, at core.StepState, now time.Time) string {
	until := ""
	if limit := step.TryTimeout(); limit > 0 && at.Tries == 1 && !at.Began.IsZero() {
		until = ", until " + text.Clock(at.Began.Add(limit), now)
	}
	switch step.Kind {
	case core.Message:
		return "waits for the reply of " + step.Topic + until + "."
	case core.Wait:
		return "waits for an answer" + until + "."
	case core.Saga:
		return "waits for the end of its saga."
	}
	return fmt.Sprintf("is under way (try %d%s).", at.Tries, ofTries(step))
}

// ofTries says how many tries there are, where that is limited.
func ofTries(step *core.Step) string {
	if step.OnFailure == core.Forward {
		return ""
	}
	n := step.Retry.Attempts
	if n == 0 {
		n = core.DefaultAttempts
	}
	return fmt.Sprintf(" of %d", n)
}

// comesThen names the steps that follow: those to be done, or those to be undone.
func comesThen(s sagaflow.Status) []string {
	if s.Core.Phase == core.Backwards {
		undo, _ := core.Resume(&s.Plan, s.Core).Undoable()
		for i, name := range undo {
			undo[i] = "undo " + name
		}
		return undo
	}
	var names []string
	var look func(steps []core.Step)
	look = func(steps []core.Step) {
		for i := range steps {
			step := &steps[i]
			at := s.Core.Steps[step.Name]
			switch {
			case branches(step):
				look(step.Steps)
			case at == nil || at.Status == core.Pending:
				names = append(names, step.Name)
			case step.Kind == core.Choice && at.Chosen != nil:
				if c := chosenCase(step, *at.Chosen); c != nil {
					look(c.Steps)
				}
			}
		}
	}
	look(s.Plan.Steps)
	return names
}

// chosenCase is the case that a choice took; nil: none.
func chosenCase(step *core.Step, label string) *core.Step {
	i := slices.IndexFunc(step.Steps, func(c core.Step) bool { return c.Case == label })
	if i < 0 {
		i = slices.IndexFunc(step.Steps, func(c core.Step) bool { return c.Case == "" })
	}
	if i < 0 {
		return nil
	}
	return &step.Steps[i]
}

// waits names the steps that wait for an answer.
func waits(s sagaflow.Status) (names []string) {
	s.Plan.Each(func(step *core.Step, _ int) {
		if at := s.Core.Steps[step.Name]; step.Kind == core.Wait && at != nil && at.Status == core.Running {
			names = append(names, step.Name)
		}
	})
	return names
}

// causeText says why a saga goes back, or went.
func causeText(c *core.Cause) string {
	var why string
	switch {
	case c == nil:
		return ""
	case c.Operator != "":
		why = "asked for by " + c.Operator
	case c.Refused:
		why = "step " + c.Step + " was refused"
	default:
		why = "step " + c.Step + " failed"
		if c.Class != "" {
			why += " (" + string(c.Class) + ")"
		}
	}
	return strings.TrimSuffix(why+": "+c.Reason, ": ")
}
