package sagas

import (
	"encoding/json"
	"fmt"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stepend"
	"github.com/holdfastmq/holdfast/saga/core"
)

// Name is the name of the workflow type Saga.
const Name = "Saga"

// The Updates of the workflow Saga, beside UpdateCompensate; each is a signal,
// too. All take a [Request].
const (
	UpdatePause  = "pause"
	UpdateResume = "resume"
	UpdateRetry  = "retry"
	UpdateSkip   = "skip"
	UpdateAnswer = "answer"
)

// SignalReply is the signal that brings a participant's reply, a [Reply].
const SignalReply = "reply"

// Input is the input of the workflow Saga.
type Input struct {
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
	// Database is the identity of the database that the local steps run in. Empty: that
	// of the process which runs the first of them.
	Database string `json:"database,omitempty"`
	// Tokens says that a participant's reply counts only with the token of the call.
	// Without it one that has none counts, too: a saga that was begun by an earlier
	// version, or while participants of one run.
	Tokens bool `json:"tokens,omitempty"`
	// StepNames says that the saga's activities are named after its steps. Without it
	// they have the names of earlier versions, which processes of these know: see
	// [CanNameSteps]. Where Plan is nil, the process that finds it decides.
	StepNames bool `json:"step_names,omitempty"`
	// Begun says that a process may have begun the saga in the Express lane: nothing is heard
	// before its plan is found.
	Begun bool `json:"begun,omitempty"`
	// Calls is what the tokens of its calls are made of, where the saga asked participants
	// before it had a workflow; see [CallToken].
	Calls string `json:"calls,omitempty"`
	// Content is the digest of what the saga was started with ([ContentOf] of Data),
	// which goes with it where Data does not.
	Content string `json:"content,omitempty"`
	// Began is when it was started, by the clock of who did that; zero: by an earlier version,
	// or as a step. It is for measurements: nothing is decided by it.
	Began time.Time `json:"began,omitzero"`
	// Trace is where the saga's trace goes on; zero where nobody traces it.
	Trace holdfast.Trace `json:"trace,omitzero"`
	// Again says that the last workflow of this ID did not come to an end of its own,
	// and may have done steps that nobody knows of.
	Again bool `json:"again,omitempty"`
	// Asked is done before the saga's first step, of one that nobody drove when it was asked for.
	// What was done of it before, its rows tell. One that has completed before stays so. What turns
	// out to be impossible pauses it: a step that was to be prevented is not done.
	Asked *Asked `json:"asked,omitempty"`
	// Undo says that a saga which has ended is to be undone.
	Undo *UndoOf `json:"undo,omitempty"`
	// Resumed is what the run before knew, or what is known of the saga to undo.
	Resumed *Status `json:"resumed,omitempty"`
	// Renewed says that Resumed is what the run before knew.
	Renewed bool `json:"renewed,omitempty"`
	// HearsLater says that nothing is heard before the begin row is taken, and the plan found by what
	// may have begun. Workflows that an earlier version has started hear what comes with their first
	// task before, and turn back nothing.
	HearsLater bool `json:"hears_later,omitempty"`
	// Ended says that it had completed before, without a workflow, and that whoever ran it
	// took note of that. It is for measurements: nothing is decided by it.
	Ended bool `json:"ended,omitempty"`
}

// UndoOf says which saga is to be undone, who wants it and why.
type UndoOf struct {
	RunID    string `json:"run_id"`
	Operator string `json:"operator"`
	Reason   string `json:"reason"`
	// Terminated says that it did not come to an end of its own: whatever is not
	// known to have been done may have been.
	Terminated bool `json:"terminated,omitempty"`
}

// Reply is the signal "reply".
type Reply = stepend.Reply

// Request is what an operator asks for. Operator and Reason are required.
type Request struct {
	Operator string `json:"operator"`
	Reason   string `json:"reason"`
	// Step is the step to skip, to answer, or to retry (empty: all that failed).
	Step string `json:"step,omitempty"`
	// Refuse and Value are the answer to a wait.
	Refuse bool            `json:"refuse,omitempty"`
	Value  json.RawMessage `json:"value,omitempty"`
}

// Asked is what an operator asks of a saga that has no workflow yet.
type Asked struct {
	// Action is the name of an Update: UpdatePause …
	Action string `json:"action"`
	Request
}

// Status is the answer to the query "status", and the workflow's result.
type Status struct {
	ID      string `json:"id"`
	Group   string `json:"group"`
	Name    string `json:"name"`
	Version int    `json:"version"`
	Key     string `json:"key,omitempty"`
	// Database is the identity of the database that the local steps run in, where it is
	// known.
	Database string `json:"database,omitempty"`
	// State is one of the words of core (core.StateRunning …).
	State string `json:"state"`
	// Content is a digest of what it was started with; empty where an earlier version
	// started it.
	Content string `json:"content,omitempty"`
	// Began and Trace are those of its Input.
	Began time.Time      `json:"began,omitzero"`
	Trace holdfast.Trace `json:"trace,omitzero"`
	// Step is the step that State is about, Reason what is to be said of it.
	Step   string `json:"step,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Plan and Core are the definition and all that is known.
	Plan core.Plan  `json:"plan"`
	Core core.State `json:"core"`
	// Answers are answers that came before their wait began.
	Answers map[string]Request `json:"answers,omitempty"`
	// Since says when the tries that wait for something were begun.
	Since map[string]time.Time `json:"since,omitempty"`
	// Waits says which steps' participants wait themselves, and for what.
	Waits map[string]Waits `json:"waits,omitempty"`
	// Story is what happened beside the usual, the oldest first: retries, operators,
	// parking; of a long one, the last 50.
	Story []Event `json:"story,omitempty"`
	// Actions are the Updates that would be accepted now.
	Actions []string `json:"actions,omitempty"`
	// Late counts replies that nobody waited for any more.
	Late int `json:"late,omitempty"`
	// Untrusted counts replies that did not count: they had no token of a call of this
	// saga's, or answered another topic's.
	Untrusted int `json:"untrusted,omitempty"`
}

// Waits says why a step's call is not worked on, though that is not its fault.
type Waits struct {
	// Who waits: a participant, or RabbitMQ, which does not take the call.
	Who string `json:"who"`
	// Since is since when, by the clock of who says so; zero: not known.
	Since time.Time `json:"since,omitzero"`
	// Reason is what for.
	Reason string `json:"reason"`
}

// String says it in a line.
func (w Waits) String() string {
	since := ""
	if !w.Since.IsZero() {
		since = " since " + w.Since.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("waits at %s%s: %s", w.Who, since, w.Reason)
}

// Event is a line of a saga's story.
type Event struct {
	At time.Time `json:"at"`
	// What happened: failed, undo-failed (a try; of several in a row, the last),
	// unknown-outside (an Undo that found no row), refused, no-worker, found (a worker again), parked,
	// compensation-failed, handed-over (by the Express lane); pause,
	// waits (a participant, for its own surroundings), resume, retry, skip, compensate, answer (an
	// operator); not-undone (what has no
	// Undo), rejected (a signal, an answer or a cancel that was not possible).
	What string `json:"what"`
	Step string `json:"step,omitempty"`
	// Operator is who asked for it; "Temporal" for a request to cancel; empty where
	// it came by itself.
	Operator string `json:"operator,omitempty"`
	// Text is the operator's reason, or the error.
	Text string `json:"text,omitempty"`
}

// CompletedInput is in for the workflow of a saga that has completed without one, with all that
// is known of it, a core.State in JSON: it ends at once, as that did.
func CompletedInput(in Input, last json.RawMessage) (Input, error) {
	known := Status{Database: in.Database}
	if err := json.Unmarshal(last, &known.Core); err != nil {
		return in, holdfast.Permanent(fmt.Errorf("%w: the begin row of saga %s: %w", holdfast.ErrMalformed, in.ID, err))
	}
	in.Data, in.Again, in.Resumed, in.Renewed, in.Begun, in.Ended = nil, false, &known, true, true, true
	return in, nil
}

// UndoInput completes the input of the workflow that undoes a saga which has ended. in
// says which saga it is, and has the state that it was started with, where that is
// known; known is what its last run knew.
func UndoInput(in Input, known Status, of UndoOf) Input {
	if known.Database != "" {
		in.Database = known.Database
	}
	in.Version, in.Content, in.Undo, in.Trace = known.Version, known.Content, &of, known.Trace
	if len(known.Plan.Steps) > 0 {
		plan := known.Plan
		in.Plan, known.Plan = &plan, core.Plan{} // once: Temporal takes 2 MiB
	}
	if len(known.Core.Data) > 0 {
		in.Data = nil
	}
	known.Answers, known.Since, known.Actions = nil, nil, nil // they ended with it
	in.Resumed = &known
	return in
}
