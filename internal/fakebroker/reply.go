package fakebroker

import (
	"context"
	"fmt"
	"strings"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/stepend"
)

// ReplyQueue is the name of the queue of the replies to a group's sagas.
func (b *Broker) ReplyQueue(group string) string { return b.prefix + ".replies." + group }

// InstanceReplyQueue is the name of the queue of one process's replies.
func (b *Broker) InstanceReplyQueue(group string) string { return b.ReplyQueue(group) + "." + b.name }

// PublishSagaReply puts a reply into the queue that the call names or, if it is
// not there any more, into the group's.
func (b *Broker) PublishSagaReply(_ context.Context, call broker.SagaCall, r broker.SagaReply) error {
	if !strings.HasPrefix(call.Replies, b.ReplyQueue("")) {
		return fmt.Errorf("%w: the call of step %s wants its reply in %q, which is no queue of replies",
			holdfast.ErrInvalid, call.Step, call.Replies)
	}
	switch r.Outcome {
	case stepend.Done, stepend.Refused, stepend.Failed, stepend.Blocked:
	default:
		return fmt.Errorf("%w: the reply of step %s has the outcome %q", holdfast.ErrInvalid, call.Step, r.Outcome)
	}
	if len(r.Result) > broker.MaxSagaResult {
		return fmt.Errorf("%w: the reply of step %s has %d bytes, the limit is %d",
			holdfast.ErrTooLarge, call.Step, len(r.Result), broker.MaxSagaResult)
	}
	r.Saga, r.Workflow, r.Step, r.Undo = call.Saga, call.Workflow, call.Step, call.Undo
	r.Token, r.Topic = call.Token, call.Topic
	q := b.s.declare(call.Replies)
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	if own := b.s.find(call.ReplyTo); own != nil && strings.HasPrefix(call.ReplyTo, b.ReplyQueue("")) {
		q = own
	}
	q.put(waiting{reply: &r})
	return nil
}
