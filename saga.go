package holdfast

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// How a saga can stand when its outcome is asked for, beside completed. A
// [SagaError] wraps one of them.
var (
	// ErrSagaPending means that the saga has not ended: the error says whether it waits
	// for an answer, is under way or paused, or has no worker. Ask again later.
	ErrSagaPending = errors.New("holdfast: the saga has not ended")
	// ErrSagaCompensated means that the saga failed, and that everything it did
	// is undone.
	ErrSagaCompensated = errors.New("holdfast: the saga was compensated")
	// ErrSagaParked means that a step failed for good and waits for an operator.
	ErrSagaParked = errors.New("holdfast: the saga is parked")
	// ErrSagaCompensationFailed means that the saga failed, and that some of what
	// it did could not be undone; it waits for an operator.
	ErrSagaCompensationFailed = errors.New("holdfast: the saga failed to compensate")
)

// ErrAnswered means that a saga's wait was answered before: this answer changed nothing.
var ErrAnswered = errors.New("holdfast: answered already")

// The words for where a saga stands, as [SagaStanding] has them in State.
const (
	SagaRunning            = "running"
	SagaWaiting            = "waiting"   // for an answer, such as an approval
	SagaPaused             = "paused"    // by an operator
	SagaNoWorker           = "no-worker" // no worker can run its step
	SagaParked             = "parked"    // a step failed for good, and waits for an operator
	SagaCompensating       = "compensating"
	SagaCompensationFailed = "compensation-failed" // an Undo failed for good, and waits for an operator
	SagaCompleted          = "completed"
	SagaCompensated        = "compensated"
)

// SagaStanding says where a saga stands at one moment.
type SagaStanding struct {
	// ID is the saga's ID, which is its workflow's.
	ID string `json:"id"`
	// State is [SagaRunning] or one of the other words; and, of a workflow that was ended
	// from outside: failed, terminated, canceled, timed-out.
	State string `json:"state"`
	// Step is the step that State is about; empty where it is about none, or where that
	// is not known.
	Step string `json:"step,omitempty"`
	// WaitsFor says in words what has to come before it goes on, such as "an answer to
	// step approval"; empty where it has ended.
	WaitsFor string `json:"waits_for,omitempty"`
	// Since is since when it waits for that, by Temporal's clock; zero where that is not
	// known.
	Since time.Time `json:"since,omitzero"`
	// Reason is the last error, the refusal, or what an operator said.
	Reason string `json:"reason,omitempty"`
}

// String says it in a sentence.
func (s SagaStanding) String() string {
	var text string
	switch s.State {
	case SagaWaiting:
		if text = "waits for an answer"; s.Step != "" {
			text = "waits for " + s.Step + " (an answer)"
		}
	case SagaRunning:
		text = "under way"
	case SagaNoWorker:
		text = "no worker"
	default:
		text = strings.ReplaceAll(s.State, "-", " ")
	}
	if s.WaitsFor != "" && s.WaitsFor != "an operator" && s.State != SagaWaiting {
		text += ": it waits for " + s.WaitsFor
	}
	if !s.Since.IsZero() {
		text += ", since " + s.Since.UTC().Format(time.RFC3339)
	}
	if s.Reason != "" && s.State != SagaWaiting && s.State != SagaNoWorker {
		text += ": " + s.Reason
	}
	return text
}

// SagaError says how a saga stands that has not completed.
type SagaError struct {
	// Condition is one of the four errors above.
	Condition error
	// ID is the saga's ID, which is its workflow's.
	ID string
	// Step is the step that failed, is parked or could not be undone; empty where
	// no step is the cause.
	Step string
	// Reason says why, in the words of the step's error, of its refusal or of the
	// operator who asked for it; of a saga that is pending, what it waits for.
	Reason string
	// Refused says that the cause is a business refusal.
	Refused bool
}

// Error names the saga, the step and the reason.
func (e *SagaError) Error() string {
	s := fmt.Sprintf("%v: %s", e.Condition, e.ID)
	if e.Step != "" {
		s += ": step " + e.Step
	}
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	return s
}

// Unwrap returns the condition.
func (e *SagaError) Unwrap() error { return e.Condition }

// MaxSagaState limits a saga's state, in bytes of JSON.
const MaxSagaState = 256 << 10

// SagaStart is what a saga was started with.
type SagaStart struct {
	// Name and Version are those of its definition, Key is its business key.
	Name    string `json:"name"`
	Version int    `json:"version"`
	Key     string `json:"key"`
	// State is its first state, in JSON.
	State json.RawMessage `json:"state,omitempty"`
	// Tokens says that the replies of its participants have to repeat the token of
	// their call.
	Tokens bool `json:"tokens,omitempty"`
	// Trace is where its trace goes on; zero where nobody traces it.
	Trace Trace `json:"trace,omitzero"`
}

// Validate checks that it can be carried on by another process. The error wraps
// [ErrInvalid] or [ErrTooLarge].
func (s *SagaStart) Validate() error {
	if err := ValidateName("saga's name", s.Name); err != nil {
		return err
	}
	if err := ValidateSagaKey(s.Key); err != nil {
		return err
	}
	switch {
	case s.Version < 1:
		return fmt.Errorf("%w: version %d of saga %s: want 1 or more", ErrInvalid, s.Version, s.Name)
	case len(s.State) > MaxSagaState:
		return fmt.Errorf("%w: the state of saga %s has %d bytes of JSON, the limit is %d", ErrTooLarge, s.Name,
			len(s.State), MaxSagaState)
	case !json.Valid(s.State):
		return fmt.Errorf("%w: the state of saga %s is no JSON", ErrInvalid, s.Name)
	}
	return nil
}

// ValidateSagaKey checks the business key of a saga, which is a part of its ID: 1
// to [MaxName] bytes of text, UTF-8 without control characters. The error wraps
// [ErrInvalid].
func ValidateSagaKey(key string) error {
	if key == "" {
		return fmt.Errorf("%w: the saga's key is empty: Key must return one for every state", ErrInvalid)
	}
	return validText("saga's key", key, MaxName, "")
}
