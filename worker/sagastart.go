package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/google/uuid"
	"go.temporal.io/api/serviceerror"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/guard"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// SagaHandle is a started saga. Its methods may be called from many goroutines.
type SagaHandle[S any] struct {
	id string
	w  *Worker
	// joined says that it was not started here: it may be from before the prefix was
	// part of its ID.
	joined bool
	end    *sagaEnd // nil where this process may not have started it
	// turned says that the saga was told to go back: what end says may be older.
	turned atomic.Bool
}

// StartSaga starts a saga with its first state, or joins the one that has the same
// key, however far that one has come. Only one whose workflow was ended from outside is
// started again: the steps that it did are not repeated. def must be registered in this
// version with w, or, where that only sends, with other processes of the group. It returns
// when the saga is durably started.
//
// What is joined was started with the same state: [holdfast.ErrDuplicate] says that the
// key was used for another one, which goes on. States are compared by their JSON, so
// what is made anew for each call, such as the time, does not belong in them.
//
// ErrInvalid, ErrTooLarge and ErrNotRunning mean that it was not started. After an
// UnavailableError it may have been: with a Key, start it again.
func StartSaga[S any](ctx context.Context, w *Worker, def saga.Saga[S], s S) (*SagaHandle[S], error) {
	data, err := guard.Value(func() ([]byte, error) { return json.Marshal(s) })
	if err != nil {
		return nil, fmt.Errorf("%w: saga %s: the state is no JSON: %w", holdfast.ErrInvalid, def.Name, err)
	}
	key, err := sagaKey(def, s)
	if err != nil {
		return nil, err
	}
	id, end, err := w.startSaga(ctx, def.Name, max(def.Version, 1), key, def.Key == nil, data)
	if err != nil {
		return nil, err
	}
	return &SagaHandle[S]{id: id, w: w, end: end}, nil
}

// JoinSaga returns a handle of the saga with that key, whatever it was started with. It
// is not checked to exist: Wait says so.
func JoinSaga[S any](w *Worker, def saga.Saga[S], key string) *SagaHandle[S] {
	return &SagaHandle[S]{id: w.sagaID(def.Name, key), w: w, joined: true}
}

// sagaKey returns the key of a saga: its own, or one that nothing else has.
func sagaKey[S any](def saga.Saga[S], s S) (string, error) {
	if def.Key == nil {
		id, err := uuid.NewV7()
		if err != nil {
			return "", fmt.Errorf("holdfast: make a saga's key: %w", err)
		}
		return id.String(), nil
	}
	key, err := guard.Value(func() (string, error) { return def.Key(s), nil })
	if err != nil {
		return "", fmt.Errorf("%w: saga %s: its Key: %w", holdfast.ErrInvalid, def.Name, err)
	}
	if err := holdfast.ValidateSagaKey(key); err != nil {
		return "", fmt.Errorf("saga %s: %w", def.Name, err)
	}
	return key, nil
}

// startSaga starts the workflow of a saga, or finds that it is there.
func (w *Worker) startSaga(ctx context.Context, name string,
	version int, key string, fresh bool, data json.RawMessage) (id string, end *sagaEnd, err error) {
	if w.o.Temporal == nil {
		return "", nil, needsTemporal("StartSaga")
	}
	if err := core.CheckData(data); err != nil {
		return "", nil, err
	}
	plan, err := w.sagaPlan(name, version)
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := w.lanes.Bounded(ctx)
	defer cancel()
	if err := w.enterTemporal(ctx, "StartSaga"); err != nil {
		return "", nil, err
	}
	defer w.sending.Done()
	id = w.sagaID(name, key)
	in := sagas.Input{ID: id, Group: w.o.Group, Prefix: w.o.Prefix,
		Name: name, Key: key, Plan: plan, Version: version, Data: data,
		Tokens: !w.o.RollingUpgrade, StepNames: plan != nil && w.stepNames(*plan), Database: w.stores.own}
	end = w.sagas.ends.expect(id) // before it can complete
	id, _, err = sagas.Start(ctx, w.o.Temporal,
		sagas.StartConfig{Prefix: w.o.Prefix, Fresh: fresh, TaskTimeout: w.o.TaskTimeout}, in)
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	if err == nil && id == in.ID {
		w.metrics.SagaStarted(name)
		return id, end, nil
	}
	w.sagas.ends.forget(end) // it may have completed before
	switch {
	case err == nil:
		w.metrics.SagaStarted(name)
		return id, nil, nil
	case errors.As(err, &already):
		return id, nil, nil
	case errors.Is(err, holdfast.ErrDuplicate):
		return "", nil, err
	}
	return "", nil, temporalerr.Unavailable("start saga "+id, err)
}

// sagaPlan is the plan of a registered saga; nil where this process only sends: the one
// that runs the saga's first step finds it.
func (w *Worker) sagaPlan(name string, version int) (*core.Plan, error) {
	if w.o.SendOnly {
		return nil, nil
	}
	c, err := w.sagas.defs.Find(name, version)
	if err != nil {
		return nil, fmt.Errorf("%w: %w: register it with Saga before Run", holdfast.ErrInvalid, err)
	}
	return &c.Plan, nil
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
	data, err := h.w.waitSaga(ctx, id, end)
	if len(data) > 0 {
		if wrong := guard.Call(func() error { return json.Unmarshal(data, &s) }); wrong != nil {
			err = errors.Join(err, fmt.Errorf("saga %s: its state does not fit %T: %w", h.id, s, wrong))
		}
	}
	return s, err
}

// find returns the ID under which the saga is found.
func (h *SagaHandle[S]) find(ctx context.Context) (string, error) {
	if !h.joined {
		return h.id, nil
	}
	return h.w.findSaga(ctx, h.id)
}

// findSaga returns id, or the ID from before the prefix was part of it where the saga
// has that.
func (w *Worker) findSaga(ctx context.Context, id string) (string, error) {
	before, other := workflows.BeforePrefixes(id)
	if !other {
		return id, nil
	}
	if err := w.awaitRunning(ctx); err != nil {
		return "", err
	}
	_, err := w.o.Temporal.DescribeWorkflow(ctx, id, "")
	var none *serviceerror.NotFound
	if !errors.As(err, &none) {
		return id, nil // it is there, or asking again says what is wrong
	}
	if _, ours, err := workflows.Before(ctx, w.o.Temporal, w.o.Prefix, id); err != nil || !ours {
		return id, nil
	}
	return before, nil
}
