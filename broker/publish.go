package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// What is known of a publish that failed; every such error wraps one of the
// two, or holdfast.ErrUnroutable, holdfast.ErrInvalid or holdfast.ErrTooLarge,
// which say that nothing was stored.
var (
	// ErrNotSent means that RabbitMQ has certainly not stored it.
	ErrNotSent = errors.New("holdfast: not sent")
	// ErrConfirmUnknown means that it was sent and that its confirm is
	// outstanding, or was lost: RabbitMQ may or may not have stored it.
	ErrConfirmUnknown = errors.New("holdfast: confirm outstanding, it may or may not have been stored")
)

// PublishHalf stores a half message in its half queue ([Broker.HalfQueueOf]) and returns once
// RabbitMQ has confirmed it. It is tried again until ctx is done (or for
// Options.PublishTimeout, if ctx has no deadline). The error of a missed
// deadline wraps that of ctx, says how RabbitMQ was, and is [ErrNotSent] or
// [ErrConfirmUnknown].
func (b *Broker) PublishHalf(ctx context.Context, h holdfast.Half) error {
	if err := wire.ValidGroup(h.Group); err != nil {
		return err
	}
	if err := wire.ValidTx(h.TxID); err != nil {
		return err
	}
	if err := holdfast.ValidateMessages(h.Messages, b.o.MaxBody); err != nil {
		return err
	}
	if err := b.Fits(h.Group, h.TxID, h.Messages); err != nil {
		return err
	}
	msg, err := wire.EncodeHalf(h)
	if err != nil {
		return err
	}
	ctx, cancel := b.timeout(ctx)
	defer cancel()
	p := publication{exchange: b.HalfExchange(), key: b.HalfQueueOf(h.Group, h.TxID), mandatory: true, repair: true, old: b.o.RollingUpgrade, msg: msg}
	if err := b.pub.one(ctx, &p, fault.HalfBeforeConfirm); err != nil {
		return fmt.Errorf("half message of transaction %s: %w", h.TxID, err)
	}
	return nil
}

// Fits says whether the messages of transaction txID can be published once it is
// committed, by the limits of the connection with RabbitMQ: what cannot be is
// [holdfast.ErrTooLarge], and must not be committed.
func (b *Broker) Fits(group, txID string, ms []holdfast.Message) error {
	return b.pubLink.limits().Messages(group, txID, ms)
}

// PublishMessages publishes the messages of the committed transaction txID to
// the topics exchange, all at once, and returns once RabbitMQ has confirmed
// every one. It is repeated like PublishHalf: a message may be stored more than
// once, with the same ID. Of messages that were not delivered the error is a
// *[holdfast.DeliveryError]; [holdfast.ErrUnroutable] is not retried here and means that
// this message was not stored. What was confirmed in a call that had such an error is
// not published again by a later one of this Broker.
func (b *Broker) PublishMessages(ctx context.Context, group, txID string, ms []holdfast.Message) error {
	if err := wire.ValidGroup(group); err != nil {
		return err
	}
	if err := wire.ValidTx(txID); err != nil {
		return err
	}
	if err := holdfast.ValidateMessages(ms, b.o.MaxBody); err != nil {
		return err
	}
	confirmed := b.partly.confirmed(group, txID, ms)
	ps := make([]publication, 0, len(ms))
	for i, m := range ms {
		if m.ID == "" {
			return fmt.Errorf("%w: message %d of transaction %s has no ID: call holdfast.NumberMessages", holdfast.ErrInvalid, i+1, txID)
		}
		if confirmed == nil || !confirmed[i] {
			ps = append(ps, publication{exchange: b.TopicsExchange(), key: m.Topic, mandatory: !m.AllowUnrouted, msg: wire.EncodeMessage(group, txID, m)})
		}
	}
	ctx, cancel := b.timeout(ctx)
	defer cancel()
	errs := b.pub.all(ctx, ps, fault.CommitBeforeConfirm)
	if !slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		b.partly.note(group, txID, ms, nil, true)
		return nil
	}
	return b.undelivered(group, txID, ms, confirmed, errs)
}

// undelivered is the error where some messages were not confirmed. Those that were
// confirmed before have no error in errs.
func (b *Broker) undelivered(group, txID string, ms []holdfast.Message, confirmed []bool, errs []error) error {
	failed := &holdfast.DeliveryError{}
	of, n := make([]error, len(ms)), 0
	for i, m := range ms {
		if confirmed == nil || !confirmed[i] {
			of[i] = errs[n]
			n++
		}
		if of[i] == nil {
			failed.Delivered = append(failed.Delivered, m.ID)
		} else {
			failed.Failed = append(failed.Failed, holdfast.FailedDelivery{ID: m.ID, Topic: m.Topic, Err: of[i]})
		}
	}
	if len(failed.Delivered) > 0 {
		b.partly.note(group, txID, ms, of, false)
	}
	return failed
}

// publication is one message to publish, whatever tries that takes.
type publication struct {
	exchange, key string
	mandatory     bool
	// repair says that the queue is ours to make: if the message is returned,
	// declare and try again, instead of failing.
	repair bool
	// sought says that the queues of remembered consumers, which would take the
	// message, were looked for because it was returned.
	sought bool
	// old says that key is a queue that an older version may have made, bound to no
	// exchange of ours: if the message is returned, it goes through the default one.
	old bool
	// once says that a queue's refusal is the answer: it is not tried again.
	once bool
	msg  amqp.Publishing

	size int // of headers and properties, once they are measured

	// What the tries came to.
	err     error // final
	settled bool  // confirmed, or err is set
	unknown bool  // it was written at least once without a confirm since
	last    string
	nacks   int // refusals by one of its queues, of what goes to several
	downs   int // closings by RabbitMQ of what it was in flight on
	cuts    int // other losses of that
}

// one publishes a single message.
func (p *publisher) one(ctx context.Context, m *publication, point string) error {
	return p.all(ctx, []publication{*m}, point)[0]
}

// all publishes ms pipelined, again and again until each is confirmed, is
// refused for good, or ctx is done. point is passed once they are written and
// before the confirms are waited for. The result has one error for each.
func (p *publisher) all(ctx context.Context, ms []publication, point string) []error {
	if err := p.enter(); err != nil {
		errs := make([]error, len(ms))
		for i := range errs {
			errs[i] = fmt.Errorf("%w: %w", ErrNotSent, err)
		}
		return errs
	}
	defer p.leave()
	now := time.Now()
	for i := range ms {
		if ms[i].msg.DeliveryMode = amqp.Persistent; ms[i].msg.Timestamp.IsZero() {
			ms[i].msg.Timestamp = now
		}
	}
	return p.tries(ctx, ms, point)
}

// tries is all for what is counted in, and has its time.
func (p *publisher) tries(ctx context.Context, ms []publication, point string) []error {
	pause := 10 * time.Millisecond
	for !p.round(ctx, ms, point) {
		select {
		case <-p.done:
			for i := range ms {
				p.expire(errClosed, &ms[i])
			}
		default:
		}
		if slices.ContainsFunc(ms, func(m publication) bool { return (m.repair || m.sought) && !m.settled && m.last == lastReturned }) {
			if err := p.topo.repair(ctx); err != nil && ctx.Err() == nil {
				p.log.Warn("a missing queue could not be declared", "error", err)
			}
		}
		if !sleep(ctx, pause) {
			for i := range ms {
				p.expire(ctx.Err(), &ms[i])
			}
		}
		pause = min(2*pause, time.Second)
	}
	errs := make([]error, len(ms))
	for i := range ms {
		errs[i] = ms[i].err
	}
	return errs
}

// What became of the last try, for the error at the deadline.
const (
	lastReturned = "the queue does not exist and could not be made"
	lastNack     = "RabbitMQ refused it (nack): see its log; a queue may be at its limit or without a majority of its replicas"
	lastLost     = "the connection was lost before the confirm"
)

// round writes what is not settled, waits for the confirms and reports whether
// everything is settled now.
func (p *publisher) round(ctx context.Context, ms []publication, point string) bool {
	var few [8]*request
	reqs, lim := few[:0], p.link.limits()
	var alone []*publication
	for i := range ms {
		m := &ms[i]
		if m.settled {
			continue
		}
		var err error
		if m.size, err = lim.Check(m.exchange, m.key, &m.msg); err != nil {
			p.refuse(m, RefusedLimit, err)
			continue
		}
		if m.suspect() || p.apart.knows(m) {
			alone = append(alone, m)
			continue
		}
		reqs = append(reqs, p.submit(ctx, m))
	}
	for _, r := range reqs {
		r.waitWritten(ctx)
	}
	if point != "" {
		fault.Point(point)
	}
	for _, r := range reqs {
		p.noted(ctx, r, r.waitConfirm(ctx))
	}
	for _, m := range alone {
		o, r := p.apart.try(ctx, m)
		p.noted(ctx, r, o)
	}
	for i := range ms {
		if !ms[i].settled {
			return false
		}
	}
	return true
}

// noted takes over the outcome of a try, and does what it asks for.
func (p *publisher) noted(ctx context.Context, r *request, o outcome) {
	m := r.p
	m.note(o, r, p.topo)
	switch {
	case o == outcomeRefused:
		p.apart.refused(m)
		p.refuse(m, whyRefused(m.err), m.err)
	case o == outcomeAcked:
		if p.refused.n.Load() > 0 {
			p.refused.taken(p.topo.queuesFor(m)...)
		}
	case o != outcomeNacked:
	case !p.topo.fansOut(m.exchange):
		p.refusedByOne(ctx, m)
	case ctx.Err() == nil:
		p.refusedBy(ctx, m)
	}
	if !m.settled && ctx.Err() != nil {
		p.expire(ctx.Err(), m)
	}
}

// refuse settles m: it is not stored, and repeating it does not help.
func (p *publisher) refuse(m *publication, why string, err error) {
	m.settled, m.err = true, err
	p.refused.record(m, why, err)
}

// note takes over the outcome of a try.
func (m *publication) note(o outcome, r *request, t *topology) {
	switch o {
	case outcomeAcked:
		m.settled = true
	case outcomeReturned:
		m.unknown, m.last = false, lastReturned
		switch {
		case m.old:
			m.old, m.exchange = false, ""
		case m.repair || t.changedSince(r.epoch): // bindings were being made: no verdict
		case !m.sought && m.exchange == t.b.TopicsExchange() && t.worthSeeking(m.key):
			m.sought = true
		default:
			m.settled, m.err = true, t.unrouted(m)
		}
	case outcomeNacked:
		// A queue that lost its leader may nack what it stored.
		m.unknown, m.last = true, lastNack
		if m.once {
			m.settled, m.err = true, fmt.Errorf("%w: %s", ErrConfirmUnknown, lastNack)
		}
	case outcomeUnknown:
		m.unknown, m.last = true, lastLost
		m.blamed(r.err)
		if r.err != nil {
			m.last += ": " + r.err.Error()
		}
	case outcomeLeft:
		m.unknown, m.last = true, ""
	case outcomeUnwritten:
		m.last = ""
	case outcomeRefused:
		m.settled, m.err = true, r.err
	}
}

// expire gives m its error when nothing more is tried, because of err.
func (p *publisher) expire(err error, m *publication) {
	if m.settled {
		return
	}
	kind := ErrNotSent
	if m.unknown {
		kind = ErrConfirmUnknown
	}
	state := p.link.state()
	switch {
	case m.last != "":
		state = m.last + "; " + state
	case m.unknown && p.link.isUp():
		state += "; if this lasts, the queue may be without a leader: see rabbitmq-queues quorum_status"
	}
	m.settled, m.err = true, fmt.Errorf("%w: %w: %s", kind, err, state)
}
