package link

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

// UnpublishedPause is how long a delivery is kept that could not be published anew, before
// it is given back.
const UnpublishedPause = time.Second

// Publication is one message to publish, whatever tries that takes.
type Publication struct {
	Exchange, Key string
	Mandatory     bool
	// repair says that the queue is ours to make: if the message is returned,
	// declare and try again, instead of failing.
	Repair bool
	// sought says that the queues of remembered consumers, which would take the
	// message, were looked for because it was returned.
	sought bool
	// old says that key is a queue that an older version may have made, bound to no
	// exchange of ours: if the message is returned, it goes through the default one.
	Old bool
	// once says that a queue's refusal is the answer: it is not tried again.
	Once bool
	Msg  amqp.Publishing

	signed string // the route that it is signed for; empty: none

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

// One publishes a single message.
func (p *Publisher) One(ctx context.Context, m *Publication, point string) error {
	return p.All(ctx, []Publication{*m}, point)[0]
}

// All publishes ms pipelined, again and again until each is confirmed, is
// refused for good, or ctx is done. point is passed once they are written and
// before the confirms are waited for. The result has one error for each.
func (p *Publisher) All(ctx context.Context, ms []Publication, point string) []error {
	if err := p.enter(); err != nil {
		errs := make([]error, len(ms))
		for i := range errs {
			errs[i] = fmt.Errorf("%w: %w", ErrNotSent, err)
		}
		return errs
	}
	defer p.leave()
	return p.all(ctx, ms, point)
}

// all is All for what is counted in.
func (p *Publisher) all(ctx context.Context, ms []Publication, point string) []error {
	now := time.Now()
	for i := range ms {
		if ms[i].Msg.DeliveryMode = amqp.Persistent; ms[i].Msg.Timestamp.IsZero() {
			ms[i].Msg.Timestamp = now
		}
	}
	return p.tries(ctx, ms, point)
}

// tries is all for what is counted in, and has its time.
func (p *Publisher) tries(ctx context.Context, ms []Publication, point string) []error {
	pause := 10 * time.Millisecond
	for !p.round(ctx, ms, point) {
		select {
		case <-p.done:
			for i := range ms {
				p.expire(ErrClosed, &ms[i])
			}
		default:
		}
		if slices.ContainsFunc(ms, func(m Publication) bool {
			return (m.Repair || m.sought) && !m.settled &&
				m.last == lastReturned
		}) {
			if err := p.topo.Repair(ctx); err != nil && ctx.Err() == nil {
				p.log.Warn("a missing queue could not be declared", "error", err)
			}
		}
		if !Sleep(ctx, pause) {
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
	lastNack     = "RabbitMQ refused it (nack): see its log; a queue may be at its limit or without a majority of " +
		"its replicas"
	lastLost = "the connection was lost before the confirm"
)

// round writes what is not settled, waits for the confirms and reports whether
// everything is settled now.
func (p *Publisher) round(ctx context.Context, ms []Publication, point string) bool {
	var few [8]*request
	reqs, lim := few[:0], p.link.Limits()
	var alone []*Publication
	for i := range ms {
		m := &ms[i]
		if m.settled {
			continue
		}
		if err := p.sign(m); Hopeless(err) {
			p.refuse(m, RefusedLimit, err)
			continue
		} else if err != nil { // its keys cannot be used, for a moment perhaps
			m.last = err.Error()
			continue
		}
		var err error
		if m.size, err = lim.Check(m.Exchange, m.Key, &m.Msg); err != nil {
			p.refuse(m, RefusedLimit, err)
			continue
		}
		if m.suspect() || p.Apart.knows(m) {
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
		o, r := p.Apart.try(ctx, m)
		p.noted(ctx, r, o)
	}
	for i := range ms {
		if !ms[i].settled {
			return false
		}
	}
	return true
}

// sign signs m for where it goes now.
func (p *Publisher) sign(m *Publication) error {
	route := RouteOf(m)
	if p.signs == nil || m.signed == route {
		return nil
	}
	m.signed = route
	err := p.signs.Sign(m.Exchange, m.Key, &m.Msg)
	if err != nil {
		m.signed = ""
	}
	return err
}

// noted takes over the outcome of a try, and does what it asks for.
func (p *Publisher) noted(ctx context.Context, r *request, o outcome) {
	m := r.p
	m.note(o, r, p)
	switch {
	case o == outcomeRefused:
		p.Apart.refused(m)
		p.refuse(m, whyRefused(m.err), m.err)
	case o == outcomeAcked:
		if p.Refused.N.Load() > 0 {
			p.Refused.Taken(p.queuesFor(m)...)
		}
	case o != outcomeNacked:
	case !p.fansOut(m.Exchange):
		p.refusedByOne(ctx, m)
	case ctx.Err() == nil:
		p.refusedBy(ctx, m)
	}
	if !m.settled && ctx.Err() != nil {
		p.expire(ctx.Err(), m)
	}
}

// refuse settles m: it is not stored, and repeating it does not help.
func (p *Publisher) refuse(m *Publication, why string, err error) {
	m.settled, m.err = true, err
	p.Refused.Record(m, why, err)
}

// note takes over the outcome of a try.
func (m *Publication) note(o outcome, r *request, p *Publisher) {
	switch o {
	case outcomeAcked:
		m.settled = true
	case outcomeReturned:
		m.unknown, m.last = false, lastReturned
		switch {
		case m.Old:
			m.Old, m.Exchange = false, ""
		case m.Repair || p.topo.ChangedSince(r.epoch): // bindings were being made: no verdict
		case !m.sought && m.Exchange == p.names.TopicsExchange() && p.topo.WorthSeeking(m.Key):
			m.sought = true
		default:
			m.settled, m.err = true, p.unrouted(m)
		}
	case outcomeNacked:
		// A queue that lost its leader may nack what it stored.
		m.unknown, m.last = true, lastNack
		if m.Once {
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
func (p *Publisher) expire(err error, m *Publication) {
	if m.settled {
		return
	}
	kind := ErrNotSent
	if m.unknown {
		kind = ErrConfirmUnknown
	}
	state := p.link.State()
	switch {
	case m.last != "":
		state = m.last + "; " + state
	case m.unknown && p.link.IsUp():
		state += "; if this lasts, the queue may be without a leader: see rabbitmq-queues quorum_status"
	}
	m.settled, m.err = true, fmt.Errorf("%w: %w: %s", kind, err, state)
}

// Hopeless reports whether a publish was refused for good: its record is to blame.
func Hopeless(err error) bool {
	return errors.Is(err, holdfast.ErrInvalid) || errors.Is(err, holdfast.ErrTooLarge)
}
