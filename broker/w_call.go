package broker

import (
	"fmt"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

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
	// more, Replies, which is durable. A call is published with Replies empty for
	// [Broker.ReplyQueue]; ReplyTo may be empty.
	ReplyTo, Replies string
	// Token is repeated in the reply, by which the saga knows that it is one to this
	// call; at most 255 bytes, and empty in calls of older versions.
	Token string
	// Content is a digest of what the saga was started with, by which the participant
	// tells another use of its key; at most 255 bytes, and empty in calls of older
	// versions.
	Content string
	// Topic is the routing key that the call was published with. Only a delivery has
	// it.
	Topic string
}

// maxSagaID is how long the ID of a saga or of a workflow may be, in bytes; it is
// Temporal's limit.
const maxSagaID = 1000

// callSpace is the namespace of the IDs of calls.
var callSpace = uuid.MustParse("8f0c6a54-6f2e-4c1b-9a57-5d1f2f6f0b3a")

func (c *SagaCall) op() string {
	if c.Undo {
		return opUndo
	}
	return opDo
}

// messageID is the call's, however often it is published.
func (c *SagaCall) messageID() string {
	return uuid.NewSHA1(callSpace, []byte(c.Saga+"\x00"+c.Step+"\x00"+c.op())).String()
}

func (c *SagaCall) String() string {
	return fmt.Sprintf("call (%s) of the saga %s, step %s", c.op(), c.Saga, c.Step)
}

// problem says what is wrong with a call, in the words of the wire format.
func (c *SagaCall) problem(prefix string) string {
	for _, f := range []struct {
		header, value string
		limit         int
	}{
		{headerSaga, c.Saga, maxSagaID},
		{headerWorkflow, c.Workflow, maxSagaID},
		{headerStep, c.Step, maxText},
	} {
		if !plainID(f.value, f.limit) {
			return fmt.Sprintf("%s is %q: want 1 to %d bytes of text without control characters", f.header, clip(f.value, 128), f.limit)
		}
	}
	if c.Token != "" && !plainID(c.Token, maxText) {
		return fmt.Sprintf("%s is %q: want at most %d bytes of text without control characters", headerToken, clip(c.Token, 128), maxText)
	}
	if c.Content != "" && !plainID(c.Content, maxText) {
		return fmt.Sprintf("%s is %q: want at most %d bytes of text without control characters", headerContent, clip(c.Content, 128), maxText)
	}
	if groupOfReplies(prefix, c.Replies) == "" {
		return fmt.Sprintf("%s is %q: want %s.replies. and the producer group", headerReplies, clip(c.Replies, maxText), prefix)
	}
	return ""
}

func encodeCall(c *SagaCall, m holdfast.Message) amqp.Publishing {
	msg := encodeMessage(c.Group, "", m)
	h := msg.Headers
	delete(h, headerTx) // it belongs to no transaction
	h[headerSaga], h[headerWorkflow], h[headerStep], h[headerStepOp], h[headerReplies] = c.Saga, c.Workflow, c.Step, c.op(), c.Replies
	if c.Cause != "" {
		h[headerCause] = plainText(c.Cause, maxReason)
	}
	if c.Again {
		h[headerAgain] = "1"
	}
	if c.Token != "" {
		h[headerToken] = c.Token
	}
	if c.Content != "" {
		h[headerContent] = c.Content
	}
	msg.ReplyTo = c.ReplyTo
	return msg
}

// decodeCall returns what a saga's call says, nil for any other message.
func decodeCall(prefix string, d *amqp.Delivery) (*SagaCall, error) {
	text := func(name string) string { return headerText(d.Headers[name]) }
	if _, ok := d.Headers[headerSaga]; !ok {
		return nil, nil
	}
	c := &SagaCall{Saga: text(headerSaga), Workflow: text(headerWorkflow), Group: text(headerGroup), Step: text(headerStep),
		Cause: plainText(text(headerCause), maxReason), Again: text(headerAgain) == "1", ReplyTo: d.ReplyTo, Replies: text(headerReplies),
		Token: text(headerToken), Content: text(headerContent)}
	_, topic := publishedTo(d)
	c.Topic = clip(topic, maxText)
	switch op := text(headerStepOp); op {
	case opDo:
	case opUndo:
		c.Undo = true
	default:
		return nil, malformed("call of a saga: %s is %q: want %s or %s", headerStepOp, clip(op, 64), opDo, opUndo)
	}
	if problem := c.problem(prefix); problem != "" {
		return nil, malformed("call of a saga: %s", problem)
	}
	if validGroup(c.Group) != nil {
		return nil, malformed("call of a saga: %s is %q: want the producer group", headerGroup, clip(c.Group, maxText))
	}
	return c, nil
}
