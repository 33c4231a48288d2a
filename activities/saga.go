package activities

import (
	"context"
	"encoding/json"
	"time"

	"github.com/holdfastmq/holdfast/saga/core"
)

// The names of the steps of the workflow Saga.
const (
	SagaPlan    = "SagaPlan"
	SagaDo      = "SagaDo"
	SagaUndo    = "SagaUndo"
	SagaPrepare = "SagaPrepare"
	SagaReceive = "SagaReceive"
)

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
}

// SagaStep is the input of the steps SagaDo, SagaUndo, SagaPrepare and
// SagaReceive.
type SagaStep struct {
	Saga SagaRef `json:"saga"`
	// Step is the step as the plan has it, without the steps in it.
	Step core.Step `json:"step"`
	Try  int       `json:"try"`
	// Again says that a remembered refusal does not count.
	Again bool `json:"again,omitempty"`
	// Data is the saga's state.
	Data json.RawMessage `json:"data"`
	// Cause is why the step is undone.
	Cause string `json:"cause,omitempty"`
	// Wait is how long the reply to a message may be waited for; 0: it is not.
	Wait time.Duration `json:"wait,omitempty"`
	// Last says that the saga is completed if this ends well: whoever waits for it
	// in this process can be told at once.
	Last bool `json:"last,omitempty"`
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
