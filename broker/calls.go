package broker

import (
	"context"
	"errors"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

// errClosed means that Close was called.
var errClosed = errors.New("holdfast: the broker connection is closed")

// calls are goroutines that outlive their caller's context, since amqp091's calls know
// none.
type calls struct {
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

// spawn runs f in a goroutine that wait waits for; false: there are to be none any more.
func (c *calls) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.running.Go(f)
	return true
}

// close ends spawning, and reports whether it did.
func (c *calls) close() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.closed
	c.closed = true
	return first
}

// wait waits for what was spawned, after close.
func (c *calls) wait() { c.running.Wait() }

// await calls f, which knows no context, in a goroutine of its own, and waits until ctx
// is done.
func (c *calls) await(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	if !c.spawn(func() { result <- f() }) {
		return errClosed
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// onChannel runs f with a channel of its own. amqp091's calls know no context,
// so f runs on in its goroutine when ctx is done first; it ends with its
// connection at the latest.
func (c *calls) onChannel(ctx context.Context, conn *amqp.Connection, f func(*amqp.Channel) error) error {
	result := make(chan error, 1)
	ok := c.spawn(func() {
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
		return errClosed
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// exists runs a passive declaration; that there is no such thing is no error.
func (c *calls) exists(ctx context.Context, conn *amqp.Connection, f func(*amqp.Channel) error) (bool, error) {
	err := c.onChannel(ctx, conn, f)
	var ae *amqp.Error
	if errors.As(err, &ae) && ae.Code == amqp.NotFound {
		return false, nil
	}
	return err == nil, err
}

// token puts one into c, unless it has one.
func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
