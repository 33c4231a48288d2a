package main

import (
	"context"
	"errors"
	"testing"
	"time"
)

// consumes makes a consume of messages that are not there: each handler is called
// once for each of n.
func consumes(n int, handle func(i int) error) func(context.Context, int, *tally) error {
	return func(ctx context.Context, callers int, t *tally) error {
		err := inParallel(ctx, n, callers, func(_ context.Context, i int) error { return t.work(func() error { return handle(i) }) })
		if err != nil && ctx.Err() == nil {
			return err
		}
		<-ctx.Done()
		return nil
	}
}

func TestDrainCountsWhatFollowsTheWarmUp(t *testing.T) {
	const pause = 2 * time.Millisecond
	d := drain{messages: 100, warmUp: 20, consume: consumes(120, func(int) error {
		time.Sleep(pause) // the work
		return nil
	})}
	f, err := d.run(t.Context(), 4)
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
		if err := ty.work(func() error {
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
	fails := drain{messages: 10, consume: consumes(11, func(i int) error {
		if i == 3 {
			return boom
		}
		return nil
	})}
	if _, err := fails.run(t.Context(), 1); !errors.Is(err, boom) {
		t.Errorf("a handler that failed: %v", err)
	}
	again := drain{messages: 10, consume: func(ctx context.Context, _ int, ty *tally) error {
		_ = ty.work(func() error { return boom })
		for range 10 { // it tries that one again by itself, and handles the others
			_ = ty.work(nothing)
		}
		<-ctx.Done()
		return nil
	}}
	if f, err := again.run(t.Context(), 1); !errors.Is(err, boom) {
		t.Errorf("a handler that failed and was tried again: %+v, %v", f, err)
	}
	twice := drain{messages: 10, consume: func(ctx context.Context, _ int, ty *tally) error {
		for range 11 {
			_ = ty.work(nothing)
		}
		<-ctx.Done()
		return nil
	}}
	if f, err := twice.run(t.Context(), 1); err == nil {
		t.Errorf("a message that was delivered again: %+v", f)
	}
	ends := drain{messages: 10, consume: func(context.Context, int, *tally) error { return boom }}
	if _, err := ends.run(t.Context(), 1); !errors.Is(err, boom) {
		t.Errorf("a consumer that ended: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (drain{messages: 10, consume: consumes(0, nil)}).run(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
