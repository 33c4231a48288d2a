// Package link is the way to RabbitMQ: supervised connections, publishing with confirms,
// op records, subscriptions and their acknowledgements. It publishes what package wire
// made, and knows nothing of what a queue is for: what it needs to know of queues and
// bindings it asks a Declarer. Every part of broker that talks to RabbitMQ stands on it.
package link

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

const (
	// dialTimeout is how long one address may take.
	dialTimeout = 10 * time.Second
	heartbeat   = 10 * time.Second
	// writeTimeout ends a connection whose peer takes no bytes any more. A
	// broker alarm does not come to that: no publish is written then.
	writeTimeout = 30 * time.Second
)

// Connection is one supervised connection: when it is lost, it is made again, with
// growing pauses, for ever. There is one for publishing and one for everything
// else, because RabbitMQ stops reading from a connection that publishes while
// an alarm holds.
type Connection struct {
	role string // "publish" or "consume"
	o    Options
	log  *slog.Logger
	// onUp runs on each new connection before anybody else gets it. With an error,
	// nobody does.
	onUp func(ctx context.Context, conn *amqp.Connection) error

	Mu        sync.Mutex
	Conn      *amqp.Connection // nil while there is none
	Raw       net.Conn
	at        int           // the address of Conn, or of the one before
	changed   chan struct{} // closed and replaced at each change of conn
	since     time.Time     // of the loss
	lastErr   error
	blocked   string // why RabbitMQ blocks publishers, "" if it does not
	unblocked chan struct{}

	FrameMax atomic.Int64 // of the last connection
	OnLost   func(error)  // nil: nobody is told
	Lost     Losses

	cancel context.CancelFunc
	done   chan struct{}
}

// NewConnection makes no connection yet; Start does. onUp runs on each new one.
func NewConnection(role string, o Options, onUp func(context.Context, *amqp.Connection) error) *Connection {
	open := make(chan struct{})
	close(open)
	return &Connection{role: role, o: o, onUp: onUp, changed: make(chan struct{}), unblocked: open,
		log: o.Log.With("rabbitmq", o.Where(), "connection", role), done: make(chan struct{})}
}

// Start makes the first connection and, if that succeeds, supervises it until
// stop.
func (l *Connection) Start(ctx context.Context) error {
	d, err := l.dial(ctx, l.onUp)
	if err != nil {
		return err
	}
	run, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.setUp(d)
	go l.supervise(run, d.conn)
	return nil
}

func (l *Connection) supervise(ctx context.Context, conn *amqp.Connection) {
	defer close(l.done)
	pause := NewBackoff()
	for {
		began := time.Now()
		err := l.watch(ctx, conn)
		if ctx.Err() != nil {
			return
		}
		lost := l.Where()
		l.setDown(err)
		l.Lost.Add(err)
		if l.OnLost != nil {
			l.OnLost(err)
		}
		l.log.Warn("connection to RabbitMQ lost, connecting again", "address", lost, "error", err)
		// A connection that lasted begins the pauses anew; one that is lost at
		// once does not, or a broker that is coming up would be hammered.
		if time.Since(began) > 30*time.Second {
			pause.Reset()
		}
		if conn = l.reconnect(ctx, pause); conn == nil {
			return
		}
		l.log.Info("connected to RabbitMQ again", "address", l.Where())
	}
}

// reconnect returns nil when ctx is done.
func (l *Connection) reconnect(ctx context.Context, pause *backoff.ExponentialBackOff) *amqp.Connection {
	for {
		if !Sleep(ctx, pause.NextBackOff()) {
			return nil
		}
		d, err := l.dial(ctx, l.onUp)
		if err != nil {
			l.Mu.Lock()
			l.lastErr = err
			l.Mu.Unlock()
			l.log.Debug("RabbitMQ cannot be reached yet", "error", err)
			continue
		}
		l.setUp(d)
		return d.conn
	}
}

// watch returns when conn is lost or ctx is done.
func (l *Connection) watch(ctx context.Context, conn *amqp.Connection) error {
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	blocks := conn.NotifyBlocked(make(chan amqp.Blocking, 1))
	for {
		select {
		case <-ctx.Done():
			go Drain(blocks)
			return ctx.Err()
		case e, ok := <-closed:
			if !ok || e == nil {
				return amqp.ErrClosed
			}
			return e
		case b, ok := <-blocks:
			if !ok {
				blocks = nil // closed below us: the loss is reported by closed
				continue
			}
			l.SetBlocked(b)
		}
	}
}

// Drain takes what comes until c is closed; nil was closed before.
func Drain[T any](c <-chan T) {
	if c == nil {
		return
	}
	for range c {
	}
}

func (l *Connection) setUp(d dialled) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	l.Conn, l.Raw, l.at, l.lastErr = d.conn, d.raw, d.at, nil
	l.FrameMax.Store(int64(d.conn.Config.FrameSize))
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Connection) setDown(err error) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	if l.Raw != nil {
		_ = l.Raw.Close()
	}
	l.Conn, l.Raw, l.since, l.lastErr = nil, nil, time.Now(), err
	if addressFailed(err) {
		l.o.Addresses.Failed(l.at, l.since)
	}
	l.clearBlocked()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Connection) SetBlocked(b amqp.Blocking) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	if !b.Active {
		l.log.Info("RabbitMQ accepts publishes again")
		l.clearBlocked()
		return
	}
	if l.blocked == "" {
		l.unblocked = make(chan struct{})
	}
	if l.blocked = b.Reason; l.blocked == "" {
		l.blocked = "no reason given"
	}
	l.log.Warn("RabbitMQ blocks publishers: it is short of memory or disk", "reason", b.Reason)
}

// clearBlocked is called with mu held.
func (l *Connection) clearBlocked() {
	if l.blocked != "" {
		l.blocked = ""
		close(l.unblocked)
	}
}

// Get waits for a connection.
func (l *Connection) Get(ctx context.Context) (*amqp.Connection, error) {
	for {
		l.Mu.Lock()
		conn, changed := l.Conn, l.changed
		l.Mu.Unlock()
		if conn != nil && !conn.IsClosed() {
			return conn, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %s", ctx.Err(), l.State())
		case <-l.done:
			return nil, ErrClosed
		}
	}
}

// Limits are what the last connection was negotiated to carry.
func (l *Connection) Limits() wire.Limits { return wire.Limits{FrameMax: int(l.FrameMax.Load())} }

// Gate returns a channel that is closed while RabbitMQ accepts publishes.
func (l *Connection) Gate() <-chan struct{} {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	return l.unblocked
}

// State says how the connection is, for people, with what to do.
func (l *Connection) State() string {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	switch {
	case l.Conn == nil || l.Conn.IsClosed():
		s := "disconnected from RabbitMQ at " + l.o.Where()
		if !l.since.IsZero() {
			s += " since " + l.since.Format(time.RFC3339)
		}
		if l.lastErr != nil {
			s += " (" + l.lastErr.Error() + ")"
		}
		return s
	case l.blocked != "":
		return fmt.Sprintf("RabbitMQ at %s blocks publishers because of a memory or disk alarm (%s): free memory or "+
			"disk space there, or raise vm_memory_high_watermark or lower disk_free_limit; consumers go on",
			l.where(), l.blocked)
	}
	return "connected to RabbitMQ at " + l.where()
}

// Where is the address of the connection, or while there is none of the last one.
func (l *Connection) Where() string {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	return l.where()
}

// where is called with mu held.
func (l *Connection) where() string { return l.o.Addresses.All()[l.at].Where() }

// IsUp reports whether there is a connection that publishes can go over.
func (l *Connection) IsUp() bool {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	return l.Conn != nil && !l.Conn.IsClosed() && l.blocked == ""
}

// IsBlocked reports whether RabbitMQ blocks publishers.
func (l *Connection) IsBlocked() bool {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	return l.blocked != ""
}

// Stop ends the supervision and closes the connection: politely until ctx is
// done, then by force.
func (l *Connection) Stop(ctx context.Context) {
	if l.cancel == nil {
		return
	}
	l.cancel()
	<-l.done
	l.Mu.Lock()
	conn, raw := l.Conn, l.Raw
	l.Conn, l.Raw = nil, nil
	l.Mu.Unlock()
	if conn == nil {
		return
	}
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	deadline := time.Now().Add(dialTimeout)
	if d, ok := ctx.Deadline(); ok {
		deadline = d
	}
	_ = conn.CloseDeadline(deadline)
}

// NewBackoff are pauses that grow from 50 ms to 4 s.
func NewBackoff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.Multiplier, b.RandomizationFactor = 50*time.Millisecond, 4*time.Second, 1.7,
		0.25
	b.Reset()
	return b
}

// Sleep waits for d and reports whether ctx is still alive.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// Sooner returns the earlier of two times; the zero time is never.
func Sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
