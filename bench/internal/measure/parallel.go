package measure

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Nothing is the work of a handler that does nothing.
func Nothing() error { return nil }

// Pause returns after d, or with an error once ctx is done.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return errors.New("the handler's context ended")
	}
}

// InParallel calls do with 0 to n-1, callers at a time; the first error ends it.
func InParallel(ctx context.Context, n, callers int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
