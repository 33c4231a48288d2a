package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
)

const (
	// moveTimeout bounds the publishing of what is given back.
	moveTimeout = 5 * time.Second
)

// Everything that is not a success is published first and acknowledged once
// that is confirmed. A process that dies in between leaves two copies, each with
// its own attempts; the inbox makes their effect happen once, and of two dead
// letters one workflow.

// settle notes an acknowledgement that could not be sent: the channel is lost,
// and the delivery comes again.
func (c *Consumer) settle(err error) {
	if err != nil {
		c.Log.Debug("acknowledgement lost with its channel: the message will be delivered again", "error", err)
	}
}

// publish stores a message in a queue through exchange.
func (c *Consumer) publish(exchange, key string, msg amqp.Publishing) error {
	ctx, cancel := c.Client.Timeout(c.Handlers)
	defer cancel()
	p := link.Publication{Exchange: exchange, Key: key, Mandatory: true, Repair: true, Msg: msg}
	return c.Client.Pub.One(ctx, &p, "")
}

// unpublished gives back a delivery whose copy could not be stored.
func (c *Consumer) unpublished(w *Work, what string, err error) {
	c.Log.Error(what+" could not be stored; the message will be delivered again", "message", w.J.D.MessageId, "error",
		err)
	c.pause(link.UnpublishedPause)
	c.settle(w.J.D.Nack(false, true))
}

// succeed has a delivery acknowledged. Where an operator waits for it, that is
// reported first; if it cannot be, the message comes again, without effect.
func (c *Consumer) succeed(w *Work) {
	if w.a.Redelivery > 0 {
		id := w.d.Message.ID
		if id == "" { // see redelivery
			id = wire.HeaderText(w.J.D.Headers[wire.HeaderLetter])
		}
		msg := wire.EncodeHandled(c.Queue, c.O.Name, id, wire.CopyOfLetter(w.J.D.Headers), w.a.Redelivery)
		if err := c.Client.PublishHandled(c.Handlers, msg); err != nil {
			c.unpublished(w, "the success of a redelivery", err)
			return
		}
		fault.Point(fault.HandledBeforeAck)
	}
	w.J.acks.Handled(w.J.D.DeliveryTag)
}

// failure is what is written with a retry or a dead letter.
func (w *Work) failure() wire.Failure {
	return wire.Failure{Attempts: w.a, Log: w.log, Class: w.Class, Reason: w.Reason}
}

// Retry puts a delivery where v says.
func (c *Consumer) Retry(w *Work, v Verdict) {
	w.a.Hops = v.hops
	since, long := c.waitsLong(w, v, time.Now())
	lim := c.Client.Publishing.Limits()
	msg, ok := wire.EncodeRetry(&w.J.D, c.O.Name, w.failure())
	if long {
		msg.Headers[wire.HeaderLong] = "1"
	}
	wire.SqueezeOurs(&msg, lim.Room())
	if !ok || !lim.Fits(&msg) {
		w.Reason = fmt.Sprintf("its headers leave no room for those of a retry (%d bytes in all); it failed with: %s",
			lim.Room(), w.Reason)
		c.giveUp(w)
		return
	}
	exchange := c.Client.QueuesExchange()
	if v.Do == doDelay {
		exchange = c.Client.RetryQueue(v.delay)
	}
	if err := c.publish(exchange, c.home(w.a.Lost), msg); link.Hopeless(err) {
		w.Reason = fmt.Sprintf("it cannot be put off: %v; it failed with: %s", err, w.Reason)
		c.giveUp(w)
		return
	} else if err != nil {
		c.unpublished(w, "a retry", err)
		return
	}
	if v.Do == DoTail && w.a.Lost >= suspectAt {
		c.lookSoon()
	}
	c.Log.Debug("a message is tried again later", "message", w.d.Message.ID, "attempts", w.a.Failed, "lost", w.a.Lost,
		"delay", v.delay, "error", w.Reason)
	e := c.event(w, EventRetry)
	e.Delay, e.Long, e.Since = v.delay*time.Duration(v.hops+1), long, since
	c.observe(e)
	fault.Point(fault.RetryBeforeAck)
	c.settle(w.J.D.Ack(false))
}

// waitsLong reports whether a retry is the message's first one that makes it wait for long,
// and since when it fails.
func (c *Consumer) waitsLong(w *Work, v Verdict, now time.Time) (since time.Time, long bool) {
	if v.Do != doDelay || len(w.log) == 0 || w.J.D.Headers[wire.HeaderLong] != nil {
		return time.Time{}, false
	}
	since = w.log[0].At
	return since, now.Sub(since)+v.delay*time.Duration(v.hops+1) > c.patience.Long
}

// Hop lets a delivery wait once more, untried.
func (c *Consumer) Hop(w *Work) {
	v := c.Schedule.hop(w.a.Hops)
	msg := wire.CopyOf(&w.J.D)
	wire.SetCount(msg.Headers, wire.HeaderHops, v.hops)
	if err := c.publish(c.Client.RetryQueue(v.delay), c.Queue, msg); link.Hopeless(err) {
		w.Reason = fmt.Sprintf("it cannot be put off: %v", err)
		c.giveUp(w)
		return
	} else if err != nil {
		c.unpublished(w, "a retry", err)
		return
	}
	fault.Point(fault.RetryBeforeAck)
	c.settle(w.J.D.Ack(false))
}

// Rotate puts a delivery that failed for no fault of its own to its queue's end,
// as it came; its attempt returned, so what was lost before is forgotten.
func (c *Consumer) Rotate(w *Work) {
	msg := wire.CopyOf(&w.J.D)
	delete(msg.Headers, wire.HeaderLost)
	if lim := c.Client.Publishing.Limits(); !lim.Fits(&msg) {
		c.unpublished(w, "a message", fmt.Errorf("its headers have more than %d bytes", lim.Room()))
		return
	}
	if err := c.publish(c.Client.QueuesExchange(), c.Queue, msg); err != nil {
		c.unpublished(w, "a message", err)
		return
	}
	fault.Point(fault.RetryBeforeAck)
	c.settle(w.J.D.Ack(false))
}

// bury puts a delivery with the dead letters.
func (c *Consumer) bury(w *Work) {
	d := &w.J.D
	c.Log.Warn("a message goes to the dead letters", "message", d.MessageId, "topic", w.d.Message.Topic, "attempts",
		w.a.Failed+w.a.Lost, "class", w.Class, "error", w.Reason)
	x := wire.Death{Failure: w.failure(), Queue: c.Queue, Consumer: c.O.Name, Policy: c.O.Policy, At: time.Now()}
	if wire.Refused(d) != nil {
		x.Policy = holdfast.Policy{} // it waits for an operator: nothing is done because of it
	}
	if err := c.Client.Bury(c.Handlers, d, x); err != nil {
		c.unpublished(w, "a dead letter", err)
		return
	}
	c.observe(c.event(w, EventDead))
	fault.Point(fault.DeadBeforeAck)
	c.settle(d.Ack(false))
}

// GiveBack returns a delivery that its handler could not finish, because this
// process ends. What is suspected of killing its process must not look as if it
// had done so.
func (c *Consumer) GiveBack(w *Work) {
	if w.J.Alone {
		c.MoveBack(w.J.Delivery())
		return
	}
	c.settle(w.J.D.Nack(false, true))
}

// MoveBack puts deliveries that were not tried to their queue's end as they came,
// so that nobody takes them for lost; those that may have been lost before, and
// those that cannot be stored anew, it just gives back.
func (c *Consumer) MoveBack(ds ...*amqp.Delivery) {
	var moved []*amqp.Delivery
	var ps []link.Publication
	up, lim := c.Client.Publishing.IsUp(), c.Client.Publishing.Limits()
	for _, d := range ds {
		msg := wire.CopyOf(d)
		if d.Redelivered || !up || !lim.Fits(&msg) {
			c.settle(d.Nack(false, true))
			continue
		}
		moved = append(moved, d)
		ps = append(ps, link.Publication{Exchange: c.Client.QueuesExchange(),
			Key: c.home(wire.HeaderCount(d.Headers, wire.HeaderLost)), Mandatory: true, Repair: true, Msg: msg})
	}
	if len(ps) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Handlers), moveTimeout)
	defer cancel()
	for i, err := range c.Client.Pub.All(ctx, ps, "") {
		if err != nil {
			c.settle(moved[i].Nack(false, true))
			continue
		}
		c.settle(moved[i].Ack(false))
	}
}

func (c *Consumer) observeAttempt(w *Work, kind EventKind, took time.Duration) {
	if c.O.Observe == nil {
		return
	}
	e := c.event(w, kind)
	if e.Took = took; kind == EventAttemptOK && w.d.Notice == nil {
		e.Sent = sentAt(w.d.TxID, w.J.D.Timestamp)
	}
	c.O.Observe(e)
}

// How far the time in a transaction's ID may be from its message's timestamp, before and after
// it, to be believed: a message is published after its transaction begins, by another clock
// perhaps, and the timestamp has whole seconds.
const (
	beganBefore = time.Hour
	beganAfter  = time.Minute
)

// sentAt is when a transaction was begun: a UUIDv7, which an ID is that was made for it, says
// it. Of a chosen one is known when its message was published; and a UUIDv7 that does not fit
// that is a chosen one, such as the ID of an order of last week.
func sentAt(txID string, published time.Time) time.Time {
	id, err := uuid.Parse(txID)
	if err != nil || id.Version() != 7 {
		return published
	}
	began := time.Unix(id.Time().UnixTime())
	if !published.IsZero() && (published.Sub(began) > beganBefore || began.Sub(published) > beganAfter) {
		return published
	}
	return began
}

func (c *Consumer) event(w *Work, kind EventKind) Event {
	m := &w.d.Message
	return Event{Kind: kind, Consumer: c.O.Name, MessageID: m.ID, Topic: m.Topic, Key: m.Key, TxID: w.d.TxID,
		Group: w.d.Group, Headers: m.Headers,
		Redelivery: w.a.Redelivery, Class: w.Class, Reason: w.Reason, Attempts: w.a.Failed + w.a.Lost}
}
