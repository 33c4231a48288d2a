package core

import (
	"encoding/json"
	"time"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stepend"
)

// EventKind is what happened.
type EventKind string

// The events. Those of operators carry who and why.
const (
	DoEnded   EventKind = "do-ended"   // a try of a step's Do
	UndoEnded EventKind = "undo-ended" // a try of a step's Undo
	Slept     EventKind = "slept"      // the pause before a step's next try is over
	Stranded  EventKind = "stranded"   // no worker can run the step; or one can again, with Found
	Pause     EventKind = "pause"
	Continue  EventKind = "resume"
	RetryNow  EventKind = "retry"
	Skip      EventKind = "skip"
	Undo      EventKind = "compensate"
)

// Event is something that happened to a saga.
type Event struct {
	Kind EventKind
	// At is when, by the clock of whoever drives the saga.
	At time.Time
	// Step is the step's name. RetryNow: empty means all.
	Step string
	// Outcome is that of DoEnded and UndoEnded.
	Outcome Outcome
	// Found: see Stranded.
	Found bool
	// Operator and Reason are an operator's.
	Operator, Reason string
}

// OutcomeKind is how a try of a Do or an Undo ended.
type OutcomeKind = stepend.Kind

// The outcomes.
const (
	OutcomeDone    OutcomeKind = "done"
	OutcomeSkipped OutcomeKind = "skipped" // its condition says so
	OutcomeRefused OutcomeKind = "refused" // a business refusal; nothing was done, so that nothing is undone
	OutcomeFailed  OutcomeKind = "failed"
	OutcomeBlocked OutcomeKind = "blocked" // it was undone before it was done; of an Undo: not done, and never will be
	OutcomeStopped OutcomeKind = "stopped" // because of EffectStop
	// Not an end, and never in an event: whoever drives the saga waits or looks
	// for another worker.
	OutcomePending  OutcomeKind = "pending"   // the reply has not come yet
	OutcomeNoWorker OutcomeKind = "no-worker" // this process does not have the saga's version
)

// Outcome is how a try ended.
type Outcome struct {
	Kind OutcomeKind `json:"kind"`
	// Patch is what it changes in the saga's state; of an Undo, too.
	Patch json.RawMessage `json:"patch,omitempty"`
	// Case is what a choice chose.
	Case string `json:"case,omitempty"`
	// Class and Error say how it failed, or why it was refused.
	Class holdfast.ErrorClass `json:"class,omitempty"`
	Error string              `json:"error,omitempty"`
	// Excused says that a failure is not the step's: its database cannot be reached,
	// say. The try does not count.
	Excused bool `json:"excused,omitempty"`
	// Nothing says of a Do that did not end well that this try provably did nothing:
	// its message could not be made, say.
	Nothing bool `json:"nothing,omitempty"`
	// Sub is how a sub-saga ended.
	Sub json.RawMessage `json:"sub,omitempty"`
}

// permanent reports whether another try would end the same.
func (o Outcome) permanent() bool {
	return o.Class == holdfast.ClassPermanent || o.Class == holdfast.ClassMalformed
}

// EffectKind is what is to be done.
type EffectKind string

// The effects. Each Do and Undo is answered by one DoEnded or UndoEnded, each
// Sleep by one Slept.
const (
	EffectDo    EffectKind = "do"    // try the step's Do
	EffectUndo  EffectKind = "undo"  // try the step's Undo
	EffectSleep EffectKind = "sleep" // wait For
	EffectWake  EffectKind = "wake"  // end the step's Sleep now
	EffectStop  EffectKind = "stop"  // end the step's Do now, if it only waits; otherwise let it end
)

// Effect is something that a saga wants done.
type Effect struct {
	Kind EffectKind
	Step *Step
	// Try numbers the tries of the Do, or of the Undo, from 1.
	Try int
	// Again says that a refusal that the step row may tell of does not count.
	Again bool
	For   time.Duration
}
