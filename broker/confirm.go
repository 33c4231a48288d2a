package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

// publisher spreads publishes over a few AMQP channels in confirm mode. Each
// has one goroutine that writes, so that a caller never waits inside a network
// write and always sees its deadline.
type publisher struct {
	link    *link
	topo    *topology
	log     *slog.Logger
	writers []*writer
	next    atomic.Uint32

	mu       sync.Mutex
	stopped  bool
	inFlight int
	idle     chan struct{} // closed when stopped and inFlight is 0
	wg       sync.WaitGroup
	done     <-chan struct{}
}

func newPublisher(ctx context.Context, l *link, t *topology, o Options) *publisher {
	p := &publisher{link: l, topo: t, log: o.Logger, idle: make(chan struct{}), done: ctx.Done()}
	for range o.PublishChannels {
		w := &writer{p: p, in: make(chan *request, 128)}
		p.writers = append(p.writers, w)
		p.wg.Go(func() { w.run(ctx) })
	}
	return p
}

// enter counts a call in, so that stop can wait for it.
func (p *publisher) enter() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return errClosed
	}
	p.inFlight++
	return nil
}

func (p *publisher) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inFlight--; p.inFlight == 0 && p.stopped {
		close(p.idle)
	}
}

// stop takes no further publishes and waits for those under way.
func (p *publisher) stop(ctx context.Context) error {
	p.mu.Lock()
	if p.stopped = true; p.inFlight == 0 {
		close(p.idle)
	}
	p.mu.Unlock()
	select {
	case <-p.idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("publishes are still waiting for their confirms: %w", ctx.Err())
	}
}

func (p *publisher) wait() { p.wg.Wait() }

// outcome is what became of one try.
type outcome int

const (
	outcomeUnwritten outcome = iota // certainly not stored
	outcomeLeft                     // written, the caller did not wait for the confirm
	outcomeAcked                    // stored
	outcomeReturned                 // certainly not stored: no queue
	outcomeNacked
	outcomeUnknown // the channel was lost before the confirm
	outcomeRefused // certainly not stored, and never will be: err says why
)

// The states of a request: who decides whether it is written.
const (
	reqWaiting int32 = iota
	reqWriting       // the writer has it
	reqLeft          // the caller went away first: it must not be written
)

// request is one try at one publication.
type request struct {
	p       *publication
	state   atomic.Int32
	epoch   uint64        // the topology's, before it was written
	written chan struct{} // closed once written, or failed
	done    <-chan struct{}

	// Set by the writer before it closes written.
	dc      *amqp.DeferredConfirmation
	session *session
	err     error
	refused bool

	// returned is set before the confirmation is resolved; see session.returns.
	returned bool
	seq      uint64
}

// submit hands a publication to a writer.
func (p *publisher) submit(ctx context.Context, m *publication) *request {
	r := &request{p: m, epoch: p.topo.epoch.Load(), written: make(chan struct{}), done: p.done}
	w := p.writers[int(p.next.Add(1))%len(p.writers)]
	select {
	case w.in <- r:
	case <-ctx.Done():
		r.state.Store(reqLeft)
	case <-p.done:
		r.state.Store(reqLeft)
	}
	return r
}

// waitWritten waits until the request is written, or makes sure that it never
// will be.
func (r *request) waitWritten(ctx context.Context) {
	select {
	case <-r.written:
		return
	case <-ctx.Done():
	case <-r.done:
	}
	if !r.state.CompareAndSwap(reqWaiting, reqLeft) {
		return // being written, or left at submit
	}
}

// waitConfirm waits for what RabbitMQ says, or for ctx.
func (r *request) waitConfirm(ctx context.Context) outcome {
	if r.state.Load() == reqLeft {
		return outcomeUnwritten
	}
	select {
	case <-r.written:
	case <-ctx.Done():
		return outcomeLeft // the write itself hangs
	case <-r.done:
		return outcomeLeft
	}
	switch {
	case r.refused:
		return outcomeRefused
	case r.dc == nil && errors.Is(r.err, amqp.ErrClosed):
		return outcomeUnwritten
	case r.dc == nil:
		return outcomeUnknown
	}
	select {
	case <-r.dc.Done():
	case <-ctx.Done():
		select {
		case <-r.dc.Done(): // just in time
		default:
			r.session.forget(r)
			return outcomeLeft
		}
	}
	r.session.forget(r) // its lock orders the reading of returned, too
	switch {
	case r.returned:
		return outcomeReturned
	case r.dc.Acked():
		return outcomeAcked
	}
	// amqp091 resolves what is pending as refused when the channel is lost.
	if lost, tooLarge := r.session.lost(r); tooLarge != nil {
		r.err = tooLarge
		return outcomeRefused
	} else if lost != nil {
		r.err = lost
		return outcomeUnknown
	}
	return outcomeNacked
}

// writer owns one AMQP channel after the other.
type writer struct {
	p    *publisher
	in   chan *request
	held *request // taken from in, waiting for RabbitMQ to accept publishes
}

func (w *writer) run(ctx context.Context) {
	pause := newBackoff()
	for {
		conn, err := w.p.link.get(ctx)
		if err != nil {
			return
		}
		s, err := openSession(conn)
		if err != nil {
			w.p.log.Debug("publish channel could not be opened", "error", err)
			if !sleep(ctx, pause.NextBackOff()) {
				return
			}
			continue
		}
		pause.Reset()
		if !w.serve(ctx, s) {
			return
		}
	}
}

// serve writes requests until the channel is lost; it reports false when ctx
// is done. While RabbitMQ blocks publishers, requests wait, unwritten, until
// their deadline.
func (w *writer) serve(ctx context.Context, s *session) bool {
	for {
		if w.held == nil {
			select {
			case w.held = <-w.in:
			case <-s.closed:
				return w.after(ctx, s)
			case <-ctx.Done():
				return false
			}
		}
		select {
		case <-w.p.link.gate():
		case <-s.closed:
			return w.after(ctx, s)
		case <-ctx.Done():
			return false
		}
		s.write(w.held)
		w.held = nil
	}
}

// after looks at why the channel was closed.
func (w *writer) after(ctx context.Context, s *session) bool {
	e := s.reason()
	if e == nil || ctx.Err() != nil {
		return ctx.Err() == nil
	}
	w.p.log.Debug("publish channel lost", "error", e)
	if e.Code == amqp.NotFound {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		if err := w.p.topo.repair(ctx); err != nil {
			w.p.log.Warn("a missing exchange could not be declared", "error", err)
		}
	}
	return ctx.Err() == nil
}

// session is one AMQP channel in confirm mode.
type session struct {
	ch     *amqp.Channel
	closed chan struct{}

	mu      sync.Mutex
	why     *amqp.Error
	pending map[uint64]*request // mandatory ones, for returns
	seq     uint64
}

func openSession(conn *amqp.Connection) (*session, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	s := &session{ch: ch, closed: make(chan struct{}), pending: map[uint64]*request{}}
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
		if !r.returned && r.p.msg.MessageId == ret.MessageId && r.p.key == ret.RoutingKey && r.p.exchange == ret.Exchange &&
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
	if r.p.mandatory {
		s.mu.Lock()
		s.seq++
		r.seq = s.seq
		s.pending[r.seq] = r
		s.mu.Unlock()
	}
	r.dc, r.err = s.ch.PublishWithDeferredConfirm(r.p.exchange, r.p.key, r.p.mandatory, false, r.p.msg)
	if r.err != nil {
		s.forget(r)
		if errors.Is(r.err, amqp.ErrFieldType) {
			r.refused, r.err = true, fmt.Errorf("%w: a header cannot be written: %w", holdfast.ErrInvalid, r.err)
		}
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

// lost says why the channel was lost, nil if it was not, and whether r itself
// was the reason.
func (s *session) lost(r *request) (lost, tooLarge error) {
	if !s.ch.IsClosed() {
		return nil, nil
	}
	select {
	case <-s.closed:
	case <-time.After(time.Second): // being closed right now: the reason is not worth more
	}
	return s.tooLarge(r)
}

// tooLarge is the reason why the channel was lost, and an error for r if it was
// r's size: RabbitMQ closes the channel over a message that is too large, which
// costs its neighbours only another try.
func (s *session) tooLarge(r *request) (lost, tooLarge error) {
	e := s.reason()
	if e == nil {
		return amqp.ErrClosed, nil
	}
	if m := messageSize.FindStringSubmatch(e.Reason); m != nil {
		if limit, err := strconv.Atoi(m[2]); err == nil && len(r.p.msg.Body) > limit {
			return e, fmt.Errorf("%w: the record has %d bytes, RabbitMQ's max_message_size is %d: store large data elsewhere and send a reference, or raise it",
				holdfast.ErrTooLarge, len(r.p.msg.Body), limit)
		}
	}
	return e, nil
}
