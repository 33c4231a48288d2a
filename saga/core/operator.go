package core

import "fmt"

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
		return fmt.Errorf("there is no step %q in saga %s version %d: name the step to skip",
			name, m.plan.Name, m.plan.Version)
	}
	at := m.Step(name)
	status, waits := at.Status, at.NoWorker || s.Kind != Local && s.Kind != Choice
	switch {
	case s.Kind == Sequence || s.Kind == Parallel:
		return fmt.Errorf("%s is a %s: skip its steps one by one", name, s.Kind)
	case m.state.Phase == Backwards && (status == UndoFailed || status == Reundoing):
	case m.state.Phase == Backwards && status == Undoing && waits:
	case m.state.Phase == Forwards && (status == Failed || status == Refused || status == Retrying):
	case m.state.Phase == Forwards && status == Running && waits:
	case m.state.Phase == Forwards && status == Pending:
	default:
		return fmt.Errorf("step %s is %s while the saga is %s: skip is for what waits or failed",
			name, orPending(status), m.Standing())
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
		return append(m.awake(), m.advance(e.At)...)
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
func (m *Machine) awake() []Effect {
	var out []Effect
	m.leaves(func(s *Step, at StepState) {
		if due(at) {
			out = append(out, m.next(s, m.at(s.Name)))
		}
	})
	return out
}

// due reports whether the step's pause is over, and its next try not begun.
func due(at StepState) bool {
	return at.Next.IsZero() && (at.Status == Retrying || at.Status == Reundoing)
}

// retry tries again now, with all attempts anew. It ends a pause of the saga.
func (m *Machine) retry(e Event) []Effect {
	paused := m.state.Paused
	m.state.Paused = false
	var out []Effect
	m.leaves(func(s *Step, at StepState) {
		x, meant := m.state.Steps[s.Name], (e.Step == "" || e.Step == s.Name) && m.retryable(at.Status)
		if meant {
			x.Spent = 0
		}
		switch {
		case paused && due(at):
			out = append(out, m.next(s, x))
		case !meant:
		case at.Status == Retrying || at.Status == Reundoing:
			out = append(out, m.wake(s)...)
		case at.Status == UndoFailed:
			x.Status = Failed // its turn comes
		default:
			x.Again = x.Again || at.Status == Refused
			out = append(out, m.try(s, x))
		}
	})
	return append(out, m.advance(e.At)...)
}

func (m *Machine) skip(e Event) []Effect {
	s, at := m.plan.Find(e.Step), m.at(e.Step)
	note := "skipped by " + e.Operator + ": " + e.Reason
	back := m.state.Phase == Backwards
	if at.Status == Running || at.Status == Undoing {
		at.SkipWanted, at.Error = true, note
		return []Effect{{Kind: EffectStop, Step: s}}
	}
	if at.Status == Pending && m.anyUnsure() {
		m.state.Stack = append(m.state.Stack, s.Name) // it may have been done
		m.assumeCases(s)
	}
	out := m.wake(s)
	at.Status, at.Error = skipped(back), note
	return append(out, m.advance(e.At)...)
}

func skipped(back bool) Status {
	if back {
		return Undone
	}
	return Skipped
}
