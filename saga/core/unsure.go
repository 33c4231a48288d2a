package core

import "slices"

// Unsure says that a step which is under way, and whose try came to no answer, may
// have been done before by a run that nobody recorded, and then also what comes
// after it. If the saga goes back before that is begun, it is undone with the rest.
func (m *Machine) Unsure(step string) {
	if at := m.state.Steps[step]; at != nil {
		at.Unsure = true
	}
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
			return true, m.assume(s.Steps) || m.assume(steps[i+1:])
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

// assume puts steps on the stack, as far as they may have been done.
func (m *Machine) assume(steps []Step) (over bool) {
	for i := range steps {
		leaves := (&Plan{Steps: steps[i : i+1]}).leaves()
		if slices.ContainsFunc(leaves, func(s *Step) bool { return slices.Contains(m.state.Stack, s.Name) }) {
			return true
		}
		for _, s := range leaves {
			if s.Kind == Local || s.Kind == Message {
				m.at(s.Name).Status = Stopped
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

func (p *Plan) leaves() (out []*Step) {
	p.Each(func(s *Step, _ int) {
		if !s.Group() {
			out = append(out, s)
		}
	})
	return out
}
