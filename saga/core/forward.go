package core

import (
	"slices"
	"time"

	"github.com/holdfastmq/holdfast"
)

// Begin returns what a new saga wants done first.
func (m *Machine) Begin(now time.Time) []Effect { return m.advance(now) }

// Restart returns what a resumed saga wants done first: what was under way is
// tried again, which the step rows make safe, and stopped again; pauses go on.
func (m *Machine) Restart(now time.Time) []Effect {
	var out []Effect
	m.leaves(func(s *Step, at StepState) {
		x := m.state.Steps[s.Name]
		switch at.Status {
		case Running:
			x.Tries++
			if x.Given == 0 { // begun by a version that did not keep it
				x.Given = m.remember()
			}
			out = append(out, Effect{Kind: EffectDo, Step: s, Try: x.Tries, Again: x.Again})
		case Undoing:
			x.UndoTries++
			out = append(out, Effect{Kind: EffectUndo, Step: s, Try: x.UndoTries})
		case Retrying, Reundoing:
			if !due(at) || !m.state.Paused {
				out = append(out, Effect{Kind: EffectSleep, Step: s, For: max(0, at.Next.Sub(now))})
			}
		}
		if at.SkipWanted || at.Status == Running && m.state.Phase == Backwards {
			out = append(out, Effect{Kind: EffectStop, Step: s})
		}
	})
	return append(out, m.advance(now)...)
}

// Apply takes an event and returns what is to be done now. An operator's event
// that is not possible is an error, and changes nothing.
func (m *Machine) Apply(e Event) ([]Effect, error) {
	switch e.Kind {
	case DoEnded:
		return m.doEnded(e), nil
	case UndoEnded:
		return m.undoEnded(e), nil
	case Slept:
		return m.slept(e), nil
	case Stranded:
		if at := m.state.Steps[e.Step]; at != nil && (at.Status == Running || at.Status == Undoing) {
			at.NoWorker = !e.Found
		}
		return nil, nil
	}
	if err := m.Check(e); err != nil {
		return nil, err
	}
	return m.operate(e), nil
}

// advance begins whatever can begin, and sees whether the saga has ended.
func (m *Machine) advance(now time.Time) []Effect {
	switch m.state.Phase {
	case Forwards:
		if len(m.plan.Steps) == 0 { // its plan is not known yet
			return nil
		}
		if m.over(m.plan.Steps) {
			m.state.Phase = Completed
			return nil
		}
		if m.state.Paused {
			return nil
		}
		return m.ready(m.plan.Steps, now)
	case Backwards:
		return m.back(now)
	}
	return nil
}

// over reports whether all these steps have ended well.
func (m *Machine) over(steps []Step) bool {
	for i := range steps {
		if !m.stepOver(&steps[i]) {
			return false
		}
	}
	return true
}

func (m *Machine) stepOver(s *Step) bool {
	switch s.Kind {
	case Sequence, Parallel:
		return m.over(s.Steps)
	case Choice:
		at := m.Step(s.Name)
		if at.Status != Done {
			return at.Status == Skipped
		}
		c := chosen(s, at)
		return c == nil || m.over(c.Steps)
	}
	status := m.Step(s.Name).Status
	return status == Done || status == Skipped
}

// chosen is the case that a choice took; nil: none.
func chosen(s *Step, at StepState) *Step {
	if at.Chosen == nil {
		return nil
	}
	var otherwise *Step
	for i := range s.Steps {
		switch s.Steps[i].Case {
		case *at.Chosen:
			return &s.Steps[i]
		case "":
			otherwise = &s.Steps[i]
		}
	}
	return otherwise
}

// ready begins the steps whose turn it is in a sequence.
func (m *Machine) ready(steps []Step, now time.Time) []Effect {
	for i := range steps {
		if !m.stepOver(&steps[i]) {
			return m.readyStep(&steps[i], now)
		}
	}
	return nil
}

func (m *Machine) readyStep(s *Step, now time.Time) []Effect {
	switch s.Kind {
	case Sequence:
		return m.ready(s.Steps, now)
	case Parallel:
		var out []Effect
		for i := range s.Steps {
			out = append(out, m.readyStep(&s.Steps[i], now)...)
		}
		return out
	case Choice:
		if at := m.Step(s.Name); at.Status == Done {
			if c := chosen(s, at); c != nil {
				return m.ready(c.Steps, now)
			}
			return nil
		}
	}
	if m.Step(s.Name).Status != Pending {
		return nil
	}
	at := m.at(s.Name)
	at.Began = now
	m.state.Stack = append(m.state.Stack, s.Name) // before it runs: its Undo is there from now on
	return []Effect{m.try(s, at)}
}

// Withdraw takes back that a step was begun whose try is the first, and was not made: it
// is as if its turn had not come.
func (m *Machine) Withdraw(step string) {
	if at := m.state.Steps[step]; at != nil && at.Status == Running && at.Tries == 1 {
		delete(m.state.Steps, step)
		m.unstack(step)
	}
}

func (m *Machine) try(s *Step, at *StepState) Effect {
	at.Status, at.Next = Running, time.Time{}
	at.Tries++
	at.Spent++
	if at.Given == 0 {
		at.Given = m.remember()
	}
	return Effect{Kind: EffectDo, Step: s, Try: at.Tries, Again: at.Again}
}

// Last reports whether the saga is completed if this step, which is under way,
// ends well.
func (m *Machine) Last(step string) bool {
	at := m.state.Steps[step]
	if at == nil || m.state.Phase != Forwards {
		return false
	}
	s := m.plan.Find(step)
	if s == nil || s.Kind == Choice {
		return false
	}
	was := at.Status
	at.Status = Done
	over := m.over(m.plan.Steps)
	at.Status = was
	return over
}

func (m *Machine) doEnded(e Event) []Effect {
	s, at := m.known(e.Step, Running)
	if s == nil {
		return nil
	}
	at.NoWorker, at.Ended = false, e.At
	o, note, wanted := e.Outcome, at.Error, at.SkipWanted
	if len(o.Sub) > 0 {
		at.Sub = o.Sub
	}
	if o.Kind == OutcomeDone {
		if err := m.take(s, at, o.Patch); err != nil {
			o = Outcome{Kind: OutcomeFailed, Class: holdfast.ClassPermanent, Error: err.Error()}
		}
	}
	if o.Nothing {
		at.Idle++
	}
	at.Class, at.Error, at.SkipWanted = o.Class, o.Error, false
	forwards := m.state.Phase == Forwards
	if o.Kind == OutcomeRefused && !at.Again {
		at.Unsure = false // it was not done, nor was anything after it
	}
	switch {
	case o.Kind == OutcomeDone:
		at.Status = Done
		if s.Kind == Choice {
			at.Chosen = &o.Case
		}
	case o.Kind == OutcomeSkipped:
		at.Status = Skipped
		if at.Tries == 1 { // else a try before may have done it, if nobody knows how that ended
			m.unstack(s.Name)
		}
	case wanted:
		at.Status, at.Error = Skipped, note
	case !forwards:
		at.Status = ended(o)
	case o.Kind == OutcomeRefused:
		at.Status = Refused
		m.giveUp(s, Cause{Step: s.Name, Reason: o.Error, Refused: true})
	case again(o, at, s.OnFailure == Forward, s.attempts()):
		return m.sleep(s, at, Retrying, o, e.At)
	case o.Kind == OutcomeBlocked: // somebody has undone it: there is no way on
		at.Status = Failed
		m.turnBack(Cause{Step: s.Name, Reason: o.Error, Class: o.Class})
	default:
		at.Status = Failed
		m.giveUp(s, Cause{Step: s.Name, Reason: o.Error, Class: o.Class})
	}
	if !s.Undo && at.Status != Failed && at.Status != Refused {
		m.forget(at) // else an operator may have it tried again
	}
	var out []Effect
	switch {
	case !forwards:
		m.assumeUnsure()
	case m.state.Phase == Backwards:
		out = m.stopRest()
	}
	return append(out, m.advance(e.At)...)
}

// ended is how a step ended that nobody waits for any more.
func ended(o Outcome) Status {
	switch o.Kind {
	case OutcomeRefused:
		return Refused
	case OutcomeStopped:
		return Stopped
	}
	return Failed
}

// giveUp is what a failure for good leads to. A step that cannot go back waits for
// an operator: repeating it would end the same.
func (m *Machine) giveUp(s *Step, c Cause) {
	if s.OnFailure == Backward {
		m.turnBack(c)
	}
}

func (m *Machine) turnBack(c Cause) {
	m.state.Phase, m.state.Cause = Backwards, &c
	m.assumeUnsure()
}

// stopRest stops what is under way, since the saga goes back.
func (m *Machine) stopRest() []Effect {
	var out []Effect
	m.leaves(func(s *Step, at StepState) {
		switch at.Status {
		case Running:
			out = append(out, Effect{Kind: EffectStop, Step: s})
		case Retrying:
			out = append(out, m.wake(s)...)
			m.at(s.Name).Status = Failed
		}
	})
	return out
}

// again reports whether what failed is tried again: an excused failure always is,
// and does not count.
func again(o Outcome, at *StepState, forEver bool, attempts int) bool {
	if o.Kind != OutcomeFailed || o.permanent() {
		return false
	}
	if o.Excused {
		at.Spent = max(0, at.Spent-1)
		return true
	}
	return forEver || at.Spent < attempts
}

// sleep pauses before the next try, the longer the more tries were spent. Excused
// ones make the pauses longer, too, since what is away may stay so.
func (m *Machine) sleep(s *Step, at *StepState, status Status, o Outcome, now time.Time) []Effect {
	tries := at.Spent
	switch {
	case o.Excused && status == Reundoing:
		tries = at.UndoTries
	case o.Excused:
		tries = at.Tries
	}
	pause := s.Retry.pause(max(1, tries))
	at.Status, at.Next = status, now.Add(pause)
	return []Effect{{Kind: EffectSleep, Step: s, For: pause}}
}

// slept begins the next try, unless the saga is paused: then it begins on resume.
func (m *Machine) slept(e Event) []Effect {
	s, at := m.plan.Find(e.Step), m.state.Steps[e.Step]
	if s == nil || at == nil || at.Status != Retrying && at.Status != Reundoing {
		return nil
	}
	if m.state.Paused {
		at.Next = time.Time{}
		return nil
	}
	return []Effect{m.next(s, at)}
}

// next begins the try that the step has paused for.
func (m *Machine) next(s *Step, at *StepState) Effect {
	if at.Status == Reundoing {
		return m.tryUndo(s, at)
	}
	return m.try(s, at)
}

// wake ends a step's pause, if that is not over.
func (m *Machine) wake(s *Step) []Effect {
	at := m.at(s.Name)
	if at.Next.IsZero() {
		return nil
	}
	at.Next = time.Time{}
	return []Effect{{Kind: EffectWake, Step: s}}
}

// Decide says that the condition of a step which is under way holds. It is not to be
// asked again: the step may have been done because of it.
func (m *Machine) Decide(step string) {
	if at := m.state.Steps[step]; at != nil {
		at.Decided = true
	}
}

func (m *Machine) unstack(name string) {
	m.state.Stack = slices.DeleteFunc(m.state.Stack, func(n string) bool { return n == name })
}
