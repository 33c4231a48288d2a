package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

// A record over which RabbitMQ closes the connection, or the channel, costs all
// others that are in flight there another try. What was in flight at two such
// closings is set apart: it is published alone, on a connection of its own, where a
// closing is about it and harms nobody. So the innocent are stored, and the guilty
// one gets its reason.

const (
	// MaxDowns is how many closings by RabbitMQ a record may have been in flight at,
	// before it is set apart; maxCuts is how many connections without a word.
	MaxDowns = 2
	maxCuts  = 5
	// apartFor is how long what was refused apart goes there at once.
	apartFor  = 10 * time.Minute
	maxApart  = 1000
	apartIdle = 30 * time.Second // of its connection
)

// apart publishes alone, one record at a time.
type apart struct {
	link *Connection // the shared one: what it is dialled with, and its gate
	topo Declarer
	log  *slog.Logger
	done <-chan struct{}
	// epoch is the topology's.
	epoch *atomic.Uint64
	turn  chan struct{} // a token: whose turn it is

	n  atomic.Int32 // of known: none, nearly always
	mu sync.Mutex
	// known are the records, and the routes, that were refused, until when they count.
	known map[string]time.Time

	// Whose turn it is has these.
	conn *amqp.Connection
	raw  net.Conn
	s    *session
	idle *time.Timer
}

func newApart(l *Connection, t Declarer, epoch *atomic.Uint64, o Options, done <-chan struct{}) *apart {
	a := &apart{link: l, topo: t, epoch: epoch, log: o.Log, done: done, turn: make(chan struct{}, 1),
		known: map[string]time.Time{}}
	a.turn <- struct{}{}
	return a
}

// recordOf names a record, RouteOf all that go the same way.
func recordOf(m *Publication) string { return RouteOf(m) + "\x00" + m.Msg.MessageId }
func RouteOf(m *Publication) string  { return m.Exchange + "\x00" + m.Key }

// knows reports whether m, or another one like it, was refused before.
func (a *apart) knows(m *Publication) bool {
	if a.n.Load() == 0 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	return now.Before(a.known[recordOf(m)]) || now.Before(a.known[RouteOf(m)])
}

// Remember has what is named so go apart for a while.
func (a *apart) Remember(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for old, until := range a.known {
		if now.After(until) || len(a.known) >= maxApart {
			delete(a.known, old)
		}
	}
	a.known[name] = now.Add(apartFor)
	a.n.Store(int32(len(a.known)))
}

// forget has m go with the others again.
func (a *apart) forget(m *Publication) {
	if a.n.Load() == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.known, recordOf(m))
	delete(a.known, RouteOf(m))
	a.n.Store(int32(len(a.known)))
}

// try publishes m once, alone. What RabbitMQ closes the channel or the connection
// over is refused, and goes apart the next time, too.
func (a *apart) try(ctx context.Context, m *Publication) (outcome, *request) {
	r := &request{p: m, epoch: a.epoch.Load(), written: make(chan struct{}), done: a.done}
	select {
	case <-a.turn:
		defer a.rest()
	case <-ctx.Done():
		return outcomeUnwritten, r
	case <-a.done:
		return outcomeUnwritten, r
	}
	select {
	case <-a.link.Gate():
	case <-ctx.Done():
		return outcomeUnwritten, r
	}
	s, err := a.session(ctx)
	if err != nil {
		return outcomeUnwritten, r
	}
	go s.write(r) // it may hang; r says when it is through
	switch o := r.waitConfirm(ctx); o {
	case outcomeUnknown:
		return a.judge(ctx, s, r)
	case outcomeAcked, outcomeReturned:
		a.forget(m)
		return o, r
	default:
		return o, r
	}
}

// judge says what the loss of the channel means: there was nothing else on it.
func (a *apart) judge(ctx context.Context, s *session, r *request) (outcome, *request) {
	e := s.reason()
	switch {
	case e == nil || !about(e):
		return outcomeUnknown, r
	case e.Code == amqp.NotFound:
		if err := a.topo.Repair(ctx); err != nil {
			a.log.Warn("a missing exchange could not be declared", "error", err)
		}
		return outcomeUnknown, r
	}
	r.err = fmt.Errorf("%w: RabbitMQ closes the connection over it, again and again: %s", holdfast.ErrInvalid, e.Reason)
	return outcomeRefused, r
}

// refused has m, and others like it, go apart from now on.
func (a *apart) refused(m *Publication) {
	if whyRefused(m.err) == RefusedForbidden {
		a.Remember(RouteOf(m))
		return
	}
	a.Remember(recordOf(m))
}

// whyRefused says it in a word.
func whyRefused(err error) string {
	var away *holdfast.UnavailableError
	switch {
	case errors.As(err, &away):
		return RefusedForbidden
	case errors.Is(err, holdfast.ErrTooLarge):
		return RefusedLimit
	}
	return RefusedClosing
}

// session returns the channel, after having made a connection where there is none.
func (a *apart) session(ctx context.Context) (*session, error) {
	if a.idle != nil {
		a.idle.Stop()
	}
	if a.s != nil && !a.s.ch.IsClosed() {
		return a.s, nil
	}
	if a.conn == nil || a.conn.IsClosed() {
		a.hangUp()
		conn, raw, err := a.link.Dial(ctx)
		if err != nil {
			return nil, err
		}
		a.conn, a.raw = conn, raw
	}
	s, err := openSession(a.conn, a.link)
	if err != nil {
		a.hangUp()
		return nil, err
	}
	a.s = s
	return s, nil
}

// rest gives the turn back. The connection is closed when nobody needs it for a
// while.
func (a *apart) rest() {
	if a.idle == nil {
		a.idle = time.AfterFunc(apartIdle, func() {
			select {
			case <-a.turn:
				a.hangUp()
				a.turn <- struct{}{}
			default: // it is in use again
			}
		})
	} else {
		a.idle.Reset(apartIdle)
	}
	a.turn <- struct{}{}
}

func (a *apart) hangUp() {
	if a.raw != nil {
		_ = a.conn.CloseDeadline(time.Now().Add(time.Second))
		_ = a.raw.Close()
	}
	a.conn, a.raw, a.s = nil, nil, nil
}

// close ends it, once nothing is published any more.
func (a *apart) close() {
	<-a.turn
	if a.idle != nil {
		a.idle.Stop()
	}
	a.hangUp()
	a.turn <- struct{}{}
}

// about reports whether RabbitMQ closed a channel or a connection because of
// something that was written there.
func about(e *amqp.Error) bool {
	return e != nil && e.Server && e.Code != amqp.ConnectionForced
}

// blamed notes that m was in flight when its connection, or its channel, was lost.
func (m *Publication) blamed(err error) {
	var e *amqp.Error
	if errors.As(err, &e) && about(e) && e.Code != amqp.NotFound {
		m.downs++
	} else {
		m.cuts++
	}
}

// suspect reports whether m is to be set apart.
func (m *Publication) suspect() bool { return m.downs >= MaxDowns || m.cuts >= maxCuts }

// forbidden is an error for r if RabbitMQ closed the channel because the user may
// not publish where r was to go.
func (l *Connection) forbidden(e *amqp.Error, m *Publication) error {
	if e.Code != amqp.AccessRefused {
		return nil
	}
	exchange := m.Exchange
	if exchange == "" {
		exchange = "amq.default"
	}
	if !strings.Contains(e.Reason, "'"+exchange+"'") || strings.Contains(e.Reason, "topic '") &&
		!strings.Contains(e.Reason, "topic '"+m.Key+"'") {
		return nil
	}
	remedy := "give the user write permission for exchange " + exchange + ": see docs/security.md"
	if right, ok := RightOf(e, func(string, string) string { return "write" }); ok {
		remedy = right.Remedy()
	}
	return fmt.Errorf("%w: %w", ErrNotSent, &holdfast.UnavailableError{Part: "RabbitMQ", Where: l.Where(),
		Err: errors.New(e.Reason), Remedy: remedy})
}
