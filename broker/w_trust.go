package broker

import (
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A header that commands (a kind, attempts, a policy, a redelivery's number and so
// on) counts only in what Holdfast itself has published, and that is known by the
// exchange through which a delivery came, never by what the message says. Whoever
// may publish to the topics exchange, or to the default one, writes messages, and
// in them only what describes a message counts.

// origin is how a delivery came into the queue that it was taken out of.
type origin int

const (
	fromElsewhere origin = iota // an exchange that is none of ours
	fromTopics                  // the topics exchange
	fromDefault                 // the default exchange: an older version, or whoever may write to it
	fromDropped                 // RabbitMQ took it out of another queue, from which nothing is meant to go on
	fromDelay                   // RabbitMQ took it out of a delay queue, into which a consumer had put it
	fromQueues                  // our exchanges to one queue: put at its end, redelivered, or told to its consumer
	fromHalf                    // our exchange to the half queues
	fromDead                    // our exchange to the dead letters
	fromReplies                 // our exchange to the reply queues
	fromNotices                 // our exchange of compensation notices
	fromChecks                  // our exchange of check-backs
)

// ours reports whether Holdfast published the record, so that its headers count.
func (o origin) ours() bool { return o >= fromDelay }

// trust decides what counts in a delivery.
type trust struct {
	prefix string
	// rolling says that older versions run, whose records come through the default
	// exchange.
	rolling bool
}

// origin is a pure function of the delivery's exchange and, for what RabbitMQ has
// moved, of its header x-death.
func (t trust) origin(d *amqp.Delivery) origin {
	name, ok := strings.CutPrefix(d.Exchange, t.prefix)
	switch {
	case d.Exchange == "":
		if moved(d.Headers) {
			return fromDropped
		}
		return fromDefault
	case !ok:
		return fromElsewhere
	case name == topicsName:
		return fromTopics
	case name == retryName:
		return t.delayed(d)
	case moved(d.Headers):
		// A queue of somebody's dead-letters into an exchange of ours: we never do.
		if name == deadName {
			return fromDropped
		}
		return fromElsewhere
	}
	switch name {
	case queuesName:
		return fromQueues
	case halfName:
		return fromHalf
	case deadName:
		return fromDead
	case repliesName:
		return fromReplies
	case noticesName:
		return fromNotices
	case checksName:
		return fromChecks
	}
	return fromElsewhere
}

// delayed is the origin of what came through the exchange behind the delay queues:
// into those a consumer puts it through the exchange of the same name.
func (t trust) delayed(d *amqp.Delivery) origin {
	if !moved(d.Headers) {
		return fromQueues
	}
	last, ok := lastDeath(t.prefix, d)
	if ok && strings.HasPrefix(last.queue, t.prefix+retryName+".") && last.exchange == last.queue {
		return fromDelay
	}
	return fromDefault
}

// moved reports whether RabbitMQ has taken the message out of another queue; or
// its publisher says so.
func moved(h amqp.Table) bool { return h["x-death"] != nil }

// reached reports whether a dropped delivery says that it had come into the queue
// that dropped it through an exchange of ours. RabbitMQ 3 believes in that what the
// publisher wrote, if he wrote an x-death for that queue: so nothing depends on it
// but what is told of the tries, and which redelivery it was.
func (t trust) reached(d *amqp.Delivery) bool {
	last, ok := lastDeath(t.prefix, d)
	if !ok {
		return false
	}
	via := *d
	via.Exchange, via.Headers = last.exchange, nil
	switch o := t.origin(&via); {
	case o.ours():
		return true
	case o == fromDefault:
		return t.rolling
	}
	return strings.HasPrefix(last.exchange, t.prefix+retryName+".")
}

// count removes the headers of ours for which f is false, and makes a claim of a kind
// other than this one. It copies the headers only if there is such a header.
func count(d *amqp.Delivery, kind string, f func(name string) bool) {
	counts := func(name string, value any) bool {
		if name == headerKind {
			return headerText(value) == kind
		}
		return !strings.HasPrefix(name, headerPrefix) || f(name)
	}
	clean := true
	for name, value := range d.Headers {
		if !counts(name, value) {
			clean = false
			break
		}
	}
	if clean {
		return
	}
	kept := make(amqp.Table, len(d.Headers))
	for name, value := range d.Headers {
		if counts(name, value) {
			kept[name] = value
		}
	}
	if claim := headerText(d.Headers[headerKind]); claim != "" && claim != kind {
		kept[headerClaim] = clip(claim, 64)
	}
	d.Headers = kept
}

// admit removes from a delivery of a consumer's queue what does not count in it. It
// comes before everything else: what is written with a copy later, counts.
func (t trust) admit(d *amqp.Delivery) {
	switch from := t.origin(d); {
	case from.ours():
	case from == fromDefault || from == fromDropped:
		if !t.rolling {
			count(d, "", copied)
		}
	case from == fromTopics:
		kind := ""
		if t.rolling {
			kind = kindCompensated
		}
		notice := kind != "" && headerText(d.Headers[headerKind]) == kind
		count(d, kind, func(name string) bool {
			// RabbitMQ has looked at the routing key: whether he may publish to it.
			return describes(name) && (name != headerTopic || headerText(d.Headers[name]) == d.RoutingKey) || notice && ofNotice(name)
		})
	default:
		count(d, "", describes)
	}
}

// admitHalf is admit for a half queue. It reports whether an op record counts: all
// that a half record can do is to have a transaction checked back.
func (t trust) admitHalf(d *amqp.Delivery) (ours bool) {
	if from := t.origin(d); from == fromHalf || t.rolling && from == fromDefault {
		return true
	}
	kind := headerText(d.Headers[headerKind])
	if kind != kindOp {
		kind = kindHalf
	}
	count(d, kind, func(name string) bool { return copied(name) || ofHalf(name) })
	return false
}

// admitDead is admit for the queue of dead letters, in which anybody's message can
// be: RabbitMQ drops what expires, for example.
func (t trust) admitDead(d *amqp.Delivery) {
	switch from := t.origin(d); {
	case from == fromDead || from == fromDelay || from == fromDefault && t.rolling:
	case from == fromDefault:
		kept := headerText(d.Headers[headerKept]) == deadQueue(t.prefix)+oversizedName
		count(d, kindHalf, func(name string) bool { return ofGivenUp(name) || kept && ofKept(name) })
	case from == fromDropped && t.reached(d):
		count(d, kindHalf, ofRetry)
	default:
		last, _ := lastDeath(t.prefix, d)
		count(d, kindHalf, func(name string) bool {
			if name == headerTopic && last.exchange == t.prefix+topicsName {
				return headerText(d.Headers[name]) == last.key
			}
			return describes(name) || ofHalf(name)
		})
	}
}

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
