package broker

import (
	"context"
	"fmt"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// HandledRecord says that a redelivered message was handled.
type HandledRecord struct {
	// Consumer handled it; empty where it was a half queue's Keeper.
	Consumer string
	// Queue is where it was redelivered to.
	Queue string
	// MessageID is the ID of its [holdfast.DeadLetter].
	MessageID string
	// Copy is that of its [holdfast.DeadLetter].
	Copy string
	// Redelivery is the redelivery's number.
	Redelivery int
	// Late says that [Broker.Postpone] had put it off.
	Late bool
}

// postponed is for how long.
const postponed = 10 * time.Second

// Postpone puts a record off for 10 s and returns once RabbitMQ has confirmed
// that: it then comes again, with Late set. So somebody can act on it at once,
// and still be told if that is lost.
func (b *Broker) Postpone(ctx context.Context, h HandledRecord) error {
	ctx, cancel := b.timeout(ctx)
	defer cancel()
	msg := handledRecord(h.Queue, h.Consumer, h.MessageID, h.Copy, h.Redelivery)
	msg.Headers[headerLate] = "1"
	// No consumer's queue has that name: so it takes the way of those whose
	// consumer is gone, to the queue of dead letters.
	p := publication{exchange: b.RetryQueue(postponed), key: b.DeadQueue(), mandatory: true, repair: true, msg: msg}
	if err := b.pub.one(ctx, &p, ""); err != nil {
		return fmt.Errorf("put off the record that the redelivered message %s was handled: %w", h.MessageID, err)
	}
	return nil
}

// handledRecord makes the record by which a consumer, or a Keeper (no consumer),
// answers a redelivery.
func handledRecord(queue, consumer, messageID, letterCopy string, redelivery int) amqp.Publishing {
	headers := amqp.Table{headerKind: kindHandled, headerVersion: version, headerQueue: queue, headerRedelivery: strconv.Itoa(redelivery)}
	if consumer != "" {
		headers[headerConsumer] = consumer
	}
	setText(headers, headerCopy, letterCopy)
	return amqp.Publishing{MessageId: messageID, Headers: headers}
}

// publishHandled stores a handled record and returns once it is confirmed.
func (b *Broker) publishHandled(ctx context.Context, msg amqp.Publishing) error {
	ctx, cancel := b.timeout(ctx)
	defer cancel()
	p := publication{exchange: b.DeadQueue(), key: b.DeadQueue(), mandatory: true, repair: true, msg: msg}
	if err := b.pub.one(ctx, &p, ""); err != nil {
		return fmt.Errorf("record that the redelivered message %s was handled: %w", msg.MessageId, err)
	}
	return nil
}

// decodeHandled reads a handled record. What is none, or a broken one, is a dead
// letter.
func decodeHandled(prefix string, d *amqp.Delivery) (*HandledRecord, bool) {
	return trust{prefix: prefix}.decodeHandled(d)
}

func (t trust) decodeHandled(d *amqp.Delivery) (*HandledRecord, bool) {
	if headerText(d.Headers[headerKind]) != kindHandled || d.MessageId == "" {
		return nil, false
	}
	prefix := t.prefix
	switch from := t.origin(d); {
	case from == fromDead || from == fromDelay:
	case from == fromDefault && t.rolling:
	default:
		return nil, false
	}
	h := &HandledRecord{
		Consumer:   consumerName(headerText(d.Headers[headerConsumer])),
		Queue:      headerText(d.Headers[headerQueue]),
		MessageID:  letterIDOf(d.MessageId),
		Copy:       copyOfLetter(d.Headers),
		Redelivery: number(d.Headers[headerRedelivery]),
		Late:       headerText(d.Headers[headerLate]) != "",
	}
	if h.Consumer != "" {
		h.Queue = prefix + ".q." + h.Consumer
	}
	return h, h.Redelivery > 0 && (h.Consumer != "" || groupOf(prefix, h.Queue) != "")
}
