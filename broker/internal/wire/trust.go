package wire

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

// Origin is how a delivery came into the queue that it was taken out of.
type Origin int

const (
	FromElsewhere Origin = iota // an exchange that is none of ours
	FromTopics                  // the topics exchange
	FromDefault                 // the default exchange: an older version, or whoever may write to it
	FromDropped                 // RabbitMQ took it out of another queue, from which nothing is meant to go on
	FromDelay                   // RabbitMQ took it out of a delay queue, into which a consumer had put it
	FromQueues                  // our exchanges to one queue: put at its end, redelivered, or told to its consumer
	FromHalf                    // our exchange to the half queues
	FromSagas                   // the one for sagas' half records
	FromDead                    // our exchange to the dead letters
	FromReplies                 // our exchange to the reply queues
	FromNotices                 // our exchange of compensation notices
	fromChecks                  // our exchange of check-backs
)

// ours reports whether Holdfast published the record, so that its headers count.
func (o Origin) ours() bool { return o >= FromDelay }

// Trust decides what counts in a delivery.
type Trust struct {
	Prefix string
	// rolling says that older versions run, whose records come through the default
	// exchange.
	Rolling bool
	// Check, if not nil, says of control records why their signatures do not count.
	Check Checker
}

// Origin is a pure function of the delivery's exchange and, for what RabbitMQ has
// moved, of its header x-death.
func (t Trust) Origin(d *amqp.Delivery) Origin {
	name, ok := strings.CutPrefix(d.Exchange, t.Prefix)
	switch {
	case d.Exchange == "":
		if moved(d.Headers) {
			return FromDropped
		}
		return FromDefault
	case !ok:
		return FromElsewhere
	case name == TopicsName:
		return FromTopics
	case name == RetryName:
		return t.delayed(d)
	case moved(d.Headers):
		// A queue of somebody's dead-letters into an exchange of ours: we never do.
		if name == DeadName {
			return FromDropped
		}
		return FromElsewhere
	}
	switch name {
	case QueuesName:
		return FromQueues
	case HalfName:
		return FromHalf
	case SagasName:
		return FromSagas
	case DeadName:
		return FromDead
	case RepliesName:
		return FromReplies
	case NoticesName:
		return FromNotices
	case ChecksName:
		return fromChecks
	}
	return FromElsewhere
}

// delayed is the origin of what came through the exchange behind the delay queues:
// into those a consumer puts it through the exchange of the same name.
func (t Trust) delayed(d *amqp.Delivery) Origin {
	if !moved(d.Headers) {
		return FromQueues
	}
	last, ok := lastDeath(t.Prefix, d)
	if ok && strings.HasPrefix(last.queue, t.Prefix+RetryName+".") && last.exchange == last.queue {
		return FromDelay
	}
	return FromDefault
}

// moved reports whether RabbitMQ has taken the message out of another queue; or
// its publisher says so.
func moved(h amqp.Table) bool { return h["x-death"] != nil }

// reached reports whether a dropped delivery says that it had come into the queue
// that dropped it through an exchange of ours. RabbitMQ 3 believes in that what the
// publisher wrote, if he wrote an x-death for that queue: so nothing depends on it
// but what is told of the tries, and which redelivery it was.
func (t Trust) reached(d *amqp.Delivery) bool {
	last, ok := lastDeath(t.Prefix, d)
	if !ok {
		return false
	}
	via := *d
	via.Exchange, via.Headers = last.exchange, nil
	switch o := t.Origin(&via); {
	case o.ours():
		return true
	case o == FromDefault:
		return t.Rolling
	}
	return strings.HasPrefix(last.exchange, t.Prefix+RetryName+".")
}

// count removes the headers of ours for which f is false, and makes a claim of a kind
// other than this one. It copies the headers only if there is such a header.
func count(d *amqp.Delivery, kind string, f func(name string) bool) {
	counts := func(name string, value any) bool {
		if name == HeaderKind {
			return HeaderText(value) == kind
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
	if claim := HeaderText(d.Headers[HeaderKind]); claim != "" && claim != kind {
		kept[HeaderClaim] = Clip(claim, 64)
	}
	d.Headers = kept
}

// Admit removes from a delivery of a consumer's queue what does not count in it. It
// comes before everything else: what is written with a copy later, counts.
//
// Where signatures are required, control records without one are refused: [Refused] tells.
func (t Trust) Admit(d *amqp.Delivery) {
	from := t.Origin(d)
	if from.ours() || d.Headers[HeaderSaga] != nil {
		if why := t.genuine(d); why != nil {
			refuse(d, "", why, copied)
			return
		}
	}
	switch {
	case from.ours():
	case from == FromDefault || from == FromDropped:
		if !t.Rolling {
			count(d, "", copied)
		}
	case from == FromTopics:
		kind := ""
		if t.Rolling {
			kind = KindCompensated
		}
		notice := kind != "" && HeaderText(d.Headers[HeaderKind]) == kind
		count(d, kind, func(name string) bool {
			// RabbitMQ has looked at the routing key: whether he may publish to it.
			return describes(name) && (name != HeaderTopic || HeaderText(d.Headers[name]) == d.RoutingKey) ||
				notice && ofNotice(name)
		})
	default:
		count(d, "", describes)
	}
}

// AdmitWaiting is admit for what is fetched out of a delay queue.
func (t Trust) AdmitWaiting(d *amqp.Delivery) {
	if why := t.genuine(d); why != nil {
		refuse(d, "", why, copied)
	}
}

// Refused says why nothing is to be done with a delivery that was admitted: its signature does
// not count.
func Refused(d *amqp.Delivery) error {
	if why := HeaderText(d.Headers[HeaderRefused]); why != "" {
		return Malformed("%s", Clip(why, MaxReason))
	}
	return nil
}

// AdmitHalf is admit for a half queue. It reports whether an op record counts: all
// that a transaction's half record can do is to have it checked back. Of a saga's, see
// [Trust.MayStart]. Where signatures are required, each record needs one; an error says that
// this one has none that counts.
func (t Trust) AdmitHalf(d *amqp.Delivery) (ours bool, err error) {
	kind := HeaderText(d.Headers[HeaderKind])
	if kind != KindOp {
		kind = KindHalf
	}
	keep := func(name string) bool { return copied(name) || ofHalf(name) }
	if err := t.genuine(d); err != nil {
		refuse(d, kind, err, keep)
		return false, err
	}
	if from := t.Origin(d); from == FromHalf || from == FromSagas || t.Rolling && from == FromDefault {
		return true, nil
	}
	count(d, kind, keep)
	return false, nil
}

// MayStart says why a saga's half record does not count: it has come another way than
// what may start sagas.
func (t Trust) MayStart(d *amqp.Delivery) error {
	if t.Origin(d) == FromSagas {
		return nil
	}
	return Malformed("a saga's half record came through the exchange %q, and not through %s%s: "+
		"whoever published it may not start sagas", Clip(d.Exchange, 200), t.Prefix, SagasName)
}

// AdmitDead is admit for the queue of dead letters, in which anybody's message can
// be: RabbitMQ drops what expires, for example. A record of ours whose signature does not
// count, as [Trust.VetDead] has marked it, is worth what somebody has put into the queue.
func (t Trust) AdmitDead(d *amqp.Delivery) {
	from := t.Origin(d)
	refused := Refused(d) != nil
	if refused && from != FromDropped {
		from = FromDefault
	}
	switch {
	case from == FromDead || from == FromDelay || from == FromDefault && t.Rolling && !refused:
	case from == FromDefault:
		kept := HeaderText(d.Headers[HeaderKept]) == DeadQueue(t.Prefix)+OversizedName
		count(d, KindHalf, func(name string) bool {
			return ofGivenUp(name) || kept && ofKept(name) || refused && name == HeaderRefused
		})
	case from == FromDropped && !refused && t.reached(d):
		count(d, KindHalf, ofRetry)
	default:
		last, _ := lastDeath(t.Prefix, d)
		count(d, KindHalf, func(name string) bool {
			if name == HeaderTopic && last.exchange == t.Prefix+TopicsName {
				return HeaderText(d.Headers[name]) == last.key
			}
			return describes(name) || ofHalf(name)
		})
	}
}

// VetDead looks at the signature of a record in the queue of dead letters, where it is to be one
// of ours, and marks the record if that does not count.
func (t Trust) VetDead(d *amqp.Delivery) {
	from := t.Origin(d)
	if from != FromDead && from != FromDelay && !(from == FromDropped && t.reached(d)) {
		count(d, HeaderText(d.Headers[HeaderKind]), func(name string) bool { return name != HeaderRefused })
		return
	}
	if why := t.genuine(d); why != nil {
		refuse(d, HeaderText(d.Headers[HeaderKind]), why, func(string) bool { return true })
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
	delayed := d.Exchange == prefix+RetryName
	var found amqp.Table
	for _, v := range list {
		entry, ok := v.(amqp.Table)
		if !ok {
			continue
		}
		if found == nil {
			found = entry
		}
		if strings.HasPrefix(HeaderText(entry["queue"]), prefix+RetryName+".") == delayed {
			found = entry
			break
		}
	}
	if found == nil {
		return xDeath{}, false
	}
	death := xDeath{queue: HeaderText(found["queue"]), reason: HeaderText(found["reason"]),
		exchange: HeaderText(found["exchange"])}
	death.at, _ = found["time"].(time.Time)
	if keys, ok := found["routing-keys"].([]any); ok && len(keys) > 0 {
		death.key = HeaderText(keys[0])
	}
	return death, death.queue != ""
}
