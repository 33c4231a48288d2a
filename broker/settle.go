package broker

import (
	"context"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

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
func (c *consumer) settle(err error) {
	if err != nil {
		c.log.Debug("acknowledgement lost with its channel: the message will be delivered again", "error", err)
	}
}

// publish stores a message in a queue through exchange.
func (c *consumer) publish(exchange, key string, msg amqp.Publishing) error {
	ctx, cancel := c.Client.Timeout(c.handlers)
	defer cancel()
	p := link.Publication{Exchange: exchange, Key: key, Mandatory: true, Repair: true, Msg: msg}
	return c.Client.Pub.One(ctx, &p, "")
}

// unpublished gives back a delivery whose copy could not be stored.
func (c *consumer) unpublished(w *work, what string, err error) {
	c.log.Error(what+" could not be stored; the message will be delivered again", "message", w.j.d.MessageId, "error", err)
	c.pause(link.UnpublishedPause)
	c.settle(w.j.d.Nack(false, true))
}

// succeed has a delivery acknowledged. Where an operator waits for it, that is
// reported first; if it cannot be, the message comes again, without effect.
func (c *consumer) succeed(w *work) {
	if w.a.Redelivery > 0 {
		id := w.d.Message.ID
		if id == "" { // see redelivery
			id = wire.HeaderText(w.j.d.Headers[wire.HeaderLetter])
		}
		msg := wire.EncodeHandled(c.queue, c.o.Name, id, wire.CopyOfLetter(w.j.d.Headers), w.a.Redelivery)
		if err := c.Client.PublishHandled(c.handlers, msg); err != nil {
			c.unpublished(w, "the success of a redelivery", err)
			return
		}
		fault.Point(fault.HandledBeforeAck)
	}
	w.j.acks.Handled(w.j.d.DeliveryTag)
}

// failure is what is written with a retry or a dead letter.
func (w *work) failure() wire.Failure {
	return wire.Failure{Attempts: w.a, Log: w.log, Class: w.class, Reason: w.reason}
}

// retry puts a delivery where v says.
func (c *consumer) retry(w *work, v verdict) {
	w.a.Hops = v.hops
	since, long := c.waitsLong(w, v, time.Now())
	lim := c.Client.Publishing.Limits()
	msg, ok := wire.EncodeRetry(&w.j.d, c.o.Name, w.failure())
	if long {
		msg.Headers[wire.HeaderLong] = "1"
	}
	wire.SqueezeOurs(&msg, lim.Room())
	if !ok || !lim.Fits(&msg) {
		w.reason = fmt.Sprintf("its headers leave no room for those of a retry (%d bytes in all); it failed with: %s", lim.Room(), w.reason)
		c.giveUp(w)
		return
	}
	exchange := c.Client.QueuesExchange()
	if v.do == doDelay {
		exchange = c.Client.RetryQueue(v.delay)
	}
	if err := c.publish(exchange, c.home(w.a.Lost), msg); link.Hopeless(err) {
		w.reason = fmt.Sprintf("it cannot be put off: %v; it failed with: %s", err, w.reason)
		c.giveUp(w)
		return
	} else if err != nil {
		c.unpublished(w, "a retry", err)
		return
	}
	if v.do == doTail && w.a.Lost >= suspectAt {
		c.lookSoon()
	}
	c.log.Debug("a message is tried again later", "message", w.d.Message.ID, "attempts", w.a.Failed, "lost", w.a.Lost, "delay", v.delay, "error", w.reason)
	e := c.event(w, EventRetry)
	e.Delay, e.Long, e.Since = v.delay*time.Duration(v.hops+1), long, since
	c.observe(e)
	fault.Point(fault.RetryBeforeAck)
	c.settle(w.j.d.Ack(false))
}

// waitsLong reports whether a retry is the message's first one that makes it wait for long,
// and since when it fails.
func (c *consumer) waitsLong(w *work, v verdict, now time.Time) (since time.Time, long bool) {
	if v.do != doDelay || len(w.log) == 0 || w.j.d.Headers[wire.HeaderLong] != nil {
		return time.Time{}, false
	}
	since = w.log[0].At
	return since, now.Sub(since)+v.delay*time.Duration(v.hops+1) > c.patience.long
}

// hop lets a delivery wait once more, untried.
func (c *consumer) hop(w *work) {
	v := c.schedule.hop(w.a.Hops)
	msg := wire.CopyOf(&w.j.d)
	wire.SetCount(msg.Headers, wire.HeaderHops, v.hops)
	if err := c.publish(c.Client.RetryQueue(v.delay), c.queue, msg); link.Hopeless(err) {
		w.reason = fmt.Sprintf("it cannot be put off: %v", err)
		c.giveUp(w)
		return
	} else if err != nil {
		c.unpublished(w, "a retry", err)
		return
	}
	fault.Point(fault.RetryBeforeAck)
	c.settle(w.j.d.Ack(false))
}

// rotate puts a delivery that failed for no fault of its own to its queue's end,
// as it came; its attempt returned, so what was lost before is forgotten.
func (c *consumer) rotate(w *work) {
	msg := wire.CopyOf(&w.j.d)
	delete(msg.Headers, wire.HeaderLost)
	if lim := c.Client.Publishing.Limits(); !lim.Fits(&msg) {
		c.unpublished(w, "a message", fmt.Errorf("its headers have more than %d bytes", lim.Room()))
		return
	}
	if err := c.publish(c.Client.QueuesExchange(), c.queue, msg); err != nil {
		c.unpublished(w, "a message", err)
		return
	}
	fault.Point(fault.RetryBeforeAck)
	c.settle(w.j.d.Ack(false))
}

// bury puts a delivery with the dead letters.
func (c *consumer) bury(w *work) {
	d := &w.j.d
	c.log.Warn("a message goes to the dead letters", "message", d.MessageId, "topic", w.d.Message.Topic, "attempts", w.a.Failed+w.a.Lost, "class", w.class, "error", w.reason)
	x := wire.Death{Failure: w.failure(), Queue: c.queue, Consumer: c.o.Name, Policy: c.o.Policy, At: time.Now()}
	err := c.Client.PublishDead(c.handlers, wire.EncodeDead(d, x))
	if link.Hopeless(err) {
		x.Reason = fmt.Sprintf("%s; RabbitMQ does not take its properties and headers, which are left out: %v", x.Reason, err)
		err = c.Client.PublishDead(c.handlers, wire.EncodeBare(d, x))
	}
	if err != nil {
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
func (c *consumer) giveBack(w *work) {
	if w.j.alone {
		c.moveBack(w.j.delivery())
		return
	}
	c.settle(w.j.d.Nack(false, true))
}

// moveBack puts deliveries that were not tried to their queue's end as they came,
// so that nobody takes them for lost; those that may have been lost before, and
// those that cannot be stored anew, it just gives back.
func (c *consumer) moveBack(ds ...*amqp.Delivery) {
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
		ps = append(ps, link.Publication{Exchange: c.Client.QueuesExchange(), Key: c.home(wire.HeaderCount(d.Headers, wire.HeaderLost)), Mandatory: true, Repair: true, Msg: msg})
	}
	if len(ps) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.handlers), moveTimeout)
	defer cancel()
	for i, err := range c.Client.Pub.All(ctx, ps, "") {
		if err != nil {
			c.settle(moved[i].Nack(false, true))
			continue
		}
		c.settle(moved[i].Ack(false))
	}
}

func (c *consumer) observeAttempt(w *work, kind EventKind, took time.Duration) {
	if c.o.Observe == nil {
		return
	}
	e := c.event(w, kind)
	e.Took = took
	c.o.Observe(e)
}

func (c *consumer) event(w *work, kind EventKind) Event {
	m := &w.d.Message
	return Event{Kind: kind, Consumer: c.o.Name, MessageID: m.ID, Topic: m.Topic, Key: m.Key, TxID: w.d.TxID, Group: w.d.Group,
		Redelivery: w.a.Redelivery, Class: w.class, Reason: w.reason, Attempts: w.a.Failed + w.a.Lost}
}
