package sagarun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/blame"
	"github.com/holdfastmq/holdfast/internal/guard"
	"github.com/holdfastmq/holdfast/internal/stepend"
	"github.com/holdfastmq/holdfast/saga/core"
)

// Calls sends messages to participants.
type Calls interface {
	// PublishSagaCall returns nil once m is stored for its participant. An error
	// that wraps [holdfast.ErrUnroutable] says that there is none. After any other
	// error it may have been stored.
	PublishSagaCall(ctx context.Context, call broker.SagaCall, m holdfast.Message) error
	// ReplyTo returns where the replies to a group's sagas come to: the queue of
	// this process, and the durable one.
	ReplyTo(group string) (own, durable string)
}

// doMessage publishes the call, and takes the reply into the state.
func (r *Runner) doMessage(ctx context.Context, c *program, s activities.SagaStep) activities.SagaResult {
	if s.Step.Conditional {
		yes := false
		err := guard.Call(func() (err error) {
			yes, err = c.When(ctx, s.Step.Name, s.Data)
			return err
		})
		switch {
		case err != nil:
			return nothing(failed(ctx, err))
		case !yes:
			return skipped()
		}
	}
	reply, out := r.call(ctx, c, s, s.Step.Topic, false)
	if reply == nil {
		return out
	}
	out = answered(*reply)
	if out.Outcome.Kind == core.OutcomeDone && s.Step.Receives {
		s.Data = present(s)
		return receive(ctx, c, s, reply.Result)
	}
	return out
}

func (r *Runner) undoMessage(ctx context.Context, c *program, s activities.SagaStep) activities.SagaResult {
	if err := r.ask(ctx, &s); err != nil {
		return excused(ctx, err)
	}
	reply, out := r.call(ctx, c, s, s.Step.UndoTopic, true)
	if reply == nil {
		return out
	}
	return answered(*reply)
}

// answered is what a reply means.
func answered(r broker.SagaReply) activities.SagaResult {
	switch r.Outcome {
	case stepend.Done:
		return done(nil)
	case stepend.Refused:
		return refused(r.Reason)
	case stepend.Blocked:
		return blocked(r.Reason)
	}
	class := r.Class
	if class == "" {
		class = holdfast.ClassError
	}
	return failedAs(class, r.Reason)
}

// call publishes a call, and waits for its reply. Without a reply it returns the
// outcome.
func (r *Runner) call(ctx context.Context, c *program,
	s activities.SagaStep, topic string, undo bool) (*broker.SagaReply, activities.SagaResult) {
	m, err := message(ctx, c, s, topic)
	if err != nil {
		return nil, nothing(failed(ctx, err))
	}
	m.Headers = r.Trace.Headers(ctx, s.Saga.Trace)
	call := broker.SagaCall{Saga: s.Saga.ID, Workflow: s.Saga.Workflow, Group: s.Saga.Group, Step: s.Step.Name,
		Undo: undo, Cause: s.Cause, Again: s.Again, Token: s.Token, Topic: topic, Content: s.Saga.Content}
	call.ReplyTo, call.Replies = r.Calls.ReplyTo(s.Saga.Group)
	m.ID = call.MessageID()
	if m, err = r.Box.Message(ctx, m); err != nil {
		return nil, nothing(excused(ctx, err))
	}
	if s.Wait <= 0 {
		return nil, r.publish(ctx, call, m)
	}
	came, forget := r.Waiters.expect(call, s.Untokened) // before anybody can reply
	defer forget()
	if out := r.publish(ctx, call, m); out.Outcome.Kind != core.OutcomePending || out.Outcome.Error != "" {
		return nil, out
	}
	timer := time.NewTimer(s.Wait)
	defer timer.Stop()
	select {
	case <-came:
	case <-timer.C:
	case <-ctx.Done():
	}
	out := pending("")
	if s.Look && r.Waiting != nil && !arrived(came) {
		out.Waits = r.Waiting(ctx, topic)
	}
	if reply := forget(); reply != nil { // it may have come just now
		return reply, activities.SagaResult{}
	}
	return nil, out
}

func arrived(came <-chan struct{}) bool {
	select {
	case <-came:
		return true
	default:
		return false
	}
}

// message makes what the participant gets.
func message(ctx context.Context, c *program, s activities.SagaStep, topic string) (holdfast.Message, error) {
	var body json.RawMessage
	err := guard.Call(func() (err error) {
		body, err = c.Body(ctx, s.Step.Name, s.Data)
		return err
	})
	if err != nil {
		return holdfast.Message{}, err
	}
	if len(body) > holdfast.MaxBody {
		return holdfast.Message{}, fmt.Errorf("%w: the message to %s has %d bytes, the limit is %d: send a reference",
			holdfast.ErrTooLarge, topic, len(body), holdfast.MaxBody)
	}
	return holdfast.Message{Topic: topic, Key: s.Saga.Key, ContentType: "application/json", Body: body}, nil
}

// publish publishes the call. What went wrong on the way may go better when the
// saga asks again: so the reply is pending then, too, with the reason.
func (r *Runner) publish(ctx context.Context, call broker.SagaCall, m holdfast.Message) activities.SagaResult {
	within := ctx
	if deadline, bounded := ctx.Deadline(); bounded { // leave time to say so
		var cancel context.CancelFunc
		within, cancel = context.WithDeadline(ctx, deadline.Add(-min(time.Second, time.Until(deadline)/4)))
		defer cancel()
	}
	err := r.Calls.PublishSagaCall(within, call, m)
	switch {
	case err == nil:
		return pending("")
	case broker.Unsent(err):
		return nothing(failed(ctx, err))
	case errors.Is(err, holdfast.ErrUnroutable):
		return pending("no participant is bound to topic " + m.Topic + ": start it")
	case holdfast.IsPermanent(err), errors.Is(err, holdfast.ErrInvalid), errors.Is(err, holdfast.ErrTooLarge):
		return failed(ctx, err)
	}
	out := pending(err.Error())
	if blame.Of(err) == blame.Surroundings {
		out.Waits = &activities.SagaWaits{Who: "RabbitMQ", Reason: clipped(err.Error())}
	}
	return out
}
