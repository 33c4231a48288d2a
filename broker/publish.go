package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
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
	if err := validGroup(h.Group); err != nil {
		return err
	}
	if err := validTx(h.TxID); err != nil {
		return err
	}
	if err := holdfast.ValidateMessages(h.Messages, b.o.MaxBody); err != nil {
		return err
	}
	msg, err := encodeHalf(h)
	if err != nil {
		return err
	}
	ctx, cancel := b.timeout(ctx)
	defer cancel()
	p := publication{key: b.o.halfQueueOf(h.Group, h.TxID), mandatory: true, repair: true, msg: msg}
	if err := b.pub.one(ctx, &p, fault.HalfBeforeConfirm); err != nil {
		return fmt.Errorf("half message of transaction %s: %w", h.TxID, err)
	}
	return nil
}

// PublishMessages publishes the messages of the committed transaction txID to
// the topics exchange, all at once, and returns once RabbitMQ has confirmed
// every one. It is repeated like PublishHalf: a message may be stored more than
// once, with the same ID. The errors of several messages are joined;
// [holdfast.ErrUnroutable] is not retried here and means that this message was
// not stored, while others of the transaction may have been.
func (b *Broker) PublishMessages(ctx context.Context, group, txID string, ms []holdfast.Message) error {
	if err := validGroup(group); err != nil {
		return err
	}
	if err := validTx(txID); err != nil {
		return err
	}
	if err := holdfast.ValidateMessages(ms, b.o.MaxBody); err != nil {
		return err
	}
	ps := make([]publication, len(ms))
	for i, m := range ms {
		if m.ID == "" {
			return fmt.Errorf("%w: message %d of transaction %s has no ID: call holdfast.NumberMessages", holdfast.ErrInvalid, i+1, txID)
		}
		ps[i] = publication{exchange: b.TopicsExchange(), key: m.Topic, mandatory: !m.AllowUnrouted, msg: encodeMessage(group, txID, m)}
	}
	ctx, cancel := b.timeout(ctx)
	defer cancel()
	var errs []error
	for i, err := range b.pub.all(ctx, ps, fault.CommitBeforeConfirm) {
		if err != nil {
			errs = append(errs, fmt.Errorf("message %s: %w", ms[i].ID, err))
		}
	}
	return errors.Join(errs...)
}

// publication is one message to publish, whatever tries that takes.
type publication struct {
	exchange, key string
	mandatory     bool
	// repair says that the queue is ours to make: if the message is returned,
	// declare and try again, instead of failing.
	repair bool
	msg    amqp.Publishing

	// What the tries came to.
	err     error // final
	settled bool  // confirmed, or err is set
	unknown bool  // it was written at least once without a confirm since
	last    string
}

// one publishes a single message.
func (p *publisher) one(ctx context.Context, m *publication, point string) error {
	return p.all(ctx, []publication{*m}, point)[0]
}

// all publishes ms pipelined, again and again until each is confirmed, is
// refused for good, or ctx is done. point is passed once they are written and
// before the confirms are waited for. The result has one error for each.
func (p *publisher) all(ctx context.Context, ms []publication, point string) []error {
	errs := make([]error, len(ms))
	if err := p.enter(); err != nil {
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
	pause := 10 * time.Millisecond
	for !p.round(ctx, ms, point) {
		select {
		case <-p.done:
			for i := range ms {
				p.expire(errClosed, &ms[i])
			}
		default:
		}
		if slices.ContainsFunc(ms, func(m publication) bool { return m.repair && !m.settled && m.last == lastReturned }) {
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
	reqs := few[:0]
	for i := range ms {
		if m := &ms[i]; !m.settled {
			reqs = append(reqs, p.submit(ctx, m))
		}
	}
	for _, r := range reqs {
		r.waitWritten(ctx)
	}
	if point != "" {
		fault.Point(point)
	}
	all := true
	for _, r := range reqs {
		m := r.p
		m.note(r.waitConfirm(ctx), r, p.topo.changedSince(r.epoch))
		if !m.settled && ctx.Err() != nil {
			p.expire(ctx.Err(), m)
		}
		all = all && m.settled
	}
	return all
}

// note takes over the outcome of a try. repaired says that bindings were being
// made again meanwhile: a return is no verdict then.
func (m *publication) note(o outcome, r *request, repaired bool) {
	switch o {
	case outcomeAcked:
		m.settled = true
	case outcomeReturned:
		m.unknown, m.last = false, lastReturned
		if !m.repair && !repaired {
			m.settled = true
			m.err = fmt.Errorf("%w: no consumer is bound to %s", holdfast.ErrUnroutable, m.key)
		}
	case outcomeNacked:
		// A queue that lost its leader may nack what it stored.
		m.unknown, m.last = true, lastNack
	case outcomeUnknown:
		m.unknown, m.last = true, lastLost
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
