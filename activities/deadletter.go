package activities

import (
	"context"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
)

// The names of the steps of the workflow DeadLetter, and of Alert, which the
// workflow Transaction uses too.
const (
	Redeliver  = "Redeliver"
	Compensate = "Compensate"
	Notify     = "Notify"
	AskHalf    = "AskHalf"
	Alert      = "Alert"
)

// Redelivery is the input of the step Redeliver.
type Redelivery struct {
	Letter holdfast.DeadLetter `json:"letter"`
	// N numbers the redeliveries of this dead letter, from 1.
	N int `json:"n"`
	// Operator is who asked for it; "policy" if nobody did.
	Operator string `json:"operator"`
	// Edit replaces the body, if it is not nil.
	Edit *Edit `json:"edit,omitempty"`
	// Wait is how long the step may wait for the consumer's answer; 0: it does
	// not. Mostly the consumer answers within milliseconds.
	Wait time.Duration `json:"wait,omitempty"`
}

// Redelivered is what came of the step Redeliver.
type Redelivered struct {
	// Handled says that the consumer has handled it, and that no signal will
	// tell so. False: not known yet.
	Handled bool `json:"handled,omitempty"`
}

// Edit is another body for a message. The consumer sees it in the headers
// holdfast-edited-by and holdfast-original-sha256.
type Edit struct {
	Body        []byte `json:"body"`
	ContentType string `json:"content_type,omitempty"` // empty: as it was
	// OriginalSHA256 is that of the body that it replaces, in hex. The letter
	// itself may come without its body: two bodies can be more than Temporal
	// takes in one payload.
	OriginalSHA256 string `json:"original_sha256"`
}

// Redeliverer puts a dead letter back into its consumer's queue.
type Redeliverer interface {
	// Redeliver returns once the broker has confirmed it, or the consumer has
	// answered within r.Wait. An error that wraps holdfast.ErrUnroutable says that
	// the queue is not there.
	Redeliver(ctx context.Context, r Redelivery) (Redelivered, error)
}

// Notifier tells the other consumers of a message that it was compensated.
type Notifier interface {
	// PublishCompensated returns nil once the broker has confirmed the notice.
	// That nobody listens is no error.
	PublishCompensated(ctx context.Context, d holdfast.DeadLetter) error
}

// Compensation is the input of the step Compensate: a dead letter, and whether an
// operator has it compensated although nothing proves that it was committed.
type Compensation struct {
	holdfast.DeadLetter
	Unproven bool `json:"unproven,omitempty"`
}

// Compensator runs a producer group's Compensate handlers.
type Compensator interface {
	// Compensate runs the handler for the topic once in effect; repeated says
	// that it had been run before. holdfast.ErrNotFound: there is no handler.
	// holdfast.ErrNoOutcome, marked as permanent: nothing proves that the message
	// was committed, and nothing was run.
	Compensate(ctx context.Context, c Compensation) (repeated bool, err error)
}

// HalfTruth knows what became of the transaction of a half message that is a dead
// letter.
type HalfTruth interface {
	// AskHalf asks the producer group; whatever goes wrong is Unknown, with the
	// reason.
	AskHalf(ctx context.Context, d holdfast.DeadLetter) LocalResult
}

// Alerter takes alerts, and never blocks.
type Alerter interface {
	Alert(a holdfast.Alert)
}
