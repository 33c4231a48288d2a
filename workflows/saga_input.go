package workflows

import (
	"encoding/json"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
)

// SagaName is the name of the workflow type Saga.
const SagaName = "Saga"

// The Updates of the workflow Saga, beside UpdateCompensate; each is a signal,
// too. All take a [SagaRequest].
const (
	UpdatePause  = "pause"
	UpdateResume = "resume"
	UpdateRetry  = "retry"
	UpdateSkip   = "skip"
	UpdateAnswer = "answer"
)

// SignalReply is the signal that brings a participant's reply, a [SagaReply].
const SignalReply = "reply"

// SagaID returns the ID of a saga, which is that of its workflow.
func SagaID(group, name, key string) string { return "saga/" + group + "/" + name + "/" + key }

// SagaUndoID returns the ID of the workflow that undoes a saga which has ended.
func SagaUndoID(id string) string { return id + "/undo" }

// SagaInput is the input of the workflow Saga.
type SagaInput struct {
	// ID is the saga's ID, the owner of its step rows. It is the workflow's ID, but
	// where Undo is set.
	ID     string `json:"id"`
	Group  string `json:"group"`
	Prefix string `json:"prefix,omitempty"` // empty means "holdfast"
	Name   string `json:"name"`
	Key    string `json:"key,omitempty"`
	// Plan is the definition that it ends by. Nil: the highest version that the
	// worker which runs the first step has (0) or the one that Version names.
	Plan    *core.Plan `json:"plan,omitempty"`
	Version int        `json:"version,omitempty"`
	// Data is the first state.
	Data json.RawMessage `json:"data,omitempty"`
	// Again says that the last workflow of this ID did not come to an end of its own,
	// and may have done steps that nobody knows of.
	Again bool `json:"again,omitempty"`
	// Undo says that a saga which has ended is to be undone.
	Undo *SagaUndoOf `json:"undo,omitempty"`
	// Resumed is what the run before knew, or what is known of the saga to undo.
	Resumed *SagaStatus `json:"resumed,omitempty"`
	// Renewed says that Resumed is what the run before knew.
	Renewed bool `json:"renewed,omitempty"`
}

// SagaUndoOf says which saga is to be undone, who wants it and why.
type SagaUndoOf struct {
	RunID    string `json:"run_id"`
	Operator string `json:"operator"`
	Reason   string `json:"reason"`
	// Terminated says that it did not come to an end of its own: whatever is not
	// known to have been done may have been.
	Terminated bool `json:"terminated,omitempty"`
}

// SagaReply is the signal "reply".
type SagaReply struct {
	Step string `json:"step"`
	// Undo says that it answers the Undo.
	Undo bool `json:"undo,omitempty"`
	// Outcome is core.OutcomeDone, OutcomeRefused, OutcomeFailed or OutcomeBlocked.
	Outcome core.OutcomeKind    `json:"outcome"`
	Class   holdfast.ErrorClass `json:"class,omitempty"`
	Reason  string              `json:"reason,omitempty"`
	Result  json.RawMessage     `json:"result,omitempty"`
}

// SagaRequest is what an operator asks for. Operator and Reason are required.
type SagaRequest struct {
	Operator string `json:"operator"`
	Reason   string `json:"reason"`
	// Step is the step to skip, to answer, or to retry (empty: all that failed).
	Step string `json:"step,omitempty"`
	// Refuse and Value are the answer to a wait.
	Refuse bool            `json:"refuse,omitempty"`
	Value  json.RawMessage `json:"value,omitempty"`
}

// SagaStatus is the answer to the query "status", and the workflow's result.
type SagaStatus struct {
	ID      string `json:"id"`
	Group   string `json:"group"`
	Name    string `json:"name"`
	Version int    `json:"version"`
	Key     string `json:"key,omitempty"`
	// State is one of the words of core (core.StateRunning …).
	State string `json:"state"`
	// Step is the step that State is about, Reason what is to be said of it.
	Step   string `json:"step,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Plan and Core are the definition and all that is known.
	Plan core.Plan  `json:"plan"`
	Core core.State `json:"core"`
	// Answers are answers that came before their wait began.
	Answers map[string]SagaRequest `json:"answers,omitempty"`
	// Since says when the tries that wait for something were begun.
	Since map[string]time.Time `json:"since,omitempty"`
	// Story is what happened beside the usual, the oldest first: retries, operators,
	// parking; of a long one, the last 50.
	Story []SagaEvent `json:"story,omitempty"`
	// Actions are the Updates that would be accepted now.
	Actions []string `json:"actions,omitempty"`
	// Late counts replies that nobody waited for any more.
	Late int `json:"late,omitempty"`
}

// SagaEvent is a line of a saga's story.
type SagaEvent struct {
	At time.Time `json:"at"`
	// What happened: failed, undo-failed (a try; of several in a row, the last),
	// refused, no-worker, found (a worker again), parked, compensation-failed; pause,
	// resume, retry, skip, compensate, answer (an operator); not-undone (what has no
	// Undo), rejected (a signal, an answer or a cancel that was not possible).
	What string `json:"what"`
	Step string `json:"step,omitempty"`
	// Operator is who asked for it; "Temporal" for a request to cancel; empty where
	// it came by itself.
	Operator string `json:"operator,omitempty"`
	// Text is the operator's reason, or the error.
	Text string `json:"text,omitempty"`
}
