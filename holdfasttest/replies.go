package holdfasttest

import (
	"context"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// calls publishes sagas' messages, and has all delivered that waits, before it
// returns: the participant's reply is there by then.
type calls struct{ k *Kit }

// unanswered is the key, in the context of a step, of a function that ends its
// wait for the reply.
type unanswered struct{}

func (c calls) PublishSagaCall(ctx context.Context, call broker.SagaCall, m holdfast.Message) error {
	if err := c.k.broker.PublishSagaCall(ctx, call, m); err != nil {
		return err
	}
	c.k.broker.Deliver(context.WithoutCancel(ctx))
	if noReply, ok := ctx.Value(unanswered{}).(context.CancelFunc); ok {
		noReply() // whoever has the reply, has it; nothing is left to wait for
	}
	return nil
}

func (c calls) ReplyTo(group string) (own, durable string) {
	return c.k.broker.InstanceReplyQueue(group), c.k.broker.ReplyQueue(group)
}

// replies publishes participants' replies, with their faults.
type replies struct{ k *Kit }

func (r replies) PublishSagaReply(ctx context.Context, call broker.SagaCall, reply broker.SagaReply) error {
	k := r.k
	if f := k.strikes(faultLose, call.Step, call.Undo); f != nil {
		return f.err // its delivery is not acknowledged, and comes again
	}
	publish := func() error { return k.broker.PublishSagaReply(ctx, call, reply) }
	if k.strikes(faultReply, call.Step, call.Undo) != nil {
		return nil
	}
	if f := k.strikes(faultDelay, call.Step, call.Undo); f != nil {
		k.after(f.delay, func() {
			if err := k.broker.PublishSagaReply(context.Background(), call, reply); err == nil {
				k.broker.Deliver(context.Background())
			}
		})
		return nil
	}
	if k.strikes(faultRepeat, call.Step, call.Undo) != nil {
		if err := publish(); err != nil {
			return err
		}
	}
	return publish()
}

// reply gives a reply to the step that waits for it, or to the saga's workflow.
func (k *Kit) reply(_ context.Context, r broker.SagaReply) error {
	if k.waiters.Give(r) {
		return nil
	}
	k.signal(r.Workflow, sagas.SignalReply, r.Signal())
	return nil
}
