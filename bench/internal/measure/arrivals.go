package measure

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
)

// underWay is how many messages may be between the two ends at most, so that a
// producer that is faster than what follows it does not take the processor from it
// for a growing backlog.
const underWay = 1000

// Arrivals measures from end to end: what counts is that the consumer has a
// message, once. It is noted for the caller that sent it.
type Arrivals struct {
	mu      sync.Mutex
	l       *Load
	began   map[string]departure // by the order's number
	all     chan struct{}        // closed when nothing is under way any more; nil: nobody waits
	permits chan struct{}
}

type departure struct {
	caller int
	at     time.Time
}

// NewArrivals makes arrivals of nothing yet.
func NewArrivals() *Arrivals {
	return &Arrivals{began: map[string]departure{}, permits: make(chan struct{}, underWay)}
}

// Drive makes a driver: every caller repeats send, without a pause until underWay
// messages are.
func (a *Arrivals) Drive(send func(ctx context.Context, number string) error) Driver {
	return func(ctx context.Context, l *Load) error {
		a.mu.Lock()
		a.l, a.all = l, nil
		a.mu.Unlock()
		var wg sync.WaitGroup
		for caller := range l.Callers {
			wg.Go(func() {
				for !l.Over(ctx) {
					select {
					case a.permits <- struct{}{}:
						a.send(ctx, caller, send)
					case <-l.stop:
					case <-ctx.Done():
					}
				}
			})
		}
		wg.Wait()
		return a.wait(ctx)
	}
}

func (a *Arrivals) send(ctx context.Context, caller int, send func(ctx context.Context, number string) error) {
	number := uuid.NewString()
	a.mu.Lock()
	a.began[number] = departure{caller, time.Now()}
	a.mu.Unlock()
	if err := send(ctx, number); err != nil {
		a.end(number, err)
	}
}

// Arrived is called by the consumer. What came before does not count again.
func (a *Arrivals) Arrived(number string) { a.end(number, nil) }

func (a *Arrivals) end(number string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	d, is := a.began[number]
	if !is {
		return
	}
	delete(a.began, number)
	<-a.permits
	a.l.Note(d.caller, d.at, err)
	if len(a.began) == 0 && a.all != nil {
		close(a.all)
		a.all = nil
	}
}

// wait returns when all have arrived. When ctx is done, those that are missing are
// forgotten.
func (a *Arrivals) wait(ctx context.Context) error {
	all := make(chan struct{})
	a.mu.Lock()
	if len(a.began) == 0 {
		close(all)
	} else {
		a.all = all
	}
	a.mu.Unlock()
	select {
	case <-all:
		return ctx.Err()
	case <-ctx.Done():
		a.mu.Lock()
		defer a.mu.Unlock()
		for number := range a.began {
			delete(a.began, number)
			<-a.permits
		}
		a.all = nil
		return ctx.Err()
	}
}
