package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// poolDrain is how long a pool's calls may go on undisturbed once it is to end.
const poolDrain = 10 * time.Second

// AbandonAfter is how long a handler may ignore the end of its context before it is not
// waited for any more.
const AbandonAfter = 10 * time.Second

// ErrDrained is why a handler's context ends when it had time enough.
var ErrDrained = errors.New("holdfast: the consumer is shutting down")

// ErrGone says that the subscription ended before a delivery's turn came.
var ErrGone = errors.New("holdfast: the subscription ended")

// Pool works on each delivery of a queue in a goroutine of its own, of which there
// are never more than are fetched.
type Pool struct {
	Log  *slog.Logger
	what string // the deliveries, for people
	// calls is the context of what is called for a delivery. It outlives the
	// session, until drain has waited long enough.
	Calls  context.Context
	Cancel context.CancelCauseFunc

	working sync.WaitGroup
	drained chan struct{}
	given   bool // drain gave up
}

// NewPool is a pool whose calls keep the values of ctx, but not its end.
func NewPool(ctx context.Context, log *slog.Logger, what string) *Pool {
	p := &Pool{Log: log, what: what}
	p.Calls, p.Cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	return p
}

// Session runs until the subscription is lost or ctx is done, and then gives back
// what is not begun. work's context is done with either.
func (p *Pool) Session(ctx context.Context, s *Subscription, work func(gone context.Context, d *amqp.Delivery)) {
	gone, end := context.WithCancel(ctx)
	defer end()
	for {
		select {
		case d, ok := <-s.Deliveries:
			if !ok {
				return
			}
			p.working.Go(func() { work(gone, &d) })
		case <-ctx.Done():
			for _, d := range s.stop() {
				_ = d.Nack(false, true)
			}
			return
		}
	}
}

// Drain waits for the deliveries that are still worked on, once no further one
// begins.
func (p *Pool) Drain() error {
	if p.drained == nil {
		p.drained = make(chan struct{})
		go func() { p.working.Wait(); close(p.drained) }()
		t := time.NewTimer(poolDrain)
		defer t.Stop()
		select {
		case <-p.drained:
			return nil
		case <-t.C:
		}
		p.Log.Warn(p.what+" were not taken over in time; they are given back", "after", poolDrain)
		p.Cancel(ErrDrained)
		t.Reset(AbandonAfter)
		select {
		case <-p.drained:
		case <-t.C:
			p.given = true
		}
	}
	if p.given {
		return fmt.Errorf("%s: who takes them over ignores the end of its context: what it has will be delivered again",
			p.what)
	}
	return nil
}
