package core

import (
	"encoding/json"
	"time"

	"github.com/holdfastmq/holdfast"
)

// Status is where a step stands. The zero value: it was not begun.
type Status string

// The statuses.
const (
	Pending    Status = ""
	Running    Status = "running"     // its Do is under way
	Retrying   Status = "retrying"    // its Do failed, and is tried again after a pause
	Done       Status = "done"        // its Do took effect
	Skipped    Status = "skipped"     // by its condition, its choice, or an operator
	Refused    Status = "refused"     // by the participant: nothing was done
	Failed     Status = "failed"      // for good, as far as the saga can tell
	Stopped    Status = "stopped"     // not waited for any longer, since the saga goes back
	Undoing    Status = "undoing"     // its Undo is under way
	Reundoing  Status = "undo-retry"  // its Undo failed, and is tried again after a pause
	Undone     Status = "undone"      // its Undo took effect
	UndoFailed Status = "undo-failed" // for good: it waits for an operator
	// UnknownOutside: its Undo found that the Do has no row, and keeps it from ever
	// having one, so that nothing was run. What the Do did outside its database, if
	// it was begun, nobody knows.
	UnknownOutside Status = "unknown-outside"
)

// String is the status in words.
func (s Status) String() string {
	switch s {
	case Pending:
		return "pending"
	case UnknownOutside:
		return "unknown outside the database"
	}
	return string(s)
}

// Phase is the saga's direction, or its end.
type Phase string

// The phases.
const (
	Forwards    Phase = "forwards"
	Backwards   Phase = "backwards"
	Completed   Phase = "completed"
	Compensated Phase = "compensated"
)

// StepState is what is known of one step.
type StepState struct {
	Status Status `json:"status,omitempty"`
	// Tries counts the tries of its Do, UndoTries those of its Undo; Spent are the
	// tries that count against the limit.
	Tries     int `json:"tries,omitempty"`
	UndoTries int `json:"undo_tries,omitempty"`
	Spent     int `json:"spent,omitempty"`
	// Idle counts the tries of its Do that provably did nothing. If it was none but
	// those, there is nothing to undo.
	Idle int `json:"idle,omitempty"`
	// Given numbers the past state that its Do was given, After the one that its Undo
	// is given; 0: not kept. See [Machine.UndoData].
	Given int `json:"given,omitempty"`
	After int `json:"after,omitempty"`
	// Began and Ended are when its Do was begun first and ended, UndoEnded when its
	// Undo ended, Next when it is tried again; zero beside a status that says that
	// it is: as soon as the saga is resumed.
	Began     time.Time `json:"began,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`
	UndoEnded time.Time `json:"undo_ended,omitzero"`
	Next      time.Time `json:"next,omitzero"`
	// Class and Error are of the last try that failed, or of the refusal.
	Class holdfast.ErrorClass `json:"class,omitempty"`
	Error string              `json:"error,omitempty"`
	// NoWorker says that no worker has this version of the saga.
	NoWorker bool `json:"no_worker,omitempty"`
	// SkipWanted says that an operator skips it as soon as it has stopped.
	SkipWanted bool `json:"skip_wanted,omitempty"`
	// Again says that an operator has it tried again after a refusal, which does not
	// count any more.
	Again bool `json:"again,omitempty"`
	// Decided says that its condition was asked, and holds.
	Decided bool `json:"decided,omitempty"`
	// Unsure says that it may have been done, and what comes after it: see
	// [Machine.Unsure].
	Unsure bool `json:"unsure,omitempty"`
	// Chosen is the case of a choice.
	Chosen *string `json:"chosen,omitempty"`
	// Sub is how a sub-saga ended: what its Undo needs.
	Sub json.RawMessage `json:"sub,omitempty"`
}

// Cause is why a saga goes back.
type Cause struct {
	// Step is the one that failed; empty where an operator asked for it.
	Step string `json:"step,omitempty"`
	// Reason is its error, its refusal, or the operator's reason.
	Reason  string              `json:"reason"`
	Class   holdfast.ErrorClass `json:"class,omitempty"`
	Refused bool                `json:"refused,omitempty"`
	// Operator is who asked for it.
	Operator string `json:"operator,omitempty"`
}

// State is all that is known of a saga: what it takes to carry on.
type State struct {
	Phase Phase `json:"phase"`
	// Data is the saga's state, in JSON.
	Data json.RawMessage `json:"data"`
	// Past are states as they were, the oldest first, each as a change of the next.
	Past  []Change              `json:"past,omitempty"`
	Steps map[string]*StepState `json:"steps"`
	// Stack are the steps that were begun, in that order.
	Stack  []string `json:"stack,omitempty"`
	Paused bool     `json:"paused,omitempty"`
	// Again: see [Machine.DoneBefore].
	Again bool   `json:"again,omitempty"`
	Cause *Cause `json:"cause,omitempty"`
}

// The words for where a saga stands as a whole.
const (
	StateRunning            = holdfast.SagaRunning
	StateWaiting            = holdfast.SagaWaiting
	StatePaused             = holdfast.SagaPaused
	StateNoWorker           = holdfast.SagaNoWorker
	StateParked             = holdfast.SagaParked
	StateCompensating       = holdfast.SagaCompensating
	StateCompensationFailed = holdfast.SagaCompensationFailed
	StateCompleted          = holdfast.SagaCompleted
	StateCompensated        = holdfast.SagaCompensated
)

// Machine drives one saga. It belongs to one goroutine.
type Machine struct {
	plan  *Plan
	state State
}

// New begins a saga with its first state. The plan must have come from
// [Plan.Complete].
func New(plan *Plan, data json.RawMessage) *Machine {
	return Resume(plan, State{Phase: Forwards, Data: data, Steps: map[string]*StepState{}})
}

// Resume carries a saga on from what is known of it. Steps that are under way
// there are begun anew by [Machine.Restart].
func Resume(plan *Plan, s State) *Machine {
	if s.Steps == nil {
		s.Steps = map[string]*StepState{}
	}
	return &Machine{plan: plan, state: s}
}

// State returns what is known. The caller must not change it, nor keep it over
// the next event.
func (m *Machine) State() *State { return &m.state }

// Plan returns the plan.
func (m *Machine) Plan() *Plan { return m.plan }

// Ended reports whether nothing more will happen by itself or by an operator.
func (m *Machine) Ended() bool {
	return m.state.Phase == Completed || m.state.Phase == Compensated
}

// Step returns what is known of a step; a copy.
func (m *Machine) Step(name string) StepState {
	if s := m.state.Steps[name]; s != nil {
		return *s
	}
	return StepState{}
}

// at returns the entry of a step, made if need be.
func (m *Machine) at(name string) *StepState {
	s := m.state.Steps[name]
	if s == nil {
		s = &StepState{}
		m.state.Steps[name] = s
	}
	return s
}

// known returns the plan's step of that name and its entry, if that is its status.
func (m *Machine) known(name string, status Status) (*Step, *StepState) {
	at := m.state.Steps[name]
	if at == nil || at.Status != status {
		return nil, nil
	}
	return m.plan.Find(name), at
}

// leaves calls f for every step that has a status of its own, in the plan's
// order: all but sequences and parallel groups.
func (m *Machine) leaves(f func(s *Step, at StepState)) {
	m.plan.Each(func(s *Step, _ int) {
		if s.Kind != Sequence && s.Kind != Parallel {
			f(s, m.Step(s.Name))
		}
	})
}

// Standing is where the saga stands as a whole, in one of the State words.
func (m *Machine) Standing() string {
	switch m.state.Phase {
	case Completed:
		return StateCompleted
	case Compensated:
		return StateCompensated
	}
	var failed, undoFailed, stranded, waiting, active bool
	m.leaves(func(s *Step, at StepState) {
		switch at.Status {
		case Failed, Refused:
			failed = true
		case UndoFailed:
			undoFailed = true
		case Running, Retrying, Undoing, Reundoing:
			stranded = stranded || at.NoWorker
			waiting = waiting || at.Status == Running && s.Kind == Wait
			active = active || s.Kind != Wait
		}
	})
	back := m.state.Phase == Backwards
	switch {
	case stranded:
		return StateNoWorker
	case back && undoFailed && !active:
		return StateCompensationFailed
	case m.state.Paused:
		return StatePaused
	case back:
		return StateCompensating
	case failed:
		return StateParked
	case waiting && !active:
		return StateWaiting
	}
	return StateRunning
}

// Troubled returns the step that explains the standing: the one that is parked, could not
// be undone, or has no worker; otherwise the step that made the saga turn back.
func (m *Machine) Troubled() (name string, at StepState) {
	m.leaves(func(s *Step, x StepState) {
		if name != "" {
			return
		}
		if m.state.Phase == Forwards && (x.Status == Failed || x.Status == Refused) || x.Status == UndoFailed || x.NoWorker {
			name, at = s.Name, x
		}
	})
	if name == "" && m.state.Cause != nil {
		name, at = m.state.Cause.Step, m.Step(m.state.Cause.Step)
	}
	return name, at
}
