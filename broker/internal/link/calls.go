package link

import (
	"context"
	"errors"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

// ErrClosed means that Close was called.
var ErrClosed = errors.New("holdfast: the broker connection is closed")

// Calls are goroutines that outlive their caller's context, since amqp091's calls know
// none.
type Calls struct {
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

// Spawn runs f in a goroutine that wait waits for; false: there are to be none any more.
func (c *Calls) Spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.running.Go(f)
	return true
}

// Close ends spawning, and reports whether it did.
func (c *Calls) Close() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.closed
	c.closed = true
	return first
}

// Wait waits for what was spawned, after close.
func (c *Calls) Wait() { c.running.Wait() }

// Await calls f, which knows no context, in a goroutine of its own, and waits until ctx
// is done.
func (c *Calls) Await(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	if !c.Spawn(func() { result <- f() }) {
		return ErrClosed
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// OnChannel runs f with a channel of its own. amqp091's calls know no context,
// so f runs on in its goroutine when ctx is done first; it ends with its
// connection at the latest.
func (c *Calls) OnChannel(ctx context.Context, conn *amqp.Connection, f func(*amqp.Channel) error) error {
	result := make(chan error, 1)
	ok := c.Spawn(func() {
		ch, err := conn.Channel()
		if err != nil {
			result <- err
			return
		}
		err = f(ch)
		result <- err
		_ = ch.Close()
	})
	if !ok {
		return ErrClosed
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Exists runs a passive declaration; that there is no such thing is no error.
func (c *Calls) Exists(ctx context.Context, conn *amqp.Connection, f func(*amqp.Channel) error) (bool, error) {
	err := c.OnChannel(ctx, conn, f)
	var ae *amqp.Error
	if errors.As(err, &ae) && ae.Code == amqp.NotFound {
		return false, nil
	}
	return err == nil, err
}

// Token puts one into c, unless it has one.
func Token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
