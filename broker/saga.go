package broker

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/holdfastmq/holdfast"
)

// SagaCall is what a saga's message to a participant says beside its body. The
// message's ID is made of Saga, Step and Undo, and is the same each time.
type SagaCall struct {
	// Saga is the saga's ID, Workflow the workflow that waits for the reply, Group
	// its producer group.
	Saga, Workflow, Group string
	// Step is the step's name.
	Step string
	// Undo says that the step is to be undone; Cause is why.
	Undo  bool
	Cause string
	// Again says that a remembered refusal does not count.
	Again bool
	// ReplyTo is the queue that the reply is wanted in; if it is not there any
	// more, Replies, which is durable.
	ReplyTo, Replies string
}

// SagaReply is a participant's answer to a [SagaCall].
type SagaReply struct {
	// Saga, Workflow, Step and Undo are the call's.
	Saga     string `json:"saga"`
	Workflow string `json:"workflow"`
	Step     string `json:"step"`
	Undo     bool   `json:"undo,omitempty"`
	// Outcome is "done", "refused", "failed" or "blocked".
	Outcome string `json:"outcome"`
	// Class and Reason say why it was refused or failed.
	Class  holdfast.ErrorClass `json:"class,omitempty"`
	Reason string              `json:"reason,omitempty"`
	// Result is what the participant answers, in JSON.
	Result json.RawMessage `json:"result,omitempty"`
	// Participant is who answers.
	Participant string `json:"participant,omitempty"`
}

// PublishSagaCall publishes m, of which Topic, Key, ContentType, Headers and Body
// count, to the topics exchange and returns once RabbitMQ has confirmed it.
func (b *Broker) PublishSagaCall(ctx context.Context, call SagaCall, m holdfast.Message) error {
	return errors.ErrUnsupported
}

// PublishSagaReply publishes a reply to call and returns once RabbitMQ has
// confirmed it.
func (b *Broker) PublishSagaReply(ctx context.Context, call SagaCall, r SagaReply) error {
	return errors.ErrUnsupported
}

// ReplyQueue is the name of the durable queue of the replies to a producer
// group's sagas, InstanceReplyQueue that of one process's own.
func (b *Broker) ReplyQueue(group string) string { return b.o.Prefix + ".replies." + group }

// InstanceReplyQueue is the name of the queue of one process's replies. It lives
// as long as that process consumes it.
func (b *Broker) InstanceReplyQueue(group string) string {
	return b.ReplyQueue(group) + "." + b.o.Name
}

// ConsumeReplies declares the two reply queues of group and consumes both, until
// ctx is done. handle may be called from several goroutines; nil acknowledges,
// after an error the reply comes again.
func (b *Broker) ConsumeReplies(ctx context.Context, group string, handle func(context.Context, SagaReply) error) error {
	return errors.ErrUnsupported
}
