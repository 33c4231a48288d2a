// Package glance looks at something that takes long for many at once: who asks while
// somebody looks gets the same answer, and who asks shortly after, too.
package glance

import (
	"context"
	"sync"
	"time"

	"github.com/holdfastmq/holdfast/internal/guard"
)

// Glance looks at a T.
type Glance[T any] struct {
	look  func(context.Context) T
	fresh time.Duration
	limit time.Duration
	now   func() time.Time

	mu   sync.Mutex
	last *look[T]
	good *look[T] // the last one that was over and did not panic
	void bool     // good is no longer so
}

// look is one look.
type look[T any] struct {
	over chan struct{}
	at   time.Time // when it was over
	seen T
	err  error // the look panicked
}

// New returns a glance by which look is called with limit as its time, and not again until
// fresh has passed since it ended, by the clock now.
func New[T any](limit, fresh time.Duration, now func() time.Time, look func(context.Context) T) *Glance[T] {
	return &Glance[T]{look: look, limit: limit, fresh: fresh, now: now}
}

// See returns what is seen, and when that was. It waits for the look, but not longer than
// ctx; a look goes on when who asked first has left. One that panics is an error, for a while
// too.
func (g *Glance[T]) See(ctx context.Context) (seen T, at time.Time, err error) {
	l := g.current(ctx)
	select {
	case <-l.over:
		return l.seen, l.at, l.err
	case <-ctx.Done():
		return seen, at, ctx.Err()
	}
}

// Recent is See for those who take what was seen last at once, if that is not older than age, and
// nothing is known to have changed since: see [Glance.Forget]. Where it is no longer fresh, a look
// begins.
func (g *Glance[T]) Recent(ctx context.Context, age time.Duration) (seen T, at time.Time, err error) {
	g.mu.Lock()
	good, void := g.good, g.void
	g.mu.Unlock()
	if good == nil || void || g.now().Sub(good.at) > age {
		return g.See(ctx)
	}
	g.current(ctx)
	return good.seen, good.at, nil
}

// Forget says that what has been seen, or is being looked at, is no longer so: the next See looks
// anew.
func (g *Glance[T]) Forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last, g.void = nil, true
}

// Peek returns what was seen last, and when that was, without waiting for anything; ok is
// false before the first look is over. Where that was longer than every ago, a look begins.
func (g *Glance[T]) Peek(every time.Duration) (seen T, at time.Time, ok bool) {
	g.mu.Lock()
	good := g.good
	g.mu.Unlock()
	if good == nil || g.now().Sub(good.at) >= every {
		g.current(context.Background())
	}
	if good == nil {
		return seen, at, false
	}
	return good.seen, good.at, true
}

// current returns the look that is under way or fresh, or begins one.
func (g *Glance[T]) current(ctx context.Context) *look[T] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.last != nil {
		select {
		case <-g.last.over:
			if g.now().Sub(g.last.at) < g.fresh {
				return g.last
			}
		default:
			return g.last
		}
	}
	l := &look[T]{over: make(chan struct{})}
	g.last = l
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.limit)
		defer cancel()
		defer close(l.over)
		l.seen, l.err = guard.Value(func() (T, error) { return g.look(ctx), nil })
		l.at = g.now()
		if l.err == nil {
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.last == l {
				g.good, g.void = l, false
			}
		}
	}()
	return l
}
