package broker

import (
	"fmt"
	"maps"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

// Notice is what a compensation notice says beside the message that it is about.
type Notice struct {
	// Of is the ID of the message that was compensated.
	Of string
	// Topic is that message's topic.
	Topic string
	// Failure says which consumer failed on it and why: Consumer, Class and
	// Reason.
	Failure holdfast.Failure
}

func noticeable(d *holdfast.DeadLetter) error {
	n := len(d.Message.Topic) + len(holdfast.CompensatedSuffix)
	switch {
	case d.Message.Topic == "":
		return fmt.Errorf("%w: the message has no topic", holdfast.ErrInvalid)
	case n > maxText:
		return fmt.Errorf("%w: its topic would have %d bytes with %q, AMQP's limit is %d: choose a shorter topic", holdfast.ErrInvalid, n, holdfast.CompensatedSuffix, maxText)
	case d.Kept != "":
		return fmt.Errorf("%w: only the beginning of its %d bytes is in the workflow, the whole message is in the queue %s", holdfast.ErrTooLarge, d.Size, d.Kept)
	}
	return nil
}

func notice(d *holdfast.DeadLetter) amqp.Publishing {
	m := d.Message
	m.ID = letterIDOf(d.ID + holdfast.CompensatedSuffix)
	m.Topic += holdfast.CompensatedSuffix
	msg := encodeMessage(d.Group, d.TxID, m)
	msg.ContentType, msg.ContentEncoding = contentTypeOf(d), original(d.Envelope).ContentEncoding
	maps.DeleteFunc(msg.Headers, func(name string, _ any) bool { return len(name) > maxShort })
	cut(msg.Headers)
	maps.DeleteFunc(msg.Headers, func(name string, value any) bool {
		return (name == headerTx || name == headerGroup) && value == "" // a foreign publisher's
	})
	msg.Headers[headerKind] = kindCompensated
	msg.Headers[headerOf] = d.ID
	msg.Headers[headerOfConsumer] = d.Failure.Consumer
	msg.Headers[headerOfReason] = clip(d.Failure.Reason, maxReason)
	msg.Headers[headerOfClass] = string(d.Failure.Class)
	return msg
}

// decodeNotice returns what a compensation notice says, nil for any other
// message. topic is the delivery's own.
func decodeNotice(d *amqp.Delivery, topic string) (*Notice, error) {
	if headerText(d.Headers[headerKind]) != kindCompensated {
		return nil, nil
	}
	n := &Notice{Of: headerText(d.Headers[headerOf]), Failure: holdfast.Failure{
		Consumer: headerText(d.Headers[headerOfConsumer]),
		Class:    knownClass(headerText(d.Headers[headerOfClass])),
		Reason:   headerText(d.Headers[headerOfReason]),
	}}
	var ok bool
	if n.Topic, ok = strings.CutSuffix(topic, holdfast.CompensatedSuffix); !ok || n.Topic == "" || n.Of == "" {
		return nil, malformed("compensation notice on %q: want the ending %q and the header %s", clip(topic, maxText), holdfast.CompensatedSuffix, headerOf)
	}
	return n, nil
}
