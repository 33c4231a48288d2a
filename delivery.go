package holdfast

import (
	"errors"
	"fmt"
)

// DeliveryError says which messages of a committed transaction were delivered, and
// why the others were not yet. It is found with errors.As in the error of
// [ErrDeliveryPending].
type DeliveryError struct {
	// Delivered are the IDs of those that RabbitMQ has confirmed. They are not
	// published again by whoever was told so.
	Delivered []string
	// Failed are the others.
	Failed []FailedDelivery
}

// FailedDelivery is a message that was not delivered yet.
type FailedDelivery struct {
	ID    string
	Topic string
	// Err says why: [ErrUnroutable], [ErrQueueFull], [ErrTooLarge], [ErrInvalid], or
	// that it is not known whether RabbitMQ has it.
	Err error
}

// Error names each message that was not delivered, with its reason.
func (e *DeliveryError) Error() string { return errors.Join(e.errs()...).Error() }

// Unwrap returns the reasons.
func (e *DeliveryError) Unwrap() []error { return e.errs() }

func (e *DeliveryError) errs() []error {
	errs := make([]error, len(e.Failed))
	for i, f := range e.Failed {
		errs[i] = fmt.Errorf("message %s: %w", f.ID, f.Err)
	}
	return errs
}
