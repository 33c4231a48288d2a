package core

import "slices"

// Unsure says that a step which is under way may have been done before by a run
// that nobody recorded, and then also what comes after it. If the saga goes back
// before that is begun, it is undone with the rest. It is to be said before the end
// of a try that came to no answer, and of one that ends while the saga goes back.
func (m *Machine) Unsure(step string) {
	if at := m.state.Steps[step]; at != nil {
		at.Unsure = true
	}
}

// DoneBefore says that any step may have been done, whatever is known: by a saga with the
// same ID that was begun before, and did not come to an end of its own, or in a transaction
// whose end is not known. If this one goes back, it undoes them all.
func (m *Machine) DoneBefore() { m.state.Again = true }

func (m *Machine) anyUnsure() bool {
	any := m.state.Again
	m.leaves(func(_ *Step, at StepState) { any = any || at.Unsure })
	return any
}

// assumeUnsure puts on the stack what may have been done after the steps that are
// unsure.
func (m *Machine) assumeUnsure() {
	if m.state.Again {
		m.assumePending(m.plan.Steps)
	}
	m.leaves(func(s *Step, at StepState) {
		if at.Unsure {
			m.at(s.Name).Unsure = false
			m.assumeAfter(m.plan.Steps, s.Name)
		}
	})
}

// assumeAfter walks what comes after the named step, from the innermost sequence
// that it is in to the outermost. It reports whether the step is among steps, and
// whether the walk is over: at what was begun, which speaks for itself, or at what
// cannot be passed without being recorded.
func (m *Machine) assumeAfter(steps []Step, name string) (found, over bool) {
	for i := range steps {
		s := &steps[i]
		if s.Name == name {
			return true, m.assumeCases(s) || m.assume(steps[i+1:])
		}
		switch s.Kind {
		case Parallel, Choice:
			for j := range s.Steps {
				if found, over = m.assumeAfter(s.Steps[j:j+1], name); found {
					break
				}
			}
		default:
			found, over = m.assumeAfter(s.Steps, name)
		}
		if found {
			return true, over || m.assume(steps[i+1:])
		}
	}
	return false, false
}

// assume puts steps on the stack, as far as they may have been done. It reports
// whether the walk is over.
func (m *Machine) assume(steps []Step) (over bool) {
	for i := range steps {
		if m.assumeStep(&steps[i]) {
			return true
		}
	}
	return false
}

func (m *Machine) assumeStep(s *Step) (over bool) {
	begun := m.Step(s.Name).Tries > 0
	each(s.Steps, 0, func(s *Step, _ int) { begun = begun || m.Step(s.Name).Tries > 0 })
	switch {
	case begun:
		return true
	case s.Kind == Sequence:
		return m.assume(s.Steps)
	case s.Kind == Parallel:
		for i := range s.Steps {
			over = m.assumeStep(&s.Steps[i]) || over
		}
		return over
	case s.Kind == Choice:
		return m.assumeCases(s)
	case (s.Kind == Local || s.Kind == Message) && !slices.Contains(m.state.Stack, s.Name):
		m.state.Stack = append(m.state.Stack, s.Name)
		m.at(s.Name).Status = Stopped
		if m.state.Phase == Forwards {
			m.at(s.Name).Status = Skipped // with the choice that it is in
		}
	}
	return (s.Kind == Activity || s.Kind == Saga) && !s.Conditional && m.Step(s.Name).Status != Skipped
}

// Witnesses names, for a step that is undone although the saga knows of no try of it,
// the local steps before it that may have been done by the same lost run, the last
// first: their rows know more of the state that the step was given than the saga does.
func (m *Machine) Witnesses(step string) (names []string) {
	if m.Step(step).Tries > 0 {
		return nil
	}
	over := false
	m.leaves(func(s *Step, at StepState) {
		switch {
		case s.Name == step:
			over = true
		case over || s.Kind == Choice:
		case at.Status == Done:
			names = nil // what is known of it is in the state
		case s.Kind == Local && s.Undo && at.Status != Pending && at.Status != Skipped:
			names = append(names, s.Name)
		}
	})
	slices.Reverse(names)
	return names
}

// assumeCases assumes the cases that a choice may have taken. over: stop here, because no
// possible case, "no case taken" included, can continue past the choice.
func (m *Machine) assumeCases(s *Step) (over bool) {
	if s.Kind != Choice {
		return false
	}
	cases := m.within(s)
	over = slices.ContainsFunc(cases, func(c Step) bool { return c.Case == "" }) ||
		len(cases) == 1 && m.Step(s.Name).Status == Done
	for _, c := range cases {
		if !m.assume(c.Steps) {
			over = false
		}
	}
	return over
}
