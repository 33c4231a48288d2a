package activities

import (
	"slices"

	holdfast "github.com/holdfastmq/holdfast"
)

// The names under which the steps are registered, and which a history shows.
const (
	HalfSend                   = "HalfSend"
	LocalTransaction           = "LocalTransaction"
	LocalTransactionInProcess  = "LocalTransactionInProcess"
	LocalTransactionsInProcess = "LocalTransactionsInProcess"
	Commit                     = "Commit"
	CommitUntilConfirmed       = "CommitUntilConfirmed"
	Rollback                   = "Rollback"
	CheckBack                  = "CheckBack"
	CheckBackAll               = "CheckBackAll"
	Decide                     = "Decide"
)

// Form is how a transaction's local transaction is run.
type Form string

const (
	// Inline is a closure that waits in the process that called Send.
	Inline Form = "inline"
	// Registered is a named handler on the producer group's workers.
	Registered Form = "registered"
	// Split is run by the application itself, which then confirms.
	Split Form = "split"
	// HandedOver was run, or not, by somebody who did not tell: only a
	// check-back can say. The half message is stored already.
	HandedOver Form = "handed-over"
)

// Tx is a transaction as its workflow and its steps carry it.
type Tx struct {
	// ID is the transaction's ID.
	ID string `json:"id"`
	// Form is how its local transaction is run.
	Form Form `json:"form"`
	// Instance is the process that holds the closure; Inline only.
	Instance string `json:"instance,omitempty"`
	// Handler is the name of the registered handler; Registered only.
	Handler string `json:"handler,omitempty"`
	// Why says why the transaction has come here; HandedOver only.
	Why string `json:"why,omitempty"`
	// Database is the identity of the database that the local transaction is run in.
	// Empty: nobody said, or a Checker knows.
	Database string `json:"database,omitempty"`
	// Messages are the transaction's messages, with their IDs.
	Messages []holdfast.Message `json:"messages"`
	// Delivered are the IDs of those that RabbitMQ has confirmed already, where others
	// are not delivered yet.
	Delivered []string `json:"delivered,omitempty"`
}

// Undelivered are the messages of tx that are not delivered yet.
func (tx Tx) Undelivered() []holdfast.Message {
	if len(tx.Delivered) == 0 {
		return tx.Messages
	}
	var out []holdfast.Message
	for _, m := range tx.Messages {
		if !slices.Contains(tx.Delivered, m.ID) {
			out = append(out, m)
		}
	}
	return out
}

// StepInput is the input of every step on several transactions.
type StepInput struct {
	Group        string `json:"group"`
	Transactions []Tx   `json:"transactions"`
	// Cohort says that no transaction waits for one that takes much longer than
	// the others; LocalTransaction only.
	Cohort bool `json:"cohort,omitempty"`
}

// StepResult says how a step ended for one transaction.
type StepResult struct {
	// ID is the transaction's ID.
	ID string `json:"id"`
	// Error says why the step failed; empty means that it did not.
	Error string `json:"error,omitempty"`
	// Hopeless says that repeating will not help by itself: no consumer is bound
	// to a topic, or a message is larger than RabbitMQ takes; Commit only.
	Hopeless bool `json:"hopeless,omitempty"`
	// Full says that a queue refuses a message, since it is at its limit, so that to
	// repeat at once would do harm; Commit only.
	Full bool `json:"full,omitempty"`
	// Delivered are the IDs of the messages that were delivered, where others were not;
	// Commit only.
	Delivered []string `json:"delivered,omitempty"`
	// Database is the identity of the database that the local transaction is to be run
	// in from now on; HalfSend only, where nobody had said.
	Database string `json:"database,omitempty"`
}

// LocalResult is the answer about one local transaction, from the step that
// runs it or from a check-back.
type LocalResult struct {
	// ID is the transaction's ID.
	ID string `json:"id"`
	// Resolution is what became of it.
	Resolution holdfast.Resolution `json:"resolution"`
	// Messages are the messages to deliver, if the local transaction changed
	// them; empty means as they were.
	Messages []holdfast.Message `json:"messages,omitempty"`
	// Error says why the resolution is Rollback or Unknown.
	Error string `json:"error,omitempty"`
	// Elsewhere says that this process cannot run it: the closure waits in
	// another process, no handler of that name is registered here, or the process
	// has another database than the transaction.
	Elsewhere bool `json:"elsewhere,omitempty"`
	// Running says that it takes longer than the step waits, and still runs.
	Running bool `json:"running,omitempty"`
	// Unreached says that nobody answered a check-back, so that it does not count
	// as one; the resolution is Unknown then.
	Unreached bool `json:"unreached,omitempty"`
}

// LocalInput is the input of the steps on one transaction.
type LocalInput struct {
	Group       string `json:"group"`
	Transaction Tx     `json:"transaction"`
	// Resolution is what the operator decides; Decide only.
	Resolution holdfast.Resolution `json:"resolution,omitempty"`
	// Force decides without the database's word; Decide only.
	Force bool `json:"force,omitempty"`
}
