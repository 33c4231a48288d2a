package core

import (
	"fmt"
	"slices"
	"time"

	"github.com/holdfastmq/holdfast"
)

// back undoes what was begun, the last first, one at a time, once nothing is
// being done any more. An Undo that failed for good does not keep the others from
// running.
func (m *Machine) back(now time.Time) []Effect {
	busy, failed := false, false
	m.leaves(func(_ *Step, at StepState) {
		switch at.Status {
		case Running, Undoing, Reundoing:
			busy = true
		case UndoFailed:
			failed = true
		}
	})
	if busy || m.state.Paused {
		return nil
	}
	for _, name := range slices.Backward(m.state.Stack) {
		s, at := m.plan.Find(name), m.at(name)
		if !undoable(s, at.Status) {
			continue
		}
		at.Spent = 0
		return []Effect{m.tryUndo(s, at)}
	}
	if !failed {
		m.state.Phase = Compensated
	}
	return nil
}

// undoable reports whether the step has something that may have to be undone.
func undoable(s *Step, status Status) bool {
	if s == nil || !s.Undo {
		return false
	}
	switch status {
	case Done, Failed, Stopped, Skipped: // skipped by an operator, who does not know either
		return true
	}
	return false
}

func (m *Machine) tryUndo(s *Step, at *StepState) Effect {
	at.Status, at.Next = Undoing, time.Time{}
	at.UndoTries++
	at.Spent++
	return Effect{Kind: EffectUndo, Step: s, Try: at.UndoTries}
}

func (m *Machine) undoEnded(e Event) []Effect {
	s, at := m.plan.Find(e.Step), m.at(e.Step)
	if s == nil || at.Status != Undoing {
		return nil
	}
	at.NoWorker, at.UndoEnded = false, e.At
	o := e.Outcome
	wanted := at.SkipWanted
	at.SkipWanted = false
	at.Class, at.Error = o.Class, o.Error
	switch {
	case o.Kind == OutcomeDone || o.Kind == OutcomeSkipped || wanted:
		at.Status = Undone
	case o.Kind == OutcomeFailed && !o.permanent() && at.Spent < max(UndoAttempts, s.Retry.attempts()):
		return m.sleep(s, at, Reundoing, at.Spent, e.At)
	default: // a refusal, too: an Undo must not refuse
		at.Status = UndoFailed
	}
	return m.advance(e.At)
}

// Undoable names the steps that would be undone if the saga went back now, in
// that order; without names those that took effect and have no Undo.
func (m *Machine) Undoable() (undo, without []string) {
	for _, name := range slices.Backward(m.state.Stack) {
		s, at := m.plan.Find(name), m.Step(name)
		switch {
		case undoable(s, at.Status), at.Status == Running && s.Undo, at.Status == Retrying && s.Undo:
			undo = append(undo, name)
		case at.Status == Done && !s.Undo && !s.NoUndo && s.Kind != Choice:
			without = append(without, name)
		}
	}
	return undo, without
}

// Assume makes a saga whose end is not known, such as one whose workflow was
// terminated, ready to go back: whatever was not begun, as far as is known, may
// have been, and is put on the stack too. The Undo of what was never done finds
// nothing.
func (m *Machine) Assume() {
	m.leaves(func(s *Step, at StepState) {
		if !slices.Contains(m.state.Stack, s.Name) {
			m.state.Stack = append(m.state.Stack, s.Name)
		}
		x := m.at(s.Name)
		switch at.Status {
		case Pending, Running, Retrying:
			x.Status = Stopped
		case Undoing, Reundoing:
			x.Status = Failed
		}
	})
	m.state.Paused = false
}

func tooLarge(n int) string {
	return fmt.Sprintf("%v: the saga's state has %d bytes of JSON, the limit is %d: store large data elsewhere and keep a reference", holdfast.ErrTooLarge, n, MaxData)
}

// CheckData returns why data cannot be a saga's state.
func CheckData(data []byte) error {
	if len(data) > MaxData {
		return fmt.Errorf("%w: the saga's state has %d bytes of JSON, the limit is %d: store large data elsewhere and keep a reference", holdfast.ErrTooLarge, len(data), MaxData)
	}
	return nil
}
