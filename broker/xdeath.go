package broker

import (
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

// xDeath is what RabbitMQ says about its latest dropping of a message.
type xDeath struct {
	queue, reason, exchange, key string
	at                           time.Time
}

// lastDeath reads the header x-death, which lists the latest first. RabbitMQ writes
// its own entry before whatever the publisher may have written, but newer versions
// know no order within a millisecond: so the entry has to be of the kind of queue
// that leads to where the delivery came from. Other headers about deaths may be the
// publisher's, and do not count.
func lastDeath(prefix string, d *amqp.Delivery) (xDeath, bool) {
	list, _ := d.Headers["x-death"].([]any)
	delayed := d.Exchange == prefix+retryName
	var found amqp.Table
	for _, v := range list {
		entry, ok := v.(amqp.Table)
		if !ok {
			continue
		}
		if found == nil {
			found = entry
		}
		if strings.HasPrefix(headerText(entry["queue"]), prefix+retryName+".") == delayed {
			found = entry
			break
		}
	}
	if found == nil {
		return xDeath{}, false
	}
	death := xDeath{queue: headerText(found["queue"]), reason: headerText(found["reason"]), exchange: headerText(found["exchange"])}
	death.at, _ = found["time"].(time.Time)
	if keys, ok := found["routing-keys"].([]any); ok && len(keys) > 0 {
		death.key = headerText(keys[0])
	}
	return death, death.queue != ""
}

// droppedDeath says in words why RabbitMQ dropped it, and whose it was.
func droppedDeath(prefix string, d *amqp.Delivery, x xDeath, now time.Time) holdfast.DeadLetter {
	l := holdfast.DeadLetter{Queue: nameText(x.queue), Failure: attemptsOf(d.Headers)}
	l.Failure.Class = holdfast.ClassDropped
	l.Failure.Attempts += number(d.Headers[headerLost])
	if l.Failure.At = writableTime(x.at); x.at.IsZero() {
		l.Failure.At = writableTime(now)
	}
	// A retry comes back under the name of its consumer's queue. If it comes here
	// from its delay queue, there was none of that name.
	if strings.HasPrefix(x.queue, prefix+".retry.") {
		for _, queue := range []string{d.RoutingKey, x.key} {
			if consumer := ownerOf(prefix, queue); consumer != "" {
				l.Queue, l.Failure.Consumer = prefix+".q."+consumer, consumer
				l.Failure.Reason = fmt.Sprintf("the consumer's queue %s is gone: the message waited in %s for its next attempt", queue, x.queue)
				if last := headerText(d.Headers[headerReason]); last != "" {
					l.Failure.Reason += "; the last error was: " + last
				}
				return l
			}
		}
	}
	l.Failure.Reason = "RabbitMQ dropped it from " + l.Queue + " because " + whyDropped(x.reason)
	if l.Failure.Consumer = ownerOf(prefix, x.queue); l.Failure.Consumer != "" {
		l.Queue = prefix + ".q." + l.Failure.Consumer
	}
	return l
}

// whyDropped explains RabbitMQ's words for its limits.
func whyDropped(reason string) string {
	switch reason {
	case "expired":
		return "it waited there longer than its time to live (the message's expiration, or message-ttl in a policy for the queue)"
	case "maxlen":
		return "the queue was full (max-length or max-length-bytes in a policy for it)"
	case "rejected":
		return "a consumer refused it for good (basic.reject or basic.nack without requeue)"
	case "delivery_limit":
		return "it was delivered more often than the queue's delivery-limit allows"
	}
	return fmt.Sprintf("of its rule %q", reason)
}

// consumerOf returns the name of the consumer whose queue it is, if it is one's.
func consumerOf(prefix, queue string) string {
	name, ok := strings.CutPrefix(queue, prefix+".q.")
	if !ok {
		return ""
	}
	return consumerName(name)
}

// ownerOf returns the name of the consumer whose queue it is, or whose queue of
// suspects.
func ownerOf(prefix, queue string) string {
	if name, ok := strings.CutPrefix(queue, prefix+".alone."); ok {
		return consumerName(name)
	}
	return consumerOf(prefix, queue)
}

func deadQueue(prefix string) string { return prefix + deadName }
