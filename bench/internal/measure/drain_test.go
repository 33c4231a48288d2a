package measure

import (
	"context"
	"errors"
	"testing"
	"time"
)

// consumes makes a consume of messages that are not there: each handler is called
// once for each of n.
func consumes(n int, handle func(i int) error) func(context.Context, int, *Tally) error {
	return func(ctx context.Context, callers int, t *Tally) error {
		err := InParallel(ctx, n, callers, func(_ context.Context, i int) error { return t.Work(func() error { return handle(i) }) })
		if err != nil && ctx.Err() == nil {
			return err
		}
		<-ctx.Done()
		return nil
	}
}

func TestDrainCountsWhatFollowsTheWarmUp(t *testing.T) {
	const pause = 2 * time.Millisecond
	d := Drain{Messages: 100, WarmUp: 20, Consume: consumes(120, func(int) error {
		time.Sleep(pause) // the work
		return nil
	})}
	f, err := d.Run(t.Context(), 4)
	if err != nil {
		t.Fatal(err)
	}
	// Of the 100 that are counted, three may have begun before the first of them.
	if most := 4 / pause.Seconds() * 100 / 96; f.Operations != 100 || f.Rate > most || f.Seconds <= 0 {
		t.Errorf("%+v; at most %v per second are possible", f, most)
	}
}

func TestTallyBeginsAfterTheWarmUp(t *testing.T) {
	ty := newTally(2, 1)
	isClosed := func(c chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	for i, want := range []struct{ first, full bool }{{false, false}, {false, false}, {true, true}} {
		if err := ty.Work(func() error {
			if got := isClosed(ty.first); got != want.first {
				t.Errorf("message %d: counting has begun: %v", i+1, got)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if got := isClosed(ty.full); got != want.full {
			t.Errorf("message %d: all are handled: %v", i+1, got)
		}
	}
}

func TestDrainIsNoFigureIfSomethingWentWrong(t *testing.T) {
	boom := errors.New("boom")
	fails := Drain{Messages: 10, Consume: consumes(11, func(i int) error {
		if i == 3 {
			return boom
		}
		return nil
	})}
	if _, err := fails.Run(t.Context(), 1); !errors.Is(err, boom) {
		t.Errorf("a handler that failed: %v", err)
	}
	again := Drain{Messages: 10, Consume: func(ctx context.Context, _ int, ty *Tally) error {
		_ = ty.Work(func() error { return boom })
		for range 10 { // it tries that one again by itself, and handles the others
			_ = ty.Work(Nothing)
		}
		<-ctx.Done()
		return nil
	}}
	if f, err := again.Run(t.Context(), 1); !errors.Is(err, boom) {
		t.Errorf("a handler that failed and was tried again: %+v, %v", f, err)
	}
	twice := Drain{Messages: 10, Consume: func(ctx context.Context, _ int, ty *Tally) error {
		for range 11 {
			_ = ty.Work(Nothing)
		}
		<-ctx.Done()
		return nil
	}}
	if f, err := twice.Run(t.Context(), 1); err == nil {
		t.Errorf("a message that was delivered again: %+v", f)
	}
	ends := Drain{Messages: 10, Consume: func(context.Context, int, *Tally) error { return boom }}
	if _, err := ends.Run(t.Context(), 1); !errors.Is(err, boom) {
		t.Errorf("a consumer that ended: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Drain{Messages: 10, Consume: consumes(0, nil)}).Run(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
