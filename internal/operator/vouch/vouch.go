// Package vouch is how the command line acts under a name that the console vouches for: it
// hands each action to the console, with the token of somebody who logged in there, and the
// console does it, signs it and has it in its audit. Both sides' words are here, the command
// line's client, and the file that keeps the token.
package vouch

import (
	"time"

	"github.com/holdfastmq/holdfast/internal/operator/actions"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// The console's paths for the command line.
const (
	WhoPath = "/api/who"    // whose token it is
	ActPath = "/api/act"    // one action on one thing
	EndPath = "/api/logout" // revokes the token
)

// The kinds of what is acted on.
const (
	Saga   = "saga"
	Letter = "dead"
	Tx     = "tx"
)

const (
	// MaxOrder is how many bytes an order may have: an edited body is in it.
	MaxOrder = 4 << 20
	// MaxWait is how long the console waits for what comes of an action.
	MaxWait = time.Minute
)

// Order is one action on one thing.
type Order struct {
	Kind string `json:"kind"`
	// ID is what it is done to, Run the run of its workflow as the command line saw it: in
	// another installation there is no such run.
	ID  string `json:"id"`
	Run string `json:"run"`
	Act string `json:"act"`
	// States, unless empty, are those in which a saga is still meant.
	States []string `json:"states,omitempty"`
	// Wait is how long to wait for what comes of it, in nanoseconds, MaxWait at most.
	Wait time.Duration `json:"wait,omitempty"`
	// What is asked for, by kind. The operator that it names does not count.
	Saga   *sagaflow.Request `json:"saga,omitempty"`
	Letter *deadflow.Request `json:"dead,omitempty"`
	Tx     *txflow.Request   `json:"tx,omitempty"`
}

// Reason is why it is asked for; ok is false where the request of its kind is missing.
func (o Order) Reason() (reason string, ok bool) {
	switch {
	case o.Kind == Saga && o.Saga != nil && o.Letter == nil && o.Tx == nil:
		return o.Saga.Reason, true
	case o.Kind == Letter && o.Letter != nil && o.Saga == nil && o.Tx == nil:
		return o.Letter.Reason, true
	case o.Kind == Tx && o.Tx != nil && o.Saga == nil && o.Letter == nil:
		return o.Tx.Reason, true
	}
	return "", false
}

// Step is the step that it is about.
func (o Order) Step() string {
	if o.Saga != nil {
		return o.Saga.Step
	}
	return ""
}

// Answer is what the console says of an order.
type Answer struct {
	actions.Outcome
	// Group is a transaction's.
	Group string `json:"group,omitempty"`
}

// Whose says whose token it is.
type Whose struct {
	Operator string    `json:"operator"` // as he signs
	Role     string    `json:"role"`
	Until    time.Time `json:"until"`
}

// Wrong is the console's answer where it does nothing.
type Wrong struct {
	Error  string `json:"error"`
	Remedy string `json:"remedy,omitempty"`
}
