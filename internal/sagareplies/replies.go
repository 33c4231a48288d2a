// Package sagareplies sends messages to the participants of a group's sagas, and takes what
// they reply: a step that waits in this process gets it, or else the saga's workflow, by a
// signal. Package worker runs it while it works for Temporal.
package sagareplies

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/metrics"
	"github.com/holdfastmq/holdfast/internal/sagarun"
	"github.com/holdfastmq/holdfast/internal/signals"
	"github.com/holdfastmq/holdfast/internal/telemetry"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// Options say for whose sagas replies are taken.
type Options struct {
	Prefix, Group string
	Broker        replyBroker
	Temporal      signals.Temporal
	Definitions   *sagarun.Definitions
	TrustRows     bool // the process's TrustBeginRows
	Waiters       *sagarun.Waiters
	Metrics       *metrics.Metrics
	Trace         *telemetry.Tracer // nil: none
	Logger        *slog.Logger
}

// replyBroker is what is needed of a broker.
type replyBroker interface {
	PublishSagaCall(ctx context.Context, call broker.SagaCall, m holdfast.Message) error
	InstanceReplyQueue(group string) string
	ReplyQueue(group string) string
	ParticipantWait(ctx context.Context, topic string) (*broker.ParticipantWait, error)
	PrepareReplies(ctx context.Context, group string) error
	ConsumeReplies(ctx context.Context, group string, take func(context.Context, broker.SagaReply) error) error
	ShowSagas(defs []broker.SagaDefinition) (hide func())
}

// Replies sends messages to the participants of a group's sagas, and takes what they
// reply.
type Replies struct{ o Options }

// New returns what sends for the sagas of o.Group and takes the replies.
func New(o Options) *Replies { return &Replies{o} }

// PublishSagaCall sends a message to a participant.
func (r *Replies) PublishSagaCall(ctx context.Context, call broker.SagaCall, m holdfast.Message) error {
	return r.o.Broker.PublishSagaCall(ctx, call, m)
}

// ReplyTo names the queues of replies to this process, and to its group.
func (r *Replies) ReplyTo(group string) (own, durable string) {
	return r.o.Broker.InstanceReplyQueue(group), r.o.Broker.ReplyQueue(group)
}

// Waiting asks the participants of a topic whether they wait. That they cannot be asked
// says nothing.
func (r *Replies) Waiting(ctx context.Context, topic string) *activities.SagaWaits {
	wait, err := r.o.Broker.ParticipantWait(ctx, topic)
	if err != nil {
		r.o.Logger.Debug("a participant could not be asked how it is", "topic", topic, "error", err)
	}
	if wait == nil {
		return nil
	}
	return &activities.SagaWaits{Who: "participant " + wait.Name, Since: wait.Since, Reason: wait.Reason}
}

// Consumer is the consumer of participants' replies, and what others may see of
// the process's sagas.
type Consumer struct {
	running context.Context
	ended   chan error // closed at its end
	// Stop ends it, once no step may wait for a reply any more.
	Stop func()
}

// Run shows which sagas the process has, and takes participants' replies for
// them until Stop is called, which is after the last step that may wait for one. A
// process without sagas has no use for replies.
func (r *Replies) Run(running context.Context) (*Consumer, error) {
	c := &Consumer{running: running, ended: make(chan error, 1), Stop: func() {}}
	if len(r.o.Definitions.All()) == 0 {
		close(c.ended)
		return c, nil
	}
	hide, err := r.showSagas()
	if err != nil {
		return nil, err
	}
	if err := r.o.Broker.PrepareReplies(running, r.o.Group); err != nil {
		r.o.Logger.Debug("the queue of replies is not there yet: it is made as soon as RabbitMQ lets us", "error", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(running))
	go func() {
		defer close(c.ended)
		c.ended <- r.o.Broker.ConsumeReplies(ctx, r.o.Group, r.reply)
	}()
	c.Stop = func() {
		hide()
		cancel()
		for range c.ended {
		}
	}
	return c, nil
}

// Failed waits until the worker is to end, or the consumer has failed.
func (c *Consumer) Failed() error {
	select {
	case err := <-c.ended:
		return err
	case <-c.running.Done():
		return nil
	}
}

// reply passes a reply on to the step that waits for it here, or to the saga's
// workflow. nil: nothing is left to do with it.
func (r *Replies) reply(ctx context.Context, got broker.SagaReply) error {
	return r.o.Trace.Reply(ctx, got.Trace, got.Participant, got.Saga, got.Step, string(got.Outcome),
		func(ctx context.Context) error { return r.pass(ctx, got) })
}

func (r *Replies) pass(ctx context.Context, got broker.SagaReply) error {
	if r.o.Waiters.Give(got) {
		return nil
	}
	if !r.isOwnSaga(got.Workflow) {
		r.late(got, "it is for a workflow that is no saga of group "+r.o.Group)
		return nil
	}
	signal := got.Signal()
	told, err := signals.Send(ctx, r.o.Temporal, got.Workflow, sagas.SignalReply, signal)
	if errors.Is(err, holdfast.ErrInvalid) {
		// Temporal takes no such signal: the saga has to know at least that.
		signal.Outcome, signal.Class, signal.Result = core.OutcomeFailed, holdfast.ClassPermanent, nil
		signal.Reason = "the reply of participant " + got.Participant + " cannot be passed on: " + err.Error()
		told, err = signals.Send(ctx, r.o.Temporal, got.Workflow, sagas.SignalReply, signal)
	}
	if err == nil && !told {
		r.late(got, "the saga has ended, or never was")
	}
	return err
}

// late notes a reply that nobody waits for.
func (r *Replies) late(got broker.SagaReply, why string) {
	r.o.Metrics.SagaReplyLate(got.Participant)
	r.o.Logger.Debug("a saga's reply that nobody waits for", "why",
		why, "workflow", got.Workflow, "step", got.Step, "undo", got.Undo,
		"participant", got.Participant, "outcome", got.Outcome, "reason", got.Reason)
}

// isOwnSaga reports whether a workflow's ID is that of a saga of the group, in this
// installation as far as the ID says.
func (r *Replies) isOwnSaga(workflowID string) bool {
	id, ok := workflows.ParseID(workflowID)
	return ok && id.Kind == workflows.KindSaga && id.Owner == r.o.Group && (id.Prefix == "" || id.Prefix == r.o.Prefix)
}

// showSagas lets others see which sagas this process has, until hide is called.
func (r *Replies) showSagas() (hide func(), err error) {
	var defs []broker.SagaDefinition
	for _, c := range r.o.Definitions.All() {
		plan, err := json.Marshal(c.Plan)
		if err != nil {
			return nil, fmt.Errorf("the plan of saga %s: %w", c.Plan.Name, err)
		}
		defs = append(defs, broker.SagaDefinition{Group: r.o.Group, Name: c.Plan.Name, Version: c.Plan.Version,
			Express: c.Plan.Express, TrustsRows: r.o.TrustRows, Plan: plan})
	}
	if len(defs) == 0 {
		return func() {}, nil
	}
	return r.o.Broker.ShowSagas(defs), nil
}
