package measure

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
)

func TestInParallel(t *testing.T) {
	var seen [100]atomic.Int64
	var most, now atomic.Int64
	err := InParallel(t.Context(), len(seen), 7, func(_ context.Context, i int) error {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		seen[i].Add(1)
		now.Add(-1)
		return nil
	})
	if err != nil || most.Load() > 7 {
		t.Errorf("%v, %d at a time", err, most.Load())
	}
	for i := range seen {
		if n := seen[i].Load(); n != 1 {
			t.Errorf("%d was done %d times", i, n)
		}
	}
	boom := errors.New("boom")
	if err := InParallel(t.Context(), 1000, 3, func(context.Context, int) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("got %v, want %v", err, boom)
	}
}
