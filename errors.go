package holdfast

import (
	"errors"
	"fmt"
)

// Conditions that callers can tell apart with errors.Is.
var (
	// ErrInvalid means that an argument is wrong; nothing was done.
	ErrInvalid = errors.New("holdfast: invalid")
	// ErrTooLarge means that a limit on size is passed; nothing was done.
	ErrTooLarge = errors.New("holdfast: too large")
	// ErrDuplicate means that the transaction's ID was used before; nothing was
	// done by this call.
	ErrDuplicate = errors.New("holdfast: transaction ID already used")
	// ErrNotRunning means that the worker was not started, or is stopped.
	ErrNotRunning = errors.New("holdfast: the worker is not running")
	// ErrNotStored means that the broker did not store the half message; the
	// local transaction was not run.
	ErrNotStored = errors.New("holdfast: the half message was not stored")
	// ErrRolledBack means that the local transaction rolled back; no message is
	// delivered.
	ErrRolledBack = errors.New("holdfast: rolled back")
	// ErrAlreadyResolved means that the transaction was decided before, by a
	// check-back or an operator, and differently from what was asked for now.
	ErrAlreadyResolved = errors.New("holdfast: already resolved")
	// ErrUndecided means that the caller cannot know yet how the transaction
	// ends. It will end as the database says; the receipt names the workflow.
	// Do not repeat the work under another ID.
	ErrUndecided = errors.New("holdfast: undecided")
	// ErrDeliveryPending means that the local transaction is committed and that
	// its messages are still on their way: delivery is tried until it succeeds.
	ErrDeliveryPending = errors.New("holdfast: committed, delivery pending")
	// ErrNoOutcome means that a commit was asked for, but the outcome row that
	// would prove the local transaction is not in the database.
	ErrNoOutcome = errors.New("holdfast: no outcome row")
	// ErrUnroutable means that no queue is bound for a message.
	ErrUnroutable = errors.New("holdfast: unroutable")
	// ErrQueueFull means that a queue that is bound for a message refuses it: it is at
	// its limit (max-length), or without a majority of its replicas. The message's
	// other queues have it.
	ErrQueueFull = errors.New("holdfast: refused by a queue")
	// ErrMalformed means that a record read from the broker is not what the
	// wire format says.
	ErrMalformed = errors.New("holdfast: malformed")
	// ErrNotFound means that there is no such transaction.
	ErrNotFound = errors.New("holdfast: not found")
)

// UnavailableError means that one of the three parts, or the keyring, cannot be reached or used:
// what it is, where it was looked for, and what to do. It never holds a secret.
type UnavailableError struct {
	// Part is "RabbitMQ", "PostgreSQL" or "Temporal", or [PartKeyring].
	Part string
	// Where is the address that was tried, without credentials.
	Where string
	// Remedy says what to do about it.
	Remedy string
	// Err is the cause.
	Err error
}

// Error names the part, the address, the cause and the remedy.
func (e *UnavailableError) Error() string {
	s := "holdfast: " + e.Part
	if e.Where != "" {
		s += " at " + e.Where
	}
	s += " cannot be used"
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Remedy != "" {
		s += " (" + e.Remedy + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }

// permanentError marks an error that no repetition will cure.
type permanentError struct{ err error }

func (e permanentError) Error() string { return e.err.Error() }
func (e permanentError) Unwrap() error { return e.err }

// Permanent marks err as one that no repetition will cure: a consumer that
// returns it sends the message to the dead letters at once. Permanent(nil) is
// nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

// IsPermanent reports whether err, or an error it wraps, was made by
// [Permanent].
func IsPermanent(err error) bool {
	var p permanentError
	return errors.As(err, &p)
}

// PanicError is a panic in a caller's function, turned into an error.
type PanicError struct {
	// Value is what was passed to panic.
	Value any
	// Stack is the goroutine's stack at the panic.
	Stack []byte
}

// Error names the value, not the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
