package activities

import (
	"context"
	"encoding/json"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
)

// The names of the steps of the workflow Saga. Where a saga's activities are named
// after its steps ([SagaPlanned.StepNames]), the last four are in [SagaStep.Call].
const (
	SagaPlan    = "SagaPlan"
	SagaDo      = "SagaDo"
	SagaUndo    = "SagaUndo"
	SagaPrepare = "SagaPrepare"
	SagaReceive = "SagaReceive"
	// SagaOwn is of sagas that a process may drive, in the Express lane or in a cohort.
	SagaOwn = "SagaOwn"
)

// MaxInput limits what SagaPrepare makes, and the result of an activity that is a
// step, in bytes of JSON.
const MaxInput = 1 << 20

// SagaRef names a saga and its definition.
type SagaRef struct {
	// ID is the saga's ID: the owner of its step rows.
	ID string `json:"id"`
	// Workflow is the workflow to signal; another one than ID where a completed
	// saga is being undone.
	Workflow string `json:"workflow"`
	Group    string `json:"group"`
	Key      string `json:"key,omitempty"`
	Name     string `json:"name"`
	Version  int    `json:"version"`
	// Database is the identity of the database that its local steps run in; empty
	// before the first has run, if nobody said.
	Database string `json:"database,omitempty"`
	// Content is a digest of what it was started with; empty where an earlier version
	// started it.
	Content string `json:"content,omitempty"`
	// Trace is where its trace goes on; zero where nobody traces it.
	Trace holdfast.Trace `json:"trace,omitzero"`
}

// SagaPlanned is what SagaPlan answers.
type SagaPlanned struct {
	core.Plan
	// StepNames says that the process can take activities that are named after the
	// saga's steps, and that no process is known which cannot.
	StepNames bool `json:"step_names,omitempty"`
}

// SagaOwning is the input of SagaOwn: a workflow is to be the one that drives a saga, or, if
// Undo is set, one that has ended.
type SagaOwning struct {
	Saga SagaRef `json:"saga"`
	Undo bool    `json:"undo,omitempty"`
}

// SagaOwned is what SagaOwn answers.
type SagaOwned struct {
	// Begun says that a process has begun the saga in the Express lane: any step may have been
	// done.
	Begun bool `json:"begun,omitempty"`
	// Ended is its core.State, if it has completed there.
	Ended json.RawMessage `json:"ended,omitempty"`
	// Version is that of the plan by which it was begun, or has completed; 0: none was,
	// or who answers is older, and does not say it.
	Version int `json:"version,omitempty"`
	// Database is the identity of the database that has the begin row.
	Database string `json:"database,omitempty"`
	// Other, if not empty, says that the key is another saga's, started with other content.
	Other string `json:"other,omitempty"`
}

// SagaStep is the input of the steps SagaDo, SagaUndo, SagaPrepare and
// SagaReceive.
type SagaStep struct {
	// Call is the name of the step, such as [SagaDo], where the activity is named after
	// the saga's step: its own name does not tell then what to do.
	Call string  `json:"call,omitempty"`
	Saga SagaRef `json:"saga"`
	// Step is the step as the plan has it, without the steps in it.
	Step core.Step `json:"step"`
	Try  int       `json:"try"`
	// Again says that a remembered refusal does not count.
	Again bool `json:"again,omitempty"`
	// Data is the saga's state as it was when the step was first begun. Of an Undo it
	// has what the Do changed, too; of a local step's only where its row does not tell
	// more. Of SagaReceive it is the present state.
	Data json.RawMessage `json:"data"`
	// Present is the state as it is now, where Data is another one.
	Present json.RawMessage `json:"present,omitempty"`
	// Witnesses are local steps whose rows, the first that is there, know more than Data
	// of what a step was given that is undone although only a lost run knows of it.
	Witnesses []string `json:"witnesses,omitempty"`
	// Cause is why the step is undone.
	Cause string `json:"cause,omitempty"`
	// Wait is how long the reply to a message may be waited for; 0: it is not.
	Wait time.Duration `json:"wait,omitempty"`
	// Look has the participant asked how it is, where no reply comes: see
	// SagaResult.Waits.
	Look bool `json:"look,omitempty"`
	// Token is what the reply to a message has to repeat. Untokened says that one
	// without it counts, too.
	Token     string `json:"token,omitempty"`
	Untokened bool   `json:"untokened,omitempty"`
	// Last says that the saga is completed if this ends well: whoever waits for it
	// in this process can be told at once.
	Last bool `json:"last,omitempty"`
	// Holder is who drives the saga by its begin row, as that must say when a local step is
	// done. Begin, if not nil, is kept in that row together with the step. They are for a saga
	// that has no workflow.
	Holder string              `json:"-"`
	Begin  *holdfast.SagaStart `json:"-"`
	// Result is what SagaReceive takes into the state.
	Result json.RawMessage `json:"result,omitempty"`
}

// SagaResult is what came of one of these steps.
type SagaResult struct {
	Outcome core.Outcome `json:"outcome"`
	// Input is what SagaPrepare made: an activity's input, a sub-saga's first
	// state.
	Input json.RawMessage `json:"input,omitempty"`
	// First says that the step was not done before, so that nothing which comes
	// after it was, either. False: that is not known.
	First bool `json:"first,omitempty"`
	// Database is the identity of the database that a local step was run in, where
	// nobody had said one.
	Database string `json:"database,omitempty"`
	// OtherDatabase says that the process has another database than the saga; the
	// outcome is core.OutcomeNoWorker then, and why is in its Error.
	OtherDatabase bool `json:"other_database,omitempty"`
	// NoKey says that the process does not have the key with which the saga's state is
	// encrypted; the outcome is core.OutcomeNoWorker then, and why is in its Error.
	NoKey bool `json:"no_key,omitempty"`
	// NotHeld says that the saga is driven by another, and Others that the step's row, or the
	// saga's begin row, is for somebody else who used the same key: nothing was done. They are
	// for a saga that has no workflow.
	NotHeld bool `json:"-"`
	Others  bool `json:"-"`
	// Waits says what a participant that has not replied waits for itself. Nil: nothing,
	// as far as is known.
	Waits *SagaWaits `json:"waits,omitempty"`
}

// SagaWaits says why a call of a saga is not worked on: that is nobody's fault.
type SagaWaits struct {
	// Who waits: "participant NAME", or "RabbitMQ", which does not take the call.
	Who string `json:"who"`
	// Since is since when, by the clock of who says so; zero: not known.
	Since time.Time `json:"since,omitzero"`
	// Reason is the error.
	Reason string `json:"reason"`
}

// SagaRunner runs the steps of sagas. How a step ended is a value: an error says
// that it could not be run or that nobody knows how it ended, and that it may be
// run again. Where the process does not have the saga's version, the outcome is
// core.OutcomeNoWorker.
type SagaRunner interface {
	// Plan returns the plan of the highest version. holdfast.ErrNotFound: no such
	// saga in this process.
	Plan(ctx context.Context, name string, version int) (core.Plan, error)
	// Do does a local step; it publishes a message, and waits for its reply at most
	// s.Wait: core.OutcomePending where none has come.
	Do(ctx context.Context, s SagaStep) SagaResult
	// Undo is the same for the Undo. What was never done is blocked for ever.
	Undo(ctx context.Context, s SagaStep) SagaResult
	// Prepare decides about a condition (core.OutcomeSkipped) or a choice, and makes
	// an activity's or a sub-saga's input.
	Prepare(ctx context.Context, s SagaStep) SagaResult
	// Receive takes a result that came later into the state.
	Receive(ctx context.Context, s SagaStep) SagaResult
}
