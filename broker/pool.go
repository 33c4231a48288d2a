package broker

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

// abandonAfter is how long a handler may ignore the end of its context before it is not
// waited for any more.
const abandonAfter = 10 * time.Second

// errDrained is why a handler's context ends when it had time enough.
var errDrained = errors.New("holdfast: the consumer is shutting down")

// pool works on each delivery of a queue in a goroutine of its own, of which there
// are never more than are fetched.
type pool struct {
	log  *slog.Logger
	what string // the deliveries, for people
	// calls is the context of what is called for a delivery. It outlives the
	// session, until drain has waited long enough.
	calls  context.Context
	cancel context.CancelCauseFunc

	working sync.WaitGroup
	drained chan struct{}
	given   bool // drain gave up
}

func newPool(ctx context.Context, log *slog.Logger, what string) *pool {
	p := &pool{log: log, what: what}
	p.calls, p.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	return p
}

// session runs until the subscription is lost or ctx is done, and then gives back
// what is not begun. work's context is done with either.
func (p *pool) session(ctx context.Context, s *subscription, work func(gone context.Context, d *amqp.Delivery)) {
	gone, end := context.WithCancel(ctx)
	defer end()
	for {
		select {
		case d, ok := <-s.deliveries:
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

// drain waits for the deliveries that are still worked on, once no further one
// begins.
func (p *pool) drain() error {
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
		p.log.Warn(p.what+" were not taken over in time; they are given back", "after", poolDrain)
		p.cancel(errDrained)
		t.Reset(abandonAfter)
		select {
		case <-p.drained:
		case <-t.C:
			p.given = true
		}
	}
	if p.given {
		return fmt.Errorf("%s: who takes them over ignores the end of its context: what it has will be delivered again", p.what)
	}
	return nil
}
