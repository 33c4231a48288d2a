package worker

import (
	"context"
	"errors"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/signals"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// calls sends messages to participants.
type calls struct{ w *Worker }

func (c calls) PublishSagaCall(ctx context.Context, call broker.SagaCall, m holdfast.Message) error {
	return c.w.broker.PublishSagaCall(ctx, call, m)
}

func (c calls) ReplyTo(group string) (own, durable string) {
	return c.w.broker.InstanceReplyQueue(group), c.w.broker.ReplyQueue(group)
}

// waiting asks the participants of a topic whether they wait. That they cannot be asked
// says nothing.
func (c calls) waiting(ctx context.Context, topic string) *activities.SagaWaits {
	wait, err := c.w.broker.ParticipantWait(ctx, topic)
	if err != nil {
		c.w.o.Logger.Debug("a participant could not be asked how it is", "topic", topic, "error", err)
	}
	if wait == nil {
		return nil
	}
	return &activities.SagaWaits{Who: "participant " + wait.Name, Since: wait.Since, Reason: wait.Reason}
}

// sagaReplies is the consumer of participants' replies, and what others may see of
// the process's sagas.
type sagaReplies struct {
	running context.Context
	ended   chan error // closed at its end
	stop    func()
}

// runSagas shows which sagas the process has, and takes participants' replies for
// them until stop is called, which is after the last step that may wait for one. A
// process without sagas has no use for replies.
func (w *Worker) runSagas(running context.Context) (*sagaReplies, error) {
	r := &sagaReplies{running: running, ended: make(chan error, 1), stop: func() {}}
	if len(w.sagas.defs.All()) == 0 {
		close(r.ended)
		return r, nil
	}
	hide, err := w.showSagas()
	if err != nil {
		return nil, err
	}
	if err := w.broker.PrepareReplies(running, w.o.Group); err != nil {
		w.o.Logger.Debug("the queue of replies is not there yet: it is made as soon as RabbitMQ lets us", "error", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(running))
	go func() {
		defer close(r.ended)
		r.ended <- w.broker.ConsumeReplies(ctx, w.o.Group, w.reply)
	}()
	r.stop = func() {
		hide()
		cancel()
		for range r.ended {
		}
	}
	return r, nil
}

// failed waits until the worker is to end, or the consumer has failed.
func (r *sagaReplies) failed() error {
	select {
	case err := <-r.ended:
		return err
	case <-r.running.Done():
		return nil
	}
}

// reply passes a reply on to the step that waits for it here, or to the saga's
// workflow. nil: nothing is left to do with it.
func (w *Worker) reply(ctx context.Context, r broker.SagaReply) error {
	if w.sagas.waiters.Give(r) {
		return nil
	}
	if !w.isOwnSaga(r.Workflow) {
		w.late(r, "it is for a workflow that is no saga of group "+w.o.Group)
		return nil
	}
	signal := sagas.Reply{Step: r.Step, Undo: r.Undo, Outcome: core.OutcomeKind(r.Outcome),
		Class: r.Class, Reason: r.Reason, Result: r.Result,
		Token: r.Token, Topic: r.Topic}
	told, err := signals.Send(ctx, w.o.Temporal, r.Workflow, sagas.SignalReply, signal)
	if errors.Is(err, holdfast.ErrInvalid) {
		// Temporal takes no such signal: the saga has to know at least that.
		signal.Outcome, signal.Class, signal.Result = core.OutcomeFailed, holdfast.ClassPermanent, nil
		signal.Reason = "the reply of participant " + r.Participant + " cannot be passed on: " + err.Error()
		told, err = signals.Send(ctx, w.o.Temporal, r.Workflow, sagas.SignalReply, signal)
	}
	if err == nil && !told {
		w.late(r, "the saga has ended, or never was")
	}
	return err
}

// late notes a reply that nobody waits for.
func (w *Worker) late(r broker.SagaReply, why string) {
	w.metrics.SagaReplyLate(r.Participant)
	w.o.Logger.Debug("a saga's reply that nobody waits for", "why",
		why, "workflow", r.Workflow, "step", r.Step, "undo", r.Undo,
		"participant", r.Participant, "outcome", r.Outcome, "reason", r.Reason)
}
