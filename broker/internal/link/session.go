package link

import (
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// session is one AMQP channel in confirm mode.
type session struct {
	ch     *amqp.Channel
	link   *Connection
	limits wire.Limits
	closed chan struct{}

	opened time.Time
	// refused says that a queue refused something here. RabbitMQ's channel remembers
	// that, and goes on refusing for the queue if its limit is removed.
	refused atomic.Bool

	mu      sync.Mutex
	why     *amqp.Error
	pending map[uint64]*request // mandatory ones, for returns
	seq     uint64
}

func openSession(conn *amqp.Connection, l *Connection) (*session, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	s := &session{ch: ch, link: l, limits: wire.Limits{FrameMax: conn.Config.FrameSize}, opened: time.Now(),
		closed: make(chan struct{}), pending: map[uint64]*request{}}
	// The same returns come over two unbuffered channels, one after the other:
	// amqp091's reader cannot go on to the ack before the second is taken, and
	// that is after the first was dealt with. So a return is known before its
	// ack is.
	first, second := ch.NotifyReturn(make(chan amqp.Return)), ch.NotifyReturn(make(chan amqp.Return))
	closes := ch.NotifyClose(make(chan *amqp.Error, 1))
	go s.watch(first, second, closes)
	if err := ch.Confirm(false); err != nil {
		_ = ch.Close()
		return nil, err
	}
	return s, nil
}

// retire closes the channel once what is in flight there has its confirm, or had time
// for it.
func (s *session) retire() {
	t := time.NewTimer(retireAfter)
	defer t.Stop()
	select {
	case <-s.closed:
	case <-t.C:
		_ = s.ch.Close()
	}
}

const (
	// RenewAfter is how long a channel is used at least on which a queue refused
	// something, retireAfter how long it stays open after that.
	renewAfter  = 10 * time.Second
	retireAfter = 30 * time.Second
)

// watch ends when the channel is closed.
func (s *session) watch(first, second <-chan amqp.Return, closes <-chan *amqp.Error) {
	defer close(s.closed)
	for {
		select {
		case ret, ok := <-first:
			if !ok {
				first = nil
				continue
			}
			s.returns(&ret)
			<-second
		case e := <-closes: // nil if it was closed without an error
			s.mu.Lock()
			s.why = e
			s.mu.Unlock()
			return
		}
	}
}

// returns marks the request that ret belongs to. A return carries no sequence
// number; two requests alike in all of this are alike in their fate as well.
func (s *session) returns(ret *amqp.Return) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found *request
	for _, r := range s.pending {
		if !r.returned && r.p.Msg.MessageId == ret.MessageId && r.p.Key == ret.RoutingKey &&
			r.p.Exchange == ret.Exchange &&
			(found == nil || r.seq < found.seq) {
			found = r
		}
	}
	if found != nil {
		found.returned = true
	}
}

func (s *session) write(r *request) {
	if !r.state.CompareAndSwap(reqWaiting, reqWriting) {
		return
	}
	defer close(r.written)
	r.session = s
	// It was measured by the last connection's limits; this one's may be others.
	if err := s.limits.CheckSize(r.p.size); err != nil {
		r.err, r.refused = err, true
		return
	}
	if r.p.Mandatory {
		s.mu.Lock()
		s.seq++
		r.seq = s.seq
		s.pending[r.seq] = r
		s.mu.Unlock()
	}
	r.dc, r.err = s.ch.PublishWithDeferredConfirm(r.p.Exchange, r.p.Key, r.p.Mandatory, false, r.p.Msg)
	if r.err != nil {
		s.forget(r)
	}
}

func (s *session) forget(r *request) {
	if r.seq == 0 {
		return
	}
	s.mu.Lock()
	delete(s.pending, r.seq)
	s.mu.Unlock()
}

func (s *session) reason() *amqp.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

var messageSize = regexp.MustCompile(`message size (\d+) is larger than configured max size (\d+)`)

// lost says why the channel was lost, nil if it was not; final is an error for r if
// r itself was the reason, and always would be.
func (s *session) lost(r *request) (lost, final error) {
	if !s.ch.IsClosed() {
		return nil, nil
	}
	select {
	case <-s.closed:
	case <-time.After(time.Second): // being closed right now: the reason is not worth more
	}
	e := s.reason()
	if e == nil {
		return amqp.ErrClosed, nil
	}
	if final = TooLarge(e, r.p); final == nil {
		final = s.link.forbidden(e, r.p)
	}
	return e, final
}

// TooLarge is an error for m if RabbitMQ closed the channel over its size, which
// costs its neighbours only another try.
func TooLarge(e *amqp.Error, m *Publication) error {
	if size := messageSize.FindStringSubmatch(e.Reason); size != nil {
		if limit, err := strconv.Atoi(size[2]); err == nil && len(m.Msg.Body) > limit {
			return fmt.Errorf("%w: the record has %d bytes, RabbitMQ's max_message_size is %d: store large data "+
				"elsewhere and send a reference, or raise it",
				holdfast.ErrTooLarge, len(m.Msg.Body), limit)
		}
	}
	return nil
}
