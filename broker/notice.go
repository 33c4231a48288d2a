package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/fault"
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

// The headers of a compensation notice. Those of its own retries are others.
const (
	headerOf         = "holdfast-of"
	headerOfConsumer = "holdfast-of-consumer"
	headerOfReason   = "holdfast-of-reason"
	headerOfClass    = "holdfast-of-error-class"
)

// PublishCompensated tells those who want the notices of d's topic
// ([Subscription].Notices), and the consumer that gave it up, that the message was
// compensated, and returns once RabbitMQ has confirmed it. That nobody listens is no error; it
// may be stored more than once, with the same message-id. What can never be published is refused with
// [holdfast.ErrInvalid] or [holdfast.ErrTooLarge], marked by
// [holdfast.Permanent].
func (b *Broker) PublishCompensated(ctx context.Context, d holdfast.DeadLetter) error {
	if err := noticeable(&d); err != nil {
		return holdfast.Permanent(fmt.Errorf("compensation notice for %s: %w", d.ID, err))
	}
	ctx, cancel := b.timeout(ctx)
	defer cancel()
	msg := notice(&d)
	squeeze(&msg, b.pubLink.limits().room())
	ps := []publication{{exchange: b.NoticesExchange(), key: d.Message.Topic, msg: msg}}
	if b.o.RollingUpgrade { // older versions listen there
		ps = append(ps, publication{exchange: b.TopicsExchange(), key: d.Message.Topic + holdfast.CompensatedSuffix, msg: msg})
	}
	if consumerOf(b.o.Prefix, d.Queue) != "" {
		// A copy of the message may still be on its way there.
		ps = append(ps, publication{exchange: b.queuesExchange(), key: d.Queue, mandatory: b.o.RollingUpgrade, old: b.o.RollingUpgrade, msg: msg})
	}
	if err := errors.Join(b.pub.all(ctx, ps, fault.NotifyBeforeConfirm)...); err != nil {
		return fmt.Errorf("compensation notice for %s: %w", d.ID, err)
	}
	return nil
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

// misled says why a message is not handled that came to a consumer which does not
// listen to its topic, as far as somebody may have wanted that: by a claim to be a
// compensation notice, by a binding that is left of those for notices, or by a
// header CC, of which RabbitMQ does not ask whether the publisher may.
func (c *consumer) misled(d *amqp.Delivery) error {
	exchange, key := publishedTo(d)
	claims := headerText(d.Headers[headerClaim]) == kindCompensated
	if exchange == "" {
		if claims {
			return malformed("it claims to be a compensation notice, but somebody has put it into the queue %s: notices come through the exchange %s; if processes of an older version still run, set RollingUpgrade",
				c.queue, c.b.NoticesExchange())
		}
		return nil
	}
	noticed := claims || strings.HasSuffix(key, holdfast.CompensatedSuffix)
	copied := d.Headers["CC"] != nil || d.Headers[headerUser+"CC"] != nil
	if exchange != c.b.TopicsExchange() || !noticed && !copied || listens(c.o.Topics, key) {
		return nil
	}
	if noticed {
		return malformed("consumer %s does not listen to topic %s, to which older versions published compensation notices: remove that binding of its queue; notices come through the exchange %s; if processes of an older version still run, set RollingUpgrade",
			c.o.Name, clip(key, maxText), c.b.NoticesExchange())
	}
	return malformed("consumer %s does not listen to topic %s: the message came by a header CC, which names topics past RabbitMQ's permissions; publish to each topic instead", c.o.Name, clip(key, maxText))
}

// listens reports whether one of the patterns matches a topic.
func listens(patterns []string, topic string) bool {
	words := strings.Split(topic, ".")
	return slices.ContainsFunc(patterns, func(p string) bool { return p == topic || matchWords(strings.Split(p, "."), words) })
}
