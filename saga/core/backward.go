package core

import (
	"encoding/json"
	"slices"
	"time"
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
		if !m.undoable(s, *at) {
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
func (m *Machine) undoable(s *Step, at StepState) bool {
	if s == nil || !s.Undo {
		return false
	}
	if at.Tries > 0 && at.Idle == at.Tries && !m.state.Again {
		return false // it provably did nothing
	}
	switch at.Status {
	case Done, Failed, Stopped, Skipped: // skipped by an operator, who does not know either
		return true
	case Refused:
		return at.Again // it may be the answer to an earlier try
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
	s, at := m.known(e.Step, Undoing)
	if s == nil {
		return nil
	}
	at.NoWorker, at.UndoEnded = false, e.At
	o, class, note, wanted := e.Outcome, at.Class, at.Error, at.SkipWanted
	at.SkipWanted = false
	at.Class, at.Error = o.Class, o.Error
	switch {
	case o.Kind == OutcomeDone:
		at.Status = Undone
		m.takeUndo(at, o.Patch)
	case o.Kind == OutcomeBlocked: // it has no row, and never will
		at.Status, at.Class, at.Error = UnknownOutside, class, note // why there is none
	case wanted:
		at.Status, at.Error = Undone, note
	case again(o, at, false, max(UndoAttempts, s.attempts())):
		return m.sleep(s, at, Reundoing, o, e.At)
	default: // a refusal, too: an Undo must not refuse
		at.Status = UndoFailed
	}
	if at.Status == Undone || at.Status == UnknownOutside {
		m.forget(at)
	}
	return m.advance(e.At)
}

// takeUndo takes what an Undo changed into the present state. It has happened: where
// the state gets too large, the step says that it is not there.
func (m *Machine) takeUndo(at *StepState, patch json.RawMessage) {
	data, err := Merge(m.state.Data, patch)
	if err == nil {
		err = CheckData(data)
	}
	if err == nil {
		err = m.setData(data)
	}
	if err != nil {
		at.Error = "undone, but what that changes in the state is dropped: " + err.Error()
	}
}

// Undoable names the steps that would be undone if the saga went back now, in
// that order; without names those that took effect and have no Undo.
func (m *Machine) Undoable() (undo, without []string) {
	for _, name := range slices.Backward(m.state.Stack) {
		s, at := m.plan.Find(name), m.Step(name)
		switch {
		case s == nil:
		case m.undoable(s, at), s.Undo && (at.Status == Running || at.Status == Retrying):
			undo = append(undo, name)
		case at.Status == Done && !s.Undo && !s.NoUndo:
			without = append(without, name)
		}
	}
	return undo, without
}

// Assume makes a saga whose end is not known, such as one whose workflow was
// terminated, ready to go back, by an Undo event or, where it goes back already,
// by [Machine.Restart]. If it went forwards, whatever was not begun, as far as is
// known, may have been, and is put on the stack too, but for the cases that a
// choice did not take. A refusal may have been asked again, and an Undo that failed
// is tried again. The Undo of what was never done finds nothing.
func (m *Machine) Assume() {
	if m.Ended() {
		return
	}
	m.leaves(func(s *Step, at StepState) {
		x := m.state.Steps[s.Name]
		switch at.Status {
		case Pending:
			return
		case Running, Retrying, Refused:
			x.Status = Stopped
		case Undoing, Reundoing, UndoFailed:
			x.Status = Failed
		}
		x.Idle = 0 // there may be more tries than those that are known
		x.Next, x.NoWorker, x.SkipWanted = time.Time{}, false, false
	})
	if m.state.Phase == Forwards {
		m.assumePending(m.plan.Steps)
	}
	m.state.Paused = false
}

// assumePending puts on the stack what was not begun, in the plan's order.
func (m *Machine) assumePending(steps []Step) {
	for i := range steps {
		s := &steps[i]
		if s.Kind != Sequence && s.Kind != Parallel && m.Step(s.Name).Status == Pending {
			m.at(s.Name).Status = Stopped
			m.state.Stack = append(m.state.Stack, s.Name)
		}
		m.assumePending(m.within(s))
	}
}

// within are the steps of a group that may have been begun: of the cases of a
// choice that was made the one that it took.
func (m *Machine) within(s *Step) []Step {
	at := m.Step(s.Name)
	if s.Kind != Choice || at.Status != Done && at.Status != Skipped {
		return s.Steps
	}
	c := chosen(s, at)
	return slices.DeleteFunc(slices.Clone(s.Steps), func(x Step) bool { return c == nil || x.Name != c.Name })
}
