package holdfasttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/sagarun"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// SagaResult is how a saga ended, or how it stands where it can only wait for an
// operator.
type SagaResult[S any] struct {
	// ID is the saga's ID.
	ID string
	// State is its last state, and Err what worker.SagaHandle.Wait returns with it:
	// nil if it completed, else a [holdfast.SagaError].
	State S
	Err   error
	// Steps are the Dos and Undos that were run, in their order: "do NAME" and "undo
	// NAME". One that did not end well says so: "do NAME: refused", "failed" or
	// "panicked"; of failures that follow each other, one is there. A wait, a choice,
	// and an Undo that finds nothing to undo run nothing.
	Steps []string
	// Status is what the saga's workflow says about itself.
	Status sagas.Status
	// Rejected are the operators' requests that it refused.
	Rejected []error
}

// RunSaga runs a saga from its first state to its end, or until it can only wait
// for an operator. A key that had a saga in this kit before joins that one: nothing
// is run, and with another state than that one was started with, Err is [holdfast.ErrDuplicate].
func RunSaga[S any](k *Kit, def saga.Saga[S], s S) SagaResult[S] {
	k.t.Helper()
	k.Saga(def)
	data, err := json.Marshal(s)
	if err != nil {
		k.t.Fatalf("the state of saga %s is no JSON: %v", def.Name, err)
	}
	c, err := k.defs.Find(def.Name, max(def.Version, 1))
	if err != nil {
		k.t.Fatal(err)
	}
	key := uuid.NewString()
	if def.Key != nil {
		key = def.Key(s)
		if err := holdfast.ValidateSagaKey(key); err != nil {
			k.t.Fatalf("saga %s: %v", def.Name, err)
		}
	}
	id := workflows.SagaID("", k.o.Group, def.Name, key)
	if status, there := k.ended[id]; there {
		out := sagaResult[S](k, status, &run{})
		if k.contents[id] != sagas.ContentOf(data) {
			out.Err = fmt.Errorf("%w: saga %s was started with another state", holdfast.ErrDuplicate, id)
		}
		return out
	}
	k.contents[id] = sagas.ContentOf(data)
	plan := c.Plan
	return playSaga[S](k, id, sagas.Input{ID: id, Group: k.o.Group,
		Name: def.Name, Key: key, Plan: &plan, Version: plan.Version, Data: data})
}

// UndoSaga undoes a saga that has completed.
func UndoSaga[S any](k *Kit, ended SagaResult[S], reason string) SagaResult[S] {
	k.t.Helper()
	if ended.Err != nil {
		k.t.Fatalf("only a completed saga is undone: %v", ended.Err)
	}
	s := ended.Status
	plan := s.Plan
	return playSaga[S](k, workflows.SagaUndoID(s.ID),
		sagas.Input{ID: s.ID, Group: s.Group, Name: s.Name, Key: s.Key, Plan: &plan, Version: s.Version,
			Undo: &sagas.UndoOf{RunID: "first", Operator: operator, Reason: reason}, Resumed: &s})
}

func playSaga[S any](k *Kit, workflowID string, in sagas.Input) SagaResult[S] {
	k.t.Helper()
	r := k.begin(workflowID)
	(&activities.Sagas{Runner: sagaSteps{k.runner(), k}}).Register(r.env)
	r.env.RegisterWorkflowWithOptions(sagas.Saga, workflow.RegisterOptions{Name: sagas.Name})
	for name, f := range k.acts {
		r.env.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: name})
	}
	k.mu.Lock()
	for _, l := range k.later {
		r.env.RegisterDelayedCallback(l.f, l.after)
	}
	for _, q := range k.waiting {
		r.env.RegisterDelayedCallback(func() { r.ask(q.update, q.req) }, 0)
	}
	k.later, k.waiting = nil, nil
	k.mu.Unlock()
	var status sagas.Status
	r.play("Saga", func(ctx workflow.Context) (any, error) { return sagas.Saga(ctx, in) }, &status)
	k.ended[status.ID] = status
	k.bury()
	return sagaResult[S](k, status, r)
}

// runner runs the steps, as a worker's does.
func (k *Kit) runner() *sagarun.Runner {
	return &sagarun.Runner{Definitions: &k.defs, DB: k.o.DB, Calls: calls{k}, Waiters: &k.waiters,
		Around: func(_ context.Context, s activities.SagaStep, undo bool, f func() error) error {
			return k.around(s.Step.Name, undo, f)
		}}
}

func sagaResult[S any](k *Kit, status sagas.Status, r *run) SagaResult[S] {
	k.t.Helper()
	out := SagaResult[S]{ID: status.ID, Err: status.Err(), Status: status,
		Steps: slices.Clone(r.steps), Rejected: r.rejected}
	if err := json.Unmarshal(status.Core.Data, &out.State); err != nil {
		k.t.Fatalf("the last state of saga %s does not fit %T: %v", status.ID, out.State, err)
	}
	if pending := (*holdfast.SagaError)(nil); errors.As(out.Err, &pending) {
		switch {
		case pending.Reason == "":
			pending.Reason = r.left
		case r.left != "" && errors.Is(pending, holdfast.ErrSagaPending):
			pending.Reason += ": " + r.left
		}
	}
	return out
}
