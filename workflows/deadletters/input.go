package deadletters

import (
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

// Name is the name of the workflow type of dead letters.
const Name = "DeadLetter"

// Names of the Updates of a dead letter, beside UpdateCompensate; each is a signal too.
const (
	UpdateRedeliver       = "redeliver"
	UpdateRedeliverEdited = "redeliver-edited"
	UpdateDiscard         = "discard"
)

// Names of the signals by which the consumer's queue answers a redelivery.
const (
	// SignalHandled says that a redelivery was handled; its argument is the
	// redelivery's number.
	SignalHandled = "handled"
	// SignalDied says that the message died again; its argument is a
	// [holdfast.Failure].
	SignalDied = "died"
)

// Input is the input of the workflow DeadLetter.
type Input struct {
	// Prefix is the prefix of the queues' names; empty means "holdfast".
	Prefix string              `json:"prefix,omitempty"`
	Letter holdfast.DeadLetter `json:"letter"`
	// Resumed is what the run before hands over; nil in a first run.
	Resumed *Status `json:"resumed,omitempty"`
}

// Request is the argument of the Updates and signals redeliver,
// redeliver-edited, compensate and discard.
type Request struct {
	// Operator is who asks. Required.
	Operator string `json:"operator"`
	// Reason is why. Required.
	Reason string `json:"reason"`
	// Text or Base64 is the new body; redeliver-edited only.
	Text   string `json:"text,omitempty"`
	Base64 []byte `json:"base64,omitempty"`
	// ContentType is the new body's; empty: as it was. redeliver-edited only.
	ContentType string `json:"content_type,omitempty"`
	// Force compensates or discards although a redelivery is not answered yet:
	// the consumer may handle it nevertheless.
	Force bool `json:"force,omitempty"`
	// Once refuses a redeliver while the last redelivery is not answered, so that
	// a tool can repeat what it is not sure of without sending twice.
	Once bool `json:"once,omitempty"`
	// Wait is how long a redeliver waits for the consumer's answer; 0: it does
	// not.
	Wait time.Duration `json:"wait,omitempty"`
}

// Event is one line of a dead letter's story.
type Event struct {
	At time.Time `json:"at"`
	// What happened: died, redeliver, redeliver-edited, compensate, discard,
	// handled, compensated, notified, parked, refused (a signal), cancel (a
	// request to cancel the workflow, which changes nothing but a wait).
	What string `json:"what"`
	// Operator is who asked for it; "policy" where nobody did; empty where it
	// came by itself.
	Operator string `json:"operator,omitempty"`
	// Text is the operator's reason, or the error.
	Text string `json:"text,omitempty"`
}

// Status is the answer to the query "status" and to the Updates, and
// the workflow's result.
type Status struct {
	ID       string          `json:"id"`
	Consumer string          `json:"consumer,omitempty"`
	Queue    string          `json:"queue"`
	Topic    string          `json:"topic"`
	Key      string          `json:"key,omitempty"`
	Tx       string          `json:"tx,omitempty"`
	Group    string          `json:"group,omitempty"`
	State    workflows.State `json:"state"`
	// Reason says why it is so.
	Reason string `json:"reason,omitempty"`
	// Next is when the policy redelivers it; Waits only.
	Next time.Time `json:"next,omitzero"`
	// Failure is the last death.
	Failure holdfast.Failure `json:"failure"`
	// Redeliveries numbers them: it is the last one's number, and no number is
	// used twice. Duplicates counts copies, and answers to older redeliveries,
	// that came while this one was here.
	Redeliveries int `json:"redeliveries,omitempty"`
	Duplicates   int `json:"duplicates,omitempty"`
	// Actions are the Updates that would be accepted now, without Force.
	Actions []string `json:"actions,omitempty"`
	// Story is what happened, oldest first; of a long one, the last 50.
	Story []Event `json:"story,omitempty"`
}

// Names of the memo's fields by which lists can show a dead letter without
// asking its workflow; each is text, attempts a number.
const (
	MemoConsumer = "holdfast-consumer"
	MemoClass    = "holdfast-error-class"
	MemoReason   = "holdfast-reason"
	MemoAttempts = "holdfast-attempts"
)
