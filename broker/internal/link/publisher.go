package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// Publisher spreads publishes over a few AMQP channels in confirm mode. Each
// has one goroutine that writes, so that a caller never waits inside a network
// write and always sees its deadline.
type Publisher struct {
	link    *Connection
	topo    Declarer
	epoch   *atomic.Uint64 // the topology's
	names   wire.Names
	rolling bool
	log     *slog.Logger
	signs   *Signatures
	Apart   *apart
	Refused *Refusals
	writers []*writer
	// RenewAfter is the constant; tests change it before the first publish.
	RenewAfter time.Duration
	next       atomic.Uint32

	mu       sync.Mutex
	stopped  bool
	inFlight int
	idle     chan struct{} // closed when stopped and inFlight is 0
	wg       sync.WaitGroup
	done     <-chan struct{}
}

// Declarer is what a publisher asks about queues and bindings, and has mended.
type Declarer interface {
	// Repair makes everything again, because something turned out to be missing.
	Repair(ctx context.Context) error
	// ChangedSince reports whether a repair ran at or after the given epoch.
	ChangedSince(epoch uint64) bool
	// WorthSeeking reports whether a message to topic that nobody gets is for a consumer
	// whose queue may be made again.
	WorthSeeking(topic string) bool
	// BoundFor are the consumers, of those that are known here, whose queues get what is
	// published so; BoundTo are remembered ones.
	BoundFor(exchange, key string) []string
	BoundTo(topic string) []wire.Bound
	// Holding makes sure that there is a queue in which messages are held for a consumer,
	// HeldAnew has it made again the next time.
	Holding(ctx context.Context, consumer string) error
	HeldAnew(consumer string)
}

// NewPublisher publishes over l. epoch is t's; it is looked at for each record.
func NewPublisher(ctx context.Context, l *Connection, t Declarer, epoch *atomic.Uint64, o Options) *Publisher {
	p := &Publisher{link: l, topo: t, epoch: epoch, names: o.Names, rolling: o.RollingUpgrade, log: o.Log,
		signs: o.Signatures,
		idle:  make(chan struct{}), done: ctx.Done(), Refused: NewRefusals(o), RenewAfter: renewAfter}
	p.Apart = newApart(l, t, epoch, o, ctx.Done())
	for range o.PublishChannels {
		w := &writer{p: p, in: make(chan *request, 128)}
		p.writers = append(p.writers, w)
		p.wg.Go(func() { w.run(ctx) })
	}
	return p
}

// enter counts a call in, so that stop can wait for it.
func (p *Publisher) enter() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return ErrClosed
	}
	p.inFlight++
	return nil
}

// InFlight is how many calls wait for confirms.
func (p *Publisher) InFlight() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inFlight
}

func (p *Publisher) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inFlight--; p.inFlight == 0 && p.stopped {
		close(p.idle)
	}
}

// Stop takes no further publishes and waits for those under way.
func (p *Publisher) Stop(ctx context.Context) error {
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

func (p *Publisher) Wait() {
	p.wg.Wait()
	p.Apart.close()
}

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
	p       *Publication
	state   atomic.Int32
	epoch   uint64        // the topology's, before it was written
	written chan struct{} // closed once written, or failed
	done    <-chan struct{}

	// Set by the writer before it closes written.
	dc      *amqp.DeferredConfirmation
	session *session
	err     error
	refused bool // not written: it is longer than the connection takes

	// returned is set before the confirmation is resolved; see session.returns.
	returned bool
	seq      uint64
}

// submit hands a publication to a writer.
func (p *Publisher) submit(ctx context.Context, m *Publication) *request {
	r := &request{p: m, epoch: p.epoch.Load(), written: make(chan struct{}), done: p.done}
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
	if lost, final := r.session.lost(r); final != nil {
		r.err = final
		return outcomeRefused
	} else if lost != nil {
		r.err = lost
		return outcomeUnknown
	}
	r.session.refused.Store(true)
	return outcomeNacked
}

// writer owns one AMQP channel after the other.
type writer struct {
	p    *Publisher
	in   chan *request
	held *request // taken from in, waiting for RabbitMQ to accept publishes
}

func (w *writer) run(ctx context.Context) {
	pause := NewBackoff()
	for {
		conn, err := w.p.link.Get(ctx)
		if err != nil {
			return
		}
		s, err := openSession(conn, w.p.link)
		if err != nil {
			w.p.log.Debug("publish channel could not be opened", "error", err)
			if !Sleep(ctx, pause.NextBackOff()) {
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
		case <-w.p.link.Gate():
		case <-s.closed:
			return w.after(ctx, s)
		case <-ctx.Done():
			return false
		}
		if s.refused.Load() && time.Since(s.opened) > w.p.RenewAfter {
			go s.retire()
			return true
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
		if err := w.p.topo.Repair(ctx); err != nil {
			w.p.log.Warn("a missing exchange could not be declared", "error", err)
		}
	}
	return ctx.Err() == nil
}
