package worker

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
)

// Saga registers a definition with this worker's group. Call it before Run, which
// returns what is wrong with it. Several versions of one name can be registered.
func (w *Worker) Saga(def saga.Definition) {
	w.problem(errors.ErrUnsupported)
}

// Participation is what a participant does for a saga's step, or to undo it: with
// tx, which is committed together with the step row that makes it happen once.
// What it returns is sent back in JSON and kept in the step row, for those who ask
// again; nil is nothing. [saga.Refuse] is the answer no. Another error is tried
// again, by Tries and Ladder; after the last one, or if it is
// [holdfast.Permanent], the saga is told that the step has failed.
type Participation func(ctx context.Context, tx *gorm.DB, m holdfast.Message) (result any, err error)

// Participant does one kind of step for the sagas of any producer group.
type Participant struct {
	// Topic is the topic of a saga's message step. Required.
	Topic string
	// UndoTopic is the topic of its Undo. Required where Undo is set.
	UndoTopic string
	// Do does the step. Required.
	Do Participation
	// Undo undoes it. It is run once, and only where Do took effect; where it did
	// not, it never will. An Undo must not refuse.
	Undo Participation
	// Name names the participant's queue. Default: Topic.
	Name string
	// DB is the participant's database; nil means the worker's.
	DB *gorm.DB
	// Concurrency, Prefetch, Tries, Ladder and Timeout are as in a [Consumer]; the
	// default of Ladder is 1 s, 5 s, 30 s.
	Concurrency int
	Prefetch    int
	Tries       int
	Ladder      []time.Duration
	Timeout     time.Duration
}

// Participate adds a participant. Call it before Run, which returns what is wrong
// with it. It needs no Temporal.
func (w *Worker) Participate(p Participant) {
	w.problem(errors.ErrUnsupported)
}

// TypedParticipation turns a function on values into a [Participation]: v is the
// message's body, decoded from JSON. A body that does not decode is a permanent
// error.
func TypedParticipation[V, R any](do func(ctx context.Context, tx *gorm.DB, v V) (R, error)) Participation {
	return func(ctx context.Context, tx *gorm.DB, m holdfast.Message) (any, error) {
		var v V
		if err := json.Unmarshal(m.Body, &v); err != nil {
			return nil, holdfast.Permanent(err)
		}
		return do(ctx, tx, v)
	}
}

// SagaHandle is a started saga. Its methods may be called from many goroutines.
type SagaHandle[S any] struct {
	id string
	w  *Worker
}

// StartSaga starts a saga with its first state, or joins the one that has the same
// key, whatever that one's state. def must be registered with w. It returns when
// the saga is durably started.
func StartSaga[S any](ctx context.Context, w *Worker, def saga.Saga[S], s S) (*SagaHandle[S], error) {
	return nil, errors.ErrUnsupported
}

// JoinSaga returns a handle of the saga with that key, which is not checked to
// exist: Wait says so.
func JoinSaga[S any](w *Worker, def saga.Saga[S], key string) *SagaHandle[S] {
	return nil
}

// ID returns the saga's ID, which is its workflow's.
func (h *SagaHandle[S]) ID() string { return h.id }

// Wait waits until the saga has ended or needs an operator, or ctx is done. nil:
// it has completed, and this is its last state. A [holdfast.SagaError] says how it
// stands otherwise, and comes with the state as it is then:
// [holdfast.ErrSagaPending] when ctx was done first.
func (h *SagaHandle[S]) Wait(ctx context.Context) (S, error) {
	var s S
	return s, errors.ErrUnsupported
}

// Answer answers the saga's wait step: with a value, or with a refusal.
func (h *SagaHandle[S]) Answer(ctx context.Context, step, operator, reason string, refuse bool, value any) error {
	return errors.ErrUnsupported
}
