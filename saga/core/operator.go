package core

import (
	"fmt"
	"time"
)

// Check says why an operator's event is not possible now, and what is; nil: it
// is.
func (m *Machine) Check(e Event) error {
	standing := m.Standing()
	if m.Ended() && !(e.Kind == Undo && m.state.Phase == Completed) {
		return fmt.Errorf("the saga is %s: nothing is left to do", standing)
	}
	switch e.Kind {
	case Pause:
		if m.state.Paused {
			return fmt.Errorf("the saga is paused already: resume it to go on")
		}
	case Continue:
		if !m.state.Paused {
			return fmt.Errorf("the saga is %s and not paused: nothing to resume", standing)
		}
	case RetryNow:
		return m.checkRetry(e.Step)
	case Skip:
		return m.checkSkip(e.Step)
	case Undo:
		if m.state.Phase == Backwards {
			return fmt.Errorf("the saga is %s already: retry or skip what cannot be undone", standing)
		}
	default:
		return fmt.Errorf("unknown event %q", e.Kind)
	}
	return nil
}

func (m *Machine) checkRetry(step string) error {
	if step != "" {
		if m.plan.Find(step) == nil {
			return fmt.Errorf("there is no step %s in saga %s version %d", step, m.plan.Name, m.plan.Version)
		}
		if at := m.Step(step); !m.retryable(at.Status) {
			return fmt.Errorf("step %s is %s: only what failed can be retried", step, orPending(at.Status))
		}
		return nil
	}
	found := false
	m.leaves(func(_ *Step, at StepState) { found = found || m.retryable(at.Status) })
	if !found {
		return fmt.Errorf("the saga is %s and no step has failed: nothing to retry", m.Standing())
	}
	return nil
}

func (m *Machine) retryable(s Status) bool {
	if m.state.Phase == Backwards {
		return s == Reundoing || s == UndoFailed
	}
	return s == Retrying || s == Failed || s == Refused
}

func (m *Machine) checkSkip(name string) error {
	s := m.plan.Find(name)
	if s == nil {
		return fmt.Errorf("there is no step %q in saga %s version %d: name the step to skip", name, m.plan.Name, m.plan.Version)
	}
	status := m.Step(name).Status
	switch {
	case s.Group():
		return fmt.Errorf("%s is a %s: skip its steps one by one", name, s.Kind)
	case m.state.Phase == Backwards && (status == UndoFailed || status == Reundoing):
	case m.state.Phase == Backwards && status == Undoing && s.Kind != Local:
	case m.state.Phase == Forwards && (status == Failed || status == Refused || status == Retrying):
	case m.state.Phase == Forwards && status == Running && s.Kind != Local:
	case m.state.Phase == Forwards && status == Pending:
	default:
		return fmt.Errorf("step %s is %s while the saga is %s: skip is for what waits or failed", name, orPending(status), m.Standing())
	}
	return nil
}

func orPending(s Status) string {
	if s == Pending {
		return "pending"
	}
	return string(s)
}

// operate does what an operator asks for and Check allows.
func (m *Machine) operate(e Event) []Effect {
	switch e.Kind {
	case Pause:
		m.state.Paused = true
		return nil
	case Continue:
		m.state.Paused = false
		return append(m.awake(e.At), m.advance(e.At)...)
	case RetryNow:
		return m.retry(e)
	case Skip:
		return m.skip(e)
	}
	// Undo. A pause is over: whoever compensates wants it now.
	m.state.Paused = false
	m.turnBack(Cause{Reason: e.Reason, Operator: e.Operator})
	return append(m.stopRest(), m.advance(e.At)...)
}

// awake begins the tries whose pause ended while the saga was paused.
func (m *Machine) awake(now time.Time) []Effect {
	var out []Effect
	m.leaves(func(s *Step, at StepState) {
		if at.Next.IsZero() || at.Next.After(now) {
			return
		}
		switch at.Status {
		case Retrying:
			out = append(out, m.try(s, m.at(s.Name)))
		case Reundoing:
			out = append(out, m.tryUndo(s, m.at(s.Name)))
		}
	})
	return out
}

// retry tries again now, with all attempts anew. It ends a pause of the saga.
func (m *Machine) retry(e Event) []Effect {
	m.state.Paused = false
	var out []Effect
	m.leaves(func(s *Step, at StepState) {
		if e.Step != "" && e.Step != s.Name || !m.retryable(at.Status) {
			return
		}
		x := m.at(s.Name)
		x.Spent = 0
		switch at.Status {
		case Retrying, Reundoing:
			out = append(out, Effect{Kind: EffectWake, Step: s})
		case Failed, Refused:
			x.Again = x.Again || at.Status == Refused
			out = append(out, m.try(s, x))
		case UndoFailed:
			x.Status = Failed // its turn comes
		}
	})
	return append(out, m.advance(e.At)...)
}

func (m *Machine) skip(e Event) []Effect {
	s, at := m.plan.Find(e.Step), m.at(e.Step)
	note := "skipped by " + e.Operator + ": " + e.Reason
	back := m.state.Phase == Backwards
	switch at.Status {
	case Running, Undoing:
		at.SkipWanted = true
		return []Effect{{Kind: EffectStop, Step: s}}
	case Retrying, Reundoing:
		at.Status = skipped(back)
		at.Error = note
		return append([]Effect{{Kind: EffectWake, Step: s}}, m.advance(e.At)...)
	}
	at.Status, at.Error = skipped(back), note
	return m.advance(e.At)
}

func skipped(back bool) Status {
	if back {
		return Undone
	}
	return Skipped
}
