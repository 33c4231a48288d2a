package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/guard"
	"github.com/holdfastmq/holdfast/internal/jsonerr"
	"github.com/holdfastmq/holdfast/internal/sagahandle"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/workflows"
)

// SagaHandle is a started saga. Its methods may be called from many goroutines.
type SagaHandle[S any] struct {
	id string
	w  *Worker
	// joined says that it was not started here: it may be from before the prefix was
	// part of its ID.
	joined bool
	// unknown is why it is not known which saga it is; nil: it is.
	unknown error
	end     *sagahandle.End // nil where this process may not have started it
	// turned says that the saga was told to go back: what end says may be older.
	turned atomic.Bool
}

// StartSaga starts a saga with its first state, or joins the one that has the same
// key, however far that one has come. Only one whose workflow was ended from outside is
// started again: the steps that it did are not repeated. def must be registered in this
// version with w, or, where that only sends, with other processes of the group. It returns
// when the saga is durably started; in the Express lane ([saga.Saga.Lane]) and where it shares a
// workflow (Tuning.MaxSagaCohort) once its first steps have been tried, too, or ctx is done.
//
// What is joined was started with the same state: [holdfast.ErrDuplicate] says that the
// key was used for another one, which goes on; where the saga shares a workflow that another
// process runs, Wait may be the one to say so. States are compared by their JSON, so
// what is made anew for each call, such as the time, does not belong in them.
//
// ErrInvalid, ErrTooLarge, ErrNotStored and ErrNotRunning mean that it was not started. After an
// UnavailableError it may have been: with a Key, start it again.
func StartSaga[S any](ctx context.Context, w *Worker, def saga.Saga[S], s S) (*SagaHandle[S], error) {
	data, err := guard.Value(func() ([]byte, error) { return json.Marshal(s) })
	if err != nil {
		return nil, fmt.Errorf("%w: saga %s: the state is no JSON: %w", holdfast.ErrInvalid, def.Name, err)
	}
	key, err := sagaKey(ctx, w, def, s)
	if err != nil {
		return nil, err
	}
	if w.o.Temporal == nil {
		return nil, needsTemporal("StartSaga")
	}
	if data, err = w.box.State(ctx, w.sagas.handles.ID(def.Name, key), data); err != nil {
		return nil, err
	}
	id, end, err := w.sagas.handles.Start(ctx, def.Name, max(def.Version, 1), key, def.Key == nil, data)
	if err != nil {
		return nil, err
	}
	return &SagaHandle[S]{id: id, w: w, end: end}, nil
}

// JoinSaga returns a handle of the saga with that key, whatever it was started with. It
// is not checked to exist: Wait says so. With Options.HashKeys, a keyring of your own may fail to
// hash the key: the handle's methods return that error, and ID is empty.
func JoinSaga[S any](w *Worker, def saga.Saga[S], key string) *SagaHandle[S] {
	ctx, cancel := context.WithTimeout(context.Background(), hashWithin)
	defer cancel()
	key, err := w.box.Key(ctx, key)
	if err != nil {
		return &SagaHandle[S]{w: w, joined: true, unknown: fmt.Errorf("saga %s: %w", def.Name, err)}
	}
	return &SagaHandle[S]{id: w.sagas.handles.ID(def.Name, key), w: w, joined: true}
}

// hashWithin bounds the hashing of a key where no caller's context does.
const hashWithin = 10 * time.Second

// sagaKey returns the key of a saga: its own, or one that nothing else has. Where keys are hashed,
// both are: participants get it as the key of messages, and may pass it to [JoinSaga].
func sagaKey[S any](ctx context.Context, w *Worker, def saga.Saga[S], s S) (string, error) {
	own := def.Key
	if own == nil {
		id, err := uuid.NewV7()
		if err != nil {
			return "", fmt.Errorf("holdfast: make a saga's key: %w", err)
		}
		own = func(S) string { return id.String() }
	}
	key, err := guard.Value(func() (string, error) { return own(s), nil })
	if err != nil {
		return "", fmt.Errorf("%w: saga %s: its Key: %w", holdfast.ErrInvalid, def.Name, err)
	}
	if key, err = w.box.Key(ctx, key); err != nil {
		return "", fmt.Errorf("saga %s: %w", def.Name, err)
	}
	if err := holdfast.ValidateSagaKey(key); err != nil {
		return "", fmt.Errorf("saga %s: %w", def.Name, err)
	}
	return key, nil
}

// ID returns the saga's ID, which is its workflow's.
func (h *SagaHandle[S]) ID() string { return h.id }

// Wait waits until the saga has ended or needs an operator, or ctx is done. nil:
// it has completed, and this is its last state. A [holdfast.SagaError] says how it
// stands otherwise, and comes with the state as it is then, where that is known:
// [holdfast.ErrSagaPending] when ctx was done first. [holdfast.ErrNotFound]: there
// is no such saga.
func (h *SagaHandle[S]) Wait(ctx context.Context) (S, error) {
	var s S
	id, err := h.find(ctx)
	if err != nil {
		return s, err
	}
	end := h.end
	if h.turned.Load() {
		end = nil
	}
	data, err := h.sagas().Wait(ctx, id, end, h.joined)
	if data, wrong := h.open(ctx, data); wrong != nil {
		err = errors.Join(err, wrong)
	} else if len(data) > 0 {
		if wrong := guard.Call(func() error { return jsonerr.Clean(json.Unmarshal(data, &s)) }); wrong != nil {
			err = errors.Join(err, fmt.Errorf("saga %s: its state does not fit %T: %w", h.id, s, wrong))
		}
	}
	return s, err
}

// open opens a state that the saga had.
func (h *SagaHandle[S]) open(ctx context.Context, data []byte) ([]byte, error) {
	if len(data) == 0 {
		return nil, nil
	}
	ctx = context.WithoutCancel(ctx) // it may be why the saga is not waited for any longer
	o, err := h.w.box.OpenState(ctx, h.id, h.earlier, data)
	return o.Data, err
}

// earlier reports whether owner is the saga by its ID of another version.
func (h *SagaHandle[S]) earlier(owner string) bool {
	before, _ := workflows.BeforePrefixes(owner)
	mine, _ := workflows.BeforePrefixes(h.id)
	return before == mine
}

// State says where the saga stands now: its state, the step that it is about, what it
// waits for and since when. It does not wait for the saga. While a step in this group's
// processes is under way for a moment longer than a second, the step may be missing.
// [holdfast.ErrNotFound]: there is no such saga.
func (h *SagaHandle[S]) State(ctx context.Context) (holdfast.SagaStanding, error) {
	id, err := h.find(ctx)
	if err != nil {
		return holdfast.SagaStanding{ID: h.id}, err
	}
	return h.sagas().State(ctx, id)
}

func (h *SagaHandle[S]) sagas() *sagahandle.Handles { return h.w.sagas.handles }

// find returns the ID under which the saga is found, or why the start of it was refused
// since.
func (h *SagaHandle[S]) find(ctx context.Context) (string, error) {
	switch {
	case h.unknown != nil:
		return "", h.unknown
	case !h.joined:
		return h.id, h.end.Refused()
	}
	return h.sagas().Find(ctx, h.id)
}
