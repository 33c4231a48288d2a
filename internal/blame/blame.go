// Package blame says whose fault an error is: the message's, which counts as a try,
// or its surroundings', which waits and is told. It is the one place that decides
// so, for handlers of consumers and participants and for steps of sagas.
// docs/security.md has the table.
package blame

import (
	"errors"

	holdfast "github.com/holdfastmq/holdfast"
)

// Fault is whose fault an error is.
type Fault int

// The faults.
const (
	// Message: the error is the message's, or the step's, or its handler's. It counts.
	Message Fault = iota
	// Contention: others were at the same rows at the same moment. It does not count,
	// and a short pause cures it.
	Contention
	// Surroundings: something is missing that every message needs: a database, its
	// disk, a connection. It does not count, and is told.
	Surroundings
)

// String names the fault in logs.
func (f Fault) String() string {
	switch f {
	case Contention:
		return "contention"
	case Surroundings:
		return "surroundings"
	}
	return "message"
}

// Of says whose fault an error is that came out of a handler, or out of what runs
// around it. What no repetition cures is the message's, whatever its cause.
func Of(err error) Fault {
	var panicked *holdfast.PanicError
	if err == nil || holdfast.IsPermanent(err) || errors.Is(err, holdfast.ErrInvalid) ||
		errors.Is(err, holdfast.ErrTooLarge) ||
		errors.As(err, &panicked) {
		return Message
	}
	if _, refused := holdfast.IsRefused(err); refused {
		return Message
	}
	if f := OfState(State(err)); f != Message {
		return f
	}
	if away(err) || errors.Is(err, holdfast.ErrNotStored) {
		return Surroundings
	}
	return Message
}

// away reports whether one of Holdfast's three parts, or its keyring, cannot be used. What
// else a handler could not reach is its own affair.
func away(err error) bool {
	var away *holdfast.UnavailableError
	if !errors.As(err, &away) {
		return false
	}
	switch away.Part {
	case "RabbitMQ", "PostgreSQL", "Temporal", holdfast.PartKeyring:
		return true
	}
	return false
}

// State returns the SQLSTATE in err, or "". The drivers' errors share the method,
// not the type.
func State(err error) string {
	var e interface{ SQLState() string }
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}

// OfState says whose fault a SQLSTATE is that one of the user's statements, or one
// of ours, was answered with. See PostgreSQL's manual, appendix A.
func OfState(code string) Fault {
	if len(code) != 5 {
		return Message
	}
	switch code {
	case "25006", // read-only: not the primary
		"26000", "42P05", // prepared statements behind a pooler
		"3D000", "XX001", "XX002":
		return Surroundings
	case "55P03": // lock_timeout, NOWAIT
		return Contention
	case "57014": // a statement_timeout, or somebody cancelled it: it may be this message's statement
		return Message
	}
	switch code[:2] {
	case "40": // serialization failure, deadlock
		return Contention
	case "08", "28", "53", "57", "58": // connection, credentials, disk and memory, shutdown, I/O
		return Surroundings
	}
	return Message
}

// OfOwnState is OfState for one of Holdfast's own statements, which is the same for
// every message: nearly nothing that it is answered with is the message's fault.
func OfOwnState(code string) Fault {
	switch code {
	case "57014", "42501", "42P01", "42883", "42703", "3F000": // rights, tables, schema
		return Surroundings
	}
	return OfState(code)
}
