package wire

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

// Noticeable says why no compensation notice can be published for a dead letter.
func Noticeable(d *holdfast.DeadLetter) error {
	n := len(d.Message.Topic) + len(holdfast.CompensatedSuffix)
	switch {
	case d.Message.Topic == "":
		return fmt.Errorf("%w: the message has no topic", holdfast.ErrInvalid)
	case n > MaxText:
		return fmt.Errorf("%w: its topic would have %d bytes with %q, AMQP's limit is %d: choose a shorter topic",
			holdfast.ErrInvalid, n, holdfast.CompensatedSuffix, MaxText)
	case d.Kept != "":
		return fmt.Errorf("%w: only the beginning of its %d bytes is in the workflow, the whole message is in the "+
			"queue %s", holdfast.ErrTooLarge, d.Size, d.Kept)
	}
	return nil
}

// EncodeNotice makes the compensation notice for a dead letter.
func EncodeNotice(d *holdfast.DeadLetter) amqp.Publishing {
	m := d.Message
	m.ID = letterIDOf(d.ID + holdfast.CompensatedSuffix)
	m.Topic += holdfast.CompensatedSuffix
	m.TTL, m.ReplyTo = 0, "" // a notice is for everybody who has the message, however late
	msg, e := EncodeMessage(d.Group, d.TxID, m), original(d.Envelope)
	msg.ContentType, msg.ContentEncoding = contentTypeOf(d), e.ContentEncoding
	msg.Type, msg.CorrelationId, msg.AppId, msg.Priority = e.Type, e.CorrelationID, e.AppID, e.Priority
	maps.DeleteFunc(msg.Headers, func(name string, _ any) bool { return len(name) > MaxShort })
	cut(msg.Headers)
	maps.DeleteFunc(msg.Headers, func(name string, value any) bool {
		return (name == HeaderTx || name == HeaderGroup) && value == "" // a foreign publisher's
	})
	msg.Headers[HeaderKind] = KindCompensated
	msg.Headers[HeaderOf] = d.ID
	msg.Headers[HeaderOfConsumer] = d.Failure.Consumer
	msg.Headers[HeaderOfReason] = Clip(d.Failure.Reason, MaxReason)
	msg.Headers[HeaderOfClass] = string(d.Failure.Class)
	return msg
}

// DecodeNotice returns what a compensation notice says, nil for any other
// message. topic is the delivery's own.
func DecodeNotice(d *amqp.Delivery, topic string) (*Notice, error) {
	if HeaderText(d.Headers[HeaderKind]) != KindCompensated {
		return nil, nil
	}
	n := &Notice{Of: HeaderText(d.Headers[HeaderOf]), Failure: holdfast.Failure{
		Consumer: HeaderText(d.Headers[HeaderOfConsumer]),
		Class:    knownClass(HeaderText(d.Headers[HeaderOfClass])),
		Reason:   HeaderText(d.Headers[HeaderOfReason]),
	}}
	var ok bool
	if n.Topic, ok = strings.CutSuffix(topic, holdfast.CompensatedSuffix); !ok || n.Topic == "" || n.Of == "" {
		return nil, Malformed("compensation notice on %q: want the ending %q and the header %s", Clip(topic, MaxText),
			holdfast.CompensatedSuffix, HeaderOf)
	}
	return n, nil
}
