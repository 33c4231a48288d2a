// Package sagahandle is what the handles of a process's sagas do: they start a saga, wait
// for its end, of which this process or Temporal tells, look how it stands, and steer it.
// Package worker lends its gate and offers it all to applications, as values of their own
// types.
package sagahandle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/metrics"
	"github.com/holdfastmq/holdfast/internal/sagaexpress"
	"github.com/holdfastmq/holdfast/internal/sagarun"
	"github.com/holdfastmq/holdfast/internal/telemetry"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// Options say whose sagas are started and steered.
type Options struct {
	Prefix, Group string
	// Tokens says that replies have to repeat the token of their call; see [sagas.Input].
	Tokens      bool
	TaskTimeout time.Duration
	// Rolling says that processes of an earlier version may run a saga's workflow: nothing is asked
	// of that with its start.
	Rolling bool
	// Temporal is nil in a process that has none: then its Gate lets nobody in.
	Temporal client.Client
	Gate     Gate
	Bounded  func(context.Context) (context.Context, context.CancelFunc)
	// Definitions are the registered sagas; nil in a process that only sends.
	Definitions *sagarun.Definitions
	// Express runs the sagas of the Express lane; nil: this process has none.
	Express *sagaexpress.Lane
	// MaxCohort is how many sagas share a workflow at most, and CohortsInFlight how many of these
	// are being started at a time before others gather; MaxCohort 1: each has its own.
	MaxCohort, CohortsInFlight int
	// TrustRows says that a saga without a begin row has no workflow either.
	TrustRows bool
	// StepNames reports whether a saga's activities are named after its steps.
	StepNames func(core.Plan) bool
	// Database is the identity of the group's database; empty: it has none.
	Database func() string
	Metrics  *metrics.Metrics
	Trace    *telemetry.Tracer // nil: none
}

// Gate lets callers in while the process runs.
type Gate interface {
	// Enter waits until sending can begin, and counts the caller until Leave.
	Enter(ctx context.Context) error
	// EnterTemporal waits until sending can begin, and counts the caller until Leave. What
	// needs Temporal is called what.
	EnterTemporal(ctx context.Context, what string) error
	Leave()
	// Go runs f, which counts as a caller.
	Go(f func())
	// Stopping is closed when nobody new is let in.
	Stopping() <-chan struct{}
	// AwaitRunning waits until the process runs, for what asks Temporal of a saga.
	AwaitRunning(ctx context.Context) error
	// Over is closed when the process runs no longer, and Ended says why.
	Over() <-chan struct{}
	Ended() error
}

// Handles are what the handles of a process's sagas do.
type Handles struct {
	// Grace, if not 0, is how long a cohort counts as in flight whose members are slow. It is for
	// tests, and set before the first saga is started.
	Grace time.Duration

	o        Options
	ends     ends
	gatherer *gatherer
}

// New returns what handles of sagas do, with what o names.
func New(o Options) *Handles {
	h := &Handles{o: o}
	h.gatherer = &gatherer{most: o.MaxCohort, room: o.CohortsInFlight, id: h.cohortID,
		start: func(b batch) { o.Gate.Go(func() { h.startBatch(b) }) }}
	return h
}

// ID is the ID of a saga of the group.
func (h *Handles) ID(name, key string) string {
	return workflows.SagaID(h.o.Prefix, h.o.Group, name, key)
}

// Look has the callers of a saga look at it: it may need an operator.
func (h *Handles) Look(id string) { h.ends.look(id) }

// Completed tells the callers of a saga its last state.
func (h *Handles) Completed(id string, data json.RawMessage) {
	h.ends.tell(id, verdict{data: data})
}

// Ended tells the callers of a saga how it has ended.
func (h *Handles) Ended(s sagas.Status) { h.ends.tell(s.ID, verdictOn(s)) }

// Start starts the workflow of a saga, or finds that it is there.
func (h *Handles) Start(ctx context.Context, name string,
	version int, key string, fresh bool, data json.RawMessage) (id string, end *End, err error) {
	ctx, at, span := h.o.Trace.StartSaga(ctx, name)
	defer func() { span.End(err) }()
	if err := core.CheckData(data); err != nil {
		return "", nil, err
	}
	c, err := h.definition(name, version)
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := h.o.Bounded(ctx)
	defer cancel()
	if h.isExpress(c) {
		return h.startExpress(ctx, c, key, data, at)
	}
	if err := h.o.Gate.EnterTemporal(ctx, "StartSaga"); err != nil {
		return "", nil, err
	}
	defer h.o.Gate.Leave()
	id = h.ID(name, key)
	in := sagas.Input{ID: id, Group: h.o.Group, Prefix: h.o.Prefix, Name: name, Key: key, Version: version, Data: data,
		Tokens: h.o.Tokens, Database: h.o.Database(), Began: time.Now(), Trace: at}
	if c != nil { // else the process that runs the saga's first step finds it
		in.Plan, in.StepNames = &c.Plan, h.o.StepNames(c.Plan)
	}
	if h.isCohort(c) {
		has := false
		if !fresh && !h.o.TrustRows {
			has, err = h.hasWorkflow(ctx, id, data)
		}
		if err != nil {
			return "", nil, err
		}
		if !has {
			return h.startMember(ctx, c, in)
		}
	}
	return h.startOwn(ctx, c, in, fresh)
}

// startOwn starts the workflow of a saga, or finds that it is there, for a caller who is counted at
// the gate.
func (h *Handles) startOwn(ctx context.Context, c *saga.Compiled, in sagas.Input, fresh bool) (
	id string, end *End, err error) {
	id = in.ID
	if err := h.othersKey(ctx, id, c, in.Data); err != nil {
		return "", nil, err
	}
	if in, err = h.takenBefore(ctx, c, in); err != nil {
		return "", nil, err
	}
	if in.Plan != nil { // else it ends elsewhere
		end = h.ends.expect(id) // before it can complete
	}
	id, _, err = sagas.Start(ctx, h.o.Temporal,
		sagas.StartConfig{Prefix: h.o.Prefix, Fresh: fresh, TaskTimeout: h.o.TaskTimeout}, in)
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	if err == nil && id == in.ID {
		h.o.Metrics.SagaStarted(in.Name)
		return id, end, nil
	}
	if end != nil {
		h.ends.forget(end) // it may have completed before
	}
	switch {
	case err == nil:
		h.o.Metrics.SagaStarted(in.Name)
		return id, nil, nil
	case errors.As(err, &already):
		return id, nil, nil
	case errors.Is(err, holdfast.ErrDuplicate):
		return "", nil, err
	}
	return "", nil, temporalerr.Unavailable("start saga "+id, err)
}

// definition is that of a registered saga; nil where this process only sends.
func (h *Handles) definition(name string, version int) (*saga.Compiled, error) {
	if h.o.Definitions == nil {
		return nil, nil
	}
	c, err := h.o.Definitions.Find(name, version)
	if err != nil {
		return nil, fmt.Errorf("%w: %w: register it with Saga before Run", holdfast.ErrInvalid, err)
	}
	return c, nil
}

// Find returns id, or the ID from before the prefix was part of it where the saga
// has that.
func (h *Handles) Find(ctx context.Context, id string) (string, error) {
	before, other := workflows.BeforePrefixes(id)
	if !other {
		return id, nil
	}
	if err := h.o.Gate.AwaitRunning(ctx); err != nil {
		return "", err
	}
	_, err := h.o.Temporal.DescribeWorkflow(ctx, id, "")
	var none *serviceerror.NotFound
	if !errors.As(err, &none) {
		return id, nil // it is there, or asking again says what is wrong
	}
	if _, ours, err := workflows.Before(ctx, h.o.Temporal, h.o.Prefix, id); err != nil || !ours {
		return id, nil
	}
	return before, nil
}
