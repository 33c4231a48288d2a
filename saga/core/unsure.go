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

func (m *Machine) anyUnsure() (any bool) {
	m.leaves(func(_ *Step, at StepState) { any = any || at.Unsure })
	return any
}

// assumeUnsure puts on the stack what may have been done after the steps that are
// unsure.
func (m *Machine) assumeUnsure() {
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

// assumeCases does so with the cases that a choice may have taken, each of which
// can end the walk.
func (m *Machine) assumeCases(s *Step) (over bool) {
	if s.Kind != Choice {
		return false
	}
	for _, c := range m.within(s) {
		over = m.assume(c.Steps) || over
	}
	return over
}

// assume puts steps on the stack, as far as they may have been done.
func (m *Machine) assume(steps []Step) (over bool) {
	status := Stopped
	if m.state.Phase == Forwards {
		status = Skipped // with the choice that they are in
	}
	for i := range steps {
		all := (&Plan{Steps: steps[i : i+1]}).flat()
		if slices.ContainsFunc(all, func(s *Step) bool { return m.Step(s.Name).Tries > 0 }) {
			return true
		}
		for _, s := range all {
			if (s.Kind == Local || s.Kind == Message) && !slices.Contains(m.state.Stack, s.Name) {
				m.at(s.Name).Status = status
				m.state.Stack = append(m.state.Stack, s.Name)
			}
			over = over || (s.Kind == Activity || s.Kind == Saga) && !s.Conditional
		}
		if over {
			return true
		}
	}
	return false
}

// flat are all steps of a plan, groups before their steps.
func (p *Plan) flat() (out []*Step) {
	p.Each(func(s *Step, _ int) { out = append(out, s) })
	return out
}
