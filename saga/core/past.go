package core

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/holdfastmq/holdfast"
)

// Change is a merge patch from a state of the saga to the one before it; empty: they
// are equal.
type Change struct {
	Patch json.RawMessage `json:"patch,omitempty"`
}

// MaxKept limits what a saga keeps for its Undos, in bytes of JSON: by how much
// earlier states differ from later ones, and the ends of its sub-sagas.
const MaxKept = 1 << 20

// Given is the state that a step's Do is given: the one that the saga had when the
// step was first begun, however often it is tried.
func (m *Machine) Given(step string) json.RawMessage { return m.version(m.Step(step).Given) }

// UndoData is the state that a step's Undo is given: what its Do was given, with
// what the Do changed in it. What later steps changed is not there. Where that is
// not known, it is the state as it is now: of local steps that are done, whose step
// row has it, and of what an earlier version of Holdfast began.
func (m *Machine) UndoData(step string) json.RawMessage {
	at := m.Step(step)
	if at.After > 0 {
		return m.version(at.After)
	}
	return m.version(at.Given)
}

// version returns a past state, numbered from 1; 0 is the present one.
func (m *Machine) version(v int) json.RawMessage {
	data := m.state.Data
	if v <= 0 {
		return data
	}
	for i := len(m.state.Past) - 1; i >= v-1; i-- {
		older, err := Merge(data, m.state.Past[i].Patch)
		if err != nil { // it was made by Diff
			panic(fmt.Sprintf("saga/core: past state %d: %v", i+1, err))
		}
		data = older
	}
	return data
}

// remember keeps the present state, and returns its number.
func (m *Machine) remember() int {
	if n := len(m.state.Past); n == 0 || len(m.state.Past[n-1].Patch) > 0 {
		m.state.Past = append(m.state.Past, Change{})
	}
	return len(m.state.Past)
}

// setData changes the present state. Past states stay what they were.
func (m *Machine) setData(data json.RawMessage) error {
	if n := len(m.state.Past); n > 0 {
		patch, err := Diff(data, m.version(n))
		if err != nil {
			return err
		}
		m.state.Past[n-1].Patch = patch
	}
	m.state.Data = data
	return nil
}

// take takes what a step's Do changed into the state, and keeps what its Undo needs.
// After an error nothing is changed.
func (m *Machine) take(s *Step, at *StepState, patch json.RawMessage) error {
	before, given, after := m.state, at.Given, at.After
	m.state.Past = slices.Clone(before.Past)
	err := m.tryTake(s, at, patch)
	if err == nil && m.kept() > MaxKept {
		err = fmt.Errorf("%w: what the saga keeps for its Undos, earlier states and the ends of sub-sagas, "+
			"has %d bytes of JSON, the limit is %d: store large data elsewhere and keep a reference",
			holdfast.ErrTooLarge, m.kept(), MaxKept)
	}
	if err != nil {
		m.state, at.Given, at.After = before, given, after
	}
	return err
}

func (m *Machine) tryTake(s *Step, at *StepState, patch json.RawMessage) error {
	data, err := Merge(m.state.Data, patch)
	if err != nil {
		return fmt.Errorf("its result: %w", err)
	}
	if err := CheckData(data); err != nil {
		return err
	}
	// A local step's row has what its Undo needs, and a sub-saga has its own.
	keeps := s.Undo && (s.Kind == Message || s.Kind == Activity) && at.Given > 0
	undo := data
	if n := len(m.state.Past); keeps && (at.Given != n || len(m.state.Past[n-1].Patch) > 0) {
		// Another branch has changed the state since the step was begun.
		if undo, err = Merge(m.version(at.Given), patch); err != nil {
			return fmt.Errorf("its result: %w", err)
		}
	}
	m.forget(at)
	if !keeps {
		return m.setData(data)
	}
	if err := m.setData(undo); err != nil {
		return err
	}
	at.After = m.remember()
	return m.setData(data)
}

// forget lets go of what was kept for a step.
func (m *Machine) forget(at *StepState) {
	at.Given, at.After = 0, 0
	for n := len(m.state.Past); n > 0 && !m.refers(n); n-- {
		if n > 1 && len(m.state.Past[n-1].Patch) > 0 {
			patch, err := Diff(m.state.Data, m.version(n-1))
			if err != nil { // it was made by Diff
				panic(fmt.Sprintf("saga/core: past state %d: %v", n-1, err))
			}
			m.state.Past[n-2].Patch = patch
		}
		m.state.Past = m.state.Past[:n-1]
	}
	if len(m.state.Past) == 0 {
		m.state.Past = nil
	}
}

// refers reports whether a step needs the past state v.
func (m *Machine) refers(v int) bool {
	//workflowcheck:ignore the order does not matter
	for _, at := range m.state.Steps {
		if at.Given == v || at.After == v {
			return true
		}
	}
	return false
}

// kept is how much the saga keeps for its Undos, in bytes.
func (m *Machine) kept() (size int) { return m.state.Kept() }

// Kept is how much is kept for the Undos, in bytes: at most [MaxKept].
func (s *State) Kept() (size int) {
	for _, c := range s.Past {
		size += len(c.Patch)
	}
	//workflowcheck:ignore the order does not matter
	for _, at := range s.Steps {
		size += len(at.Sub)
	}
	return size
}
