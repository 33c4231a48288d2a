package wire

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
	// the broker's ReplyQueue; ReplyTo may be empty.
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

// MessageID is the call's, however often it is published.
func (c *SagaCall) MessageID() string {
	return uuid.NewSHA1(callSpace, []byte(c.Saga+"\x00"+c.Step+"\x00"+c.op())).String()
}

func (c *SagaCall) String() string {
	return fmt.Sprintf("call (%s) of the saga %s, step %s", c.op(), c.Saga, c.Step)
}

// Problem says what is wrong with a call, in the words of the wire format.
func (c *SagaCall) Problem(prefix string) string {
	for _, f := range []struct {
		header, value string
		limit         int
	}{
		{HeaderSaga, c.Saga, maxSagaID},
		{HeaderWorkflow, c.Workflow, maxSagaID},
		{HeaderStep, c.Step, MaxText},
	} {
		if !plainID(f.value, f.limit) {
			return fmt.Sprintf("%s is %q: want 1 to %d bytes of text without control characters", f.header,
				Clip(f.value, 128), f.limit)
		}
	}
	if c.Token != "" && !plainID(c.Token, MaxText) {
		return fmt.Sprintf("%s is %q: want at most %d bytes of text without control characters", headerToken,
			Clip(c.Token, 128), MaxText)
	}
	if c.Content != "" && !plainID(c.Content, MaxText) {
		return fmt.Sprintf("%s is %q: want at most %d bytes of text without control characters", headerContent,
			Clip(c.Content, 128), MaxText)
	}
	if GroupOfReplies(prefix, c.Replies) == "" {
		return fmt.Sprintf("%s is %q: want %s.replies. and the producer group", HeaderReplies, Clip(c.Replies, MaxText),
			prefix)
	}
	return ""
}

// EncodeCall makes a saga's call.
func EncodeCall(c *SagaCall, m holdfast.Message) amqp.Publishing {
	msg := EncodeMessage(c.Group, "", m)
	h := msg.Headers
	delete(h, HeaderTx) // it belongs to no transaction
	h[HeaderSaga], h[HeaderWorkflow], h[HeaderStep], h[HeaderStepOp], h[HeaderReplies] = c.Saga, c.Workflow, c.Step,
		c.op(), c.Replies
	if c.Cause != "" {
		h[HeaderCause] = PlainText(c.Cause, MaxReason)
	}
	if c.Again {
		h[HeaderAgain] = "1"
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

// DecodeCall returns what a saga's call says, nil for any other message.
func DecodeCall(prefix string, d *amqp.Delivery) (*SagaCall, error) {
	text := func(name string) string { return HeaderText(d.Headers[name]) }
	if _, ok := d.Headers[HeaderSaga]; !ok {
		return nil, nil
	}
	c := &SagaCall{Saga: text(HeaderSaga), Workflow: text(HeaderWorkflow), Group: text(HeaderGroup),
		Step:  text(HeaderStep),
		Cause: PlainText(text(HeaderCause), MaxReason), Again: text(HeaderAgain) == "1", ReplyTo: d.ReplyTo,
		Replies: text(HeaderReplies),
		Token:   text(headerToken), Content: text(headerContent)}
	_, topic := PublishedTo(d)
	c.Topic = Clip(topic, MaxText)
	switch op := text(HeaderStepOp); op {
	case opDo:
	case opUndo:
		c.Undo = true
	default:
		return nil, Malformed("call of a saga: %s is %q: want %s or %s", HeaderStepOp, Clip(op, 64), opDo, opUndo)
	}
	if problem := c.Problem(prefix); problem != "" {
		return nil, Malformed("call of a saga: %s", problem)
	}
	if ValidGroup(c.Group) != nil {
		return nil, Malformed("call of a saga: %s is %q: want the producer group", HeaderGroup, Clip(c.Group, MaxText))
	}
	return c, nil
}
