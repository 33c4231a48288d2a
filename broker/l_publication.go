package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

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
			if err := p.topo.Repair(ctx); err != nil && ctx.Err() == nil {
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
	m.note(o, r, p)
	switch {
	case o == outcomeRefused:
		p.apart.refused(m)
		p.refuse(m, whyRefused(m.err), m.err)
	case o == outcomeAcked:
		if p.refused.n.Load() > 0 {
			p.refused.taken(p.queuesFor(m)...)
		}
	case o != outcomeNacked:
	case !p.fansOut(m.exchange):
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
func (m *publication) note(o outcome, r *request, p *publisher) {
	switch o {
	case outcomeAcked:
		m.settled = true
	case outcomeReturned:
		m.unknown, m.last = false, lastReturned
		switch {
		case m.old:
			m.old, m.exchange = false, ""
		case m.repair || p.topo.ChangedSince(r.epoch): // bindings were being made: no verdict
		case !m.sought && m.exchange == p.names.TopicsExchange() && p.topo.WorthSeeking(m.key):
			m.sought = true
		default:
			m.settled, m.err = true, p.unrouted(m)
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
