package workflows

import (
	"errors"

	"go.temporal.io/sdk/temporal"
)

// InvalidInput is the type of the error of a workflow whose input is wrong.
const InvalidInput = "InvalidInput"

// KeyUsed is the type of the error of a saga's workflow whose key is that of another saga,
// which was started with other content. It has done nothing.
const KeyUsed = "KeyUsed"

// RootMessage returns what the activity said, without what Temporal puts around it.
func RootMessage(err error) string {
	var failure *temporal.ApplicationError
	if errors.As(err, &failure) {
		return failure.Message()
	}
	return err.Error()
}

// IsFinal reports whether repetition does not cure err.
func IsFinal(err error) bool {
	var failure *temporal.ApplicationError
	return errors.As(err, &failure) && failure.NonRetryable()
}
