package sagarun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/internal/stepend"
	"github.com/holdfastmq/holdfast/internal/telemetry"
)

// Replies sends participants' replies.
type Replies interface {
	// PublishSagaReply returns nil once the reply is stored. After an error that
	// wraps [holdfast.ErrInvalid] or [holdfast.ErrTooLarge] it never will be.
	PublishSagaReply(ctx context.Context, call broker.SagaCall, r broker.SagaReply) error
}

// Participation is what a participant does, with tx.
type Participation func(ctx context.Context, tx *gorm.DB, m holdfast.Message) (result any, err error)

// Participant does one kind of step. Its methods may be called from many
// goroutines.
type Participant struct {
	// Name is its name, Topic and UndoTopic are what it hears.
	Name, Topic, UndoTopic string
	// Do does the step; Undo, which may be nil, undoes it.
	Do, Undo Participation
	// UndoUncertain has the Undo run also where the Do was never committed.
	UndoUncertain bool
	// DB is its database, which has the step rows.
	DB *gorm.DB
	// Replies sends its replies.
	Replies Replies
	// Box opens calls and seals results; nil: neither.
	Box *seal.Box
	// Trace has replies carry the place in the trace of their call; nil: they do not.
	Trace *telemetry.Tracer
}

// Handle handles a delivery: the step row and what it is about are committed, then
// the reply is stored, then it returns nil. It is the Handle of a
// [broker.Subscription].
func (p *Participant) Handle(ctx context.Context, d broker.Delivery) error {
	if err := p.check(d); err != nil {
		return holdfast.Permanent(err)
	}
	var err error
	if d.Message, err = p.Box.OpenOwn(ctx, d.Message); err != nil {
		return broker.Excuse(err)
	}
	reply, err := p.answer(ctx, d)
	if err != nil {
		return err
	}
	if reply.Trace = p.Trace.Place(ctx); reply.Trace.Parent == "" {
		reply.Trace = holdfast.TraceOf(d.Message.Headers)
	}
	if err := p.Replies.PublishSagaReply(ctx, *d.Saga, reply); err != nil {
		return unsent(err)
	}
	fault.Point(fault.SagaReplyBeforeAck)
	return nil
}

// check finds messages that this participant cannot act on.
func (p *Participant) check(d broker.Delivery) error {
	topic := p.Topic
	switch {
	case d.Saga == nil:
		return fmt.Errorf("%w: message %s to %s is no saga's, and participant %s acts only for sagas: "+
			"take it with a Consumer", holdfast.ErrInvalid, d.Message.ID, d.Message.Topic, p.Name)
	case d.Saga.Undo:
		topic = p.UndoTopic
	}
	if d.Message.Topic != topic {
		return fmt.Errorf("%w: saga %s asks on topic %s to %s its step %s, but participant %s does that on %q: "+
			"see the topics of the saga's step", holdfast.ErrInvalid,
			d.Saga.Saga, d.Message.Topic, doing(d.Saga), d.Saga.Step, p.Name, topic)
	}
	if seal.IsSealed(d.Message) && d.Message.ID != d.Saga.MessageID() { // its body is that of another call
		return fmt.Errorf("%w: the call of saga %s to %s its step %s is message %s, which is encrypted for another call",
			holdfast.ErrMalformed, d.Saga.Saga, doing(d.Saga), d.Saga.Step, d.Message.ID)
	}
	return nil
}

func doing(call *broker.SagaCall) string {
	if call.Undo {
		return "undo"
	}
	return "do"
}

// answer acts, unless that was done before, and says what is true of the step.
func (p *Participant) answer(ctx context.Context, d broker.Delivery) (broker.SagaReply, error) {
	reply := p.reply(d.Saga)
	if d.Saga.Undo {
		ran, err := p.undo(ctx, d)
		if reply.Outcome = stepend.Done; !ran {
			reply.Outcome, reply.Reason = stepend.Blocked, "its Do has no row in the participant's database: no Undo was run"
		}
		return reply, err
	}
	res, err := barrier.DoStepGiven(ctx, p.DB, d.Saga.Saga, d.Saga.Step, p.claim(d), d.Saga.Again, nil,
		func(ctx context.Context, tx *gorm.DB) ([]byte, error) {
			v, err := p.Do(ctx, tx, d.Message)
			if err != nil {
				return nil, err
			}
			return p.encode(ctx, d.Saga, v)
		})
	if err != nil {
		return reply, broker.Excuse(err)
	}
	reply.Outcome, reply.Reason, reply.Result = res.Outcome, clipped(res.Reason), res.Result
	return reply, nil
}

// claim says whom the step row of a call is for.
func (p *Participant) claim(d broker.Delivery) barrier.StepClaim {
	return barrier.StepClaim{Content: d.Saga.Content, By: p.Topic}
}

// undo undoes the step, and reports whether there was something to undo.
func (p *Participant) undo(ctx context.Context, d broker.Delivery) (ran bool, err error) {
	res, err := barrier.UndoStepGiven(ctx, p.DB, d.Saga.Saga, d.Saga.Step, p.claim(d), d.Saga.Cause, p.UndoUncertain,
		func(ctx context.Context, tx *gorm.DB, _ barrier.StepDid) ([]byte, error) {
			if p.Undo == nil {
				return nil, nil
			}
			_, err := p.Undo(ctx, tx, d.Message)
			return nil, mayNotRefuse(err)
		})
	return res.Ran, broker.Excuse(err)
}

// encode makes the JSON of a result, sealed for the saga; nil is none.
func (p *Participant) encode(ctx context.Context, call *broker.SagaCall, v any) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	out, err := json.Marshal(v)
	if err != nil {
		return nil, holdfast.Permanent(fmt.Errorf("what participant %s answers is no JSON: %w", p.Name, err))
	}
	if out, err = p.Box.Value(ctx, seal.Result, call.Saga, call.Step, out); err != nil {
		return nil, err
	}
	if len(out) > broker.MaxSagaResult {
		return nil, holdfast.Permanent(fmt.Errorf("%w: what participant %s answers has %d bytes of JSON, the limit is %d: "+
			"answer a reference", holdfast.ErrTooLarge, p.Name, len(out), broker.MaxSagaResult))
	}
	return out, nil
}

// GiveUp tells the saga that the participant has given up. It is the GiveUp of a
// [broker.Subscription]. A delivery that is not a saga's call, or whose reply can never
// be sent, becomes a dead letter: then taken is false.
func (p *Participant) GiveUp(ctx context.Context, d broker.Delivery, f holdfast.Failure) (taken bool, err error) {
	if d.Saga == nil {
		return false, nil
	}
	reply := p.reply(d.Saga)
	reply.Outcome, reply.Class, reply.Trace = stepend.Failed, f.Class, holdfast.TraceOf(d.Message.Headers)
	reply.Reason = clipped(fmt.Sprintf("participant %s gave up at attempt %d: %s", p.Name, f.Attempts, f.Reason))
	if err := p.Replies.PublishSagaReply(ctx, *d.Saga, reply); err != nil {
		if never(err) {
			return false, nil
		}
		return false, err
	}
	return true, nil
}

func (p *Participant) reply(call *broker.SagaCall) broker.SagaReply {
	return broker.SagaReply{Saga: call.Saga, Workflow: call.Workflow,
		Step: call.Step, Undo: call.Undo, Participant: p.Name,
		Token: call.Token, Topic: call.Topic}
}

// mayNotRefuse makes a refusal a permanent error: an Undo has no business to.
func mayNotRefuse(err error) error {
	if reason, no := holdfast.IsRefused(err); no {
		return holdfast.Permanent(fmt.Errorf("an Undo must not refuse: %s", reason))
	}
	return err
}

// unsent is the error of a delivery whose reply could not be sent: mostly no fault
// of the message.
func unsent(err error) error {
	if never(err) {
		return holdfast.Permanent(err)
	}
	return broker.Wait(err)
}

// never reports whether a reply that could not be sent never will be. Where its queue
// does not exist, the call may be anybody's: what was done for it is a dead letter,
// and a saga asks again.
func never(err error) bool {
	return errors.Is(err, holdfast.ErrInvalid) || errors.Is(err, holdfast.ErrTooLarge) ||
		errors.Is(err, holdfast.ErrUnroutable)
}
