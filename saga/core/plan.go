package core

import (
	"encoding/json"
	"time"

	"github.com/holdfastmq/holdfast"
)

// Kind is what a step is.
type Kind string

// The kinds. The last three hold other steps.
const (
	Local    Kind = "local"    // Do and Undo in the database of the saga's group
	Message  Kind = "message"  // a message to a participant, and its reply
	Activity Kind = "activity" // any Temporal activity
	Wait     Kind = "wait"     // an answer from outside, such as an approval
	Saga     Kind = "saga"     // another saga
	Sequence Kind = "sequence" // one after the other
	Parallel Kind = "parallel" // all at once
	Choice   Kind = "choice"   // one of several cases
)

// OnFailure is what becomes of the saga when a step has failed for good.
type OnFailure string

// The ways on. The empty one is Backward up to the pivot, and Forward after it.
const (
	Backward OnFailure = "backward" // compensate
	Forward  OnFailure = "forward"  // keep trying
	Park     OnFailure = "park"     // wait for an operator
)

// Retry says how often and when a failed try is repeated. Refusals and permanent
// errors are not. Zero fields mean the defaults.
type Retry struct {
	// Attempts limits the tries; default 5. Forward steps know no limit.
	Attempts int `json:"attempts,omitempty"`
	// First is the pause after the first try; default 1 s. Each pause is twice the
	// one before.
	First time.Duration `json:"first,omitempty"`
	// Max limits the pauses; default 1 m.
	Max time.Duration `json:"max,omitempty"`
}

// Plan is a saga's definition without its functions: all that is needed to drive
// it. It is written into the history of each saga, which ends by the plan it began
// with.
type Plan struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
	Steps   []Step `json:"steps"`
	// Express says that processes run such sagas in the Express lane: a workflow becomes the
	// one that drives the saga before it does anything.
	Express bool `json:"express,omitempty"`
	// Cohort says that such sagas of the Traced lane may share a workflow, in this process or in
	// another: as with Express, one of its own becomes the one that drives the saga before it does
	// anything.
	Cohort bool `json:"cohort,omitempty"`
	// OneByOne says that where a process drives the saga each local step has a transaction of
	// its own, the first ones, too.
	OneByOne bool `json:"one_by_one,omitempty"`
}

// BeginRow reports whether a saga of this plan has a begin row, which names who drives it: a
// process may, and a workflow of its own has to take it over.
func (p *Plan) BeginRow() bool { return p.Express || p.Cohort }

// Quick reports whether each of the steps that come first may end at once where it is begun: it
// is a local step, a message or a choice.
func (p *Plan) Quick() bool {
	for _, e := range New(p, []byte("{}")).Begin(time.Time{}) {
		switch e.Step.Kind {
		case Local, Choice, Message:
		default:
			return false
		}
	}
	return true
}

// HasLocal reports whether one of the steps is a local step: every process that has the saga has a
// database then. Those of sub-sagas do not count.
func (p *Plan) HasLocal() (has bool) {
	p.Each(func(s *Step, _ int) { has = has || s.Kind == Local })
	return has
}

// Step is one step of a plan, or a group of steps.
type Step struct {
	// Name is unique in the plan.
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// OnFailure is never empty in a plan that [Plan.Complete] has returned.
	OnFailure OnFailure `json:"on_failure,omitempty"`
	// Pivot marks the step after which there is no way back.
	Pivot bool `json:"pivot,omitempty"`
	// Undo says that there is something to undo it with; NoUndo that it needs
	// nothing.
	Undo   bool `json:"undo,omitempty"`
	NoUndo bool `json:"no_undo,omitempty"`
	// UndoUncertain says that the Undo of a local step is run also where its Do has no
	// row: it may have had an effect outside the database.
	UndoUncertain bool `json:"undo_uncertain,omitempty"`
	// Conditional says that a function of the state decides whether it runs;
	// Receives that a function takes its result into the state.
	Conditional bool `json:"conditional,omitempty"`
	Receives    bool `json:"receives,omitempty"`
	// Timeout bounds one try of a local step or an activity; for a message the
	// time until its reply, for a wait that until its answer, for a sub-saga its
	// life. 0 means the default of the kind.
	Timeout time.Duration `json:"timeout,omitempty"`
	Retry   Retry         `json:"retry,omitzero"`
	// Patience is how long, from the step's beginning, a message whose participant
	// waits for its own surroundings is waited for beyond Timeout. 0 means
	// DefaultPatience; negative: not at all.
	Patience time.Duration `json:"patience,omitempty"`
	// Topic and UndoTopic are a message's. An empty UndoTopic: no Undo.
	Topic     string `json:"topic,omitempty"`
	UndoTopic string `json:"undo_topic,omitempty"`
	// Type and UndoType are an activity's types, TaskQueue where it runs; empty:
	// the group's own.
	Type      string `json:"type,omitempty"`
	UndoType  string `json:"undo_type,omitempty"`
	TaskQueue string `json:"task_queue,omitempty"`
	// Saga is the plan of a sub-saga.
	Saga *Plan `json:"saga,omitempty"`
	// Case is the label of a sequence in a choice; empty is the one for all that
	// no other case takes.
	Case string `json:"case,omitempty"`
	// Steps are those of a sequence, the branches of a parallel group, the cases
	// (sequences) of a choice.
	Steps []Step `json:"steps,omitempty"`
}

// Defaults of what a plan leaves open.
const (
	DefaultAttempts       = 5
	DefaultFirst          = time.Second
	DefaultMax            = time.Minute
	DefaultLocalTimeout   = time.Minute
	DefaultMessageTimeout = 5 * time.Minute
	DefaultWaitTimeout    = 24 * time.Hour
	DefaultSagaTimeout    = 0 // none
	DefaultPatience       = 24 * time.Hour
	// UndoAttempts is how often an Undo is tried before it is parked, at least.
	UndoAttempts = 10
)

// Limits.
const (
	// MaxData limits a saga's state, in bytes of JSON.
	MaxData = holdfast.MaxSagaState
	// MaxSteps limits the steps of a plan, those in groups and the groups included.
	MaxSteps = 256
)

// Group reports whether the step holds other steps.
func (s *Step) Group() bool { return s.Kind == Sequence || s.Kind == Parallel || s.Kind == Choice }

// HasPatience reports whether a message's participant that waits is waited for still, so
// long after the step began.
func (s *Step) HasPatience(waited time.Duration) bool {
	if s.Patience == 0 {
		return waited < DefaultPatience
	}
	return waited < s.Patience
}

// TryTimeout is the step's timeout, or the default of its kind.
func (s *Step) TryTimeout() time.Duration {
	if s.Timeout > 0 {
		return s.Timeout
	}
	switch s.Kind {
	case Message:
		return DefaultMessageTimeout
	case Wait:
		return DefaultWaitTimeout
	case Saga:
		return DefaultSagaTimeout
	}
	return DefaultLocalTimeout
}

// attempts limits the tries. A wait has one, since its timeout is for good.
func (s *Step) attempts() int {
	switch {
	case s.Kind == Wait:
		return 1
	case s.Retry.Attempts > 0:
		return s.Retry.Attempts
	}
	return DefaultAttempts
}

// pause is how long to wait after the given number of failed tries.
func (r Retry) pause(tries int) time.Duration {
	d, limit := r.First, r.Max
	if d <= 0 {
		d = DefaultFirst
	}
	if limit <= 0 {
		limit = max(DefaultMax, d)
	}
	for i := 1; i < tries; i++ {
		if d > limit/2 {
			return limit
		}
		d *= 2
	}
	return min(d, limit)
}

// Find returns the step of that name, or nil.
func (p *Plan) Find(name string) *Step { return find(p.Steps, name) }

func find(steps []Step, name string) *Step {
	for i := range steps {
		if steps[i].Name == name {
			return &steps[i]
		}
		if s := find(steps[i].Steps, name); s != nil {
			return s
		}
	}
	return nil
}

// Each calls f for every step, groups before their steps, with the depth at which
// it stands.
func (p *Plan) Each(f func(s *Step, depth int)) { each(p.Steps, 0, f) }

func each(steps []Step, depth int, f func(*Step, int)) {
	for i := range steps {
		f(&steps[i], depth)
		each(steps[i].Steps, depth+1, f)
	}
}

// KeyMissingType is the type of the application error of an activity whose process does not
// have the key of its input, or cannot encrypt its result: no fault of the activity's, which
// another process may take.
const KeyMissingType = "HoldfastKeyMissing"

// ActivityInput is what an activity of a saga gets. Where its process has a keyring, Data is
// decrypted for it.
type ActivityInput struct {
	// Saga is the saga's ID, Step the step's name: together the key by which the
	// activity can tell that it has been run before.
	Saga string `json:"saga"`
	Step string `json:"step"`
	// Undo says that the step is to be undone.
	Undo bool `json:"undo,omitempty"`
	// Data is the saga's state, or what the step's Send makes of it.
	Data json.RawMessage `json:"data"`
	// Trace is where the saga's trace goes on; zero where nobody traces it.
	Trace holdfast.Trace `json:"trace,omitzero"`
}
