package measure

import (
	"context"
	"errors"
	"testing"
	"time"
)

// runArrivals drives a until the load is stopped, which the caller does.
func runArrivals(ctx context.Context, a *Arrivals, callers int, send func(context.Context, string) error) (l *Load, stop func() error) {
	stopped := make(chan struct{})
	l = &Load{Callers: callers, stop: stopped, lanes: make([]lane, callers)}
	ended := make(chan error, 1)
	go func() { ended <- a.Drive(send)(ctx, l) }()
	return l, func() error {
		close(stopped)
		return <-ended
	}
}

func TestArrivalsCountWhatTheConsumerHasOnce(t *testing.T) {
	a := NewArrivals()
	sent := make(chan string, underWay)
	_, stop := runArrivals(t.Context(), a, 1, func(_ context.Context, number string) error {
		sent <- number
		return nil
	})
	for len(sent) < underWay { // and no more
		time.Sleep(time.Millisecond)
	}
	for range 3 {
		number := <-sent
		a.Arrived(number)
		a.Arrived(number) // a repeated delivery
	}
	a.Arrived("somebody else's")
	a.mu.Lock()
	served := a.l.lanes[0].served.Load()
	a.mu.Unlock()
	if served != 3 {
		t.Errorf("%d arrived, want 3", served)
	}
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	for {
		select {
		case number := <-sent:
			a.Arrived(number)
			continue
		case err := <-ended:
			if err != nil || len(a.began) > 0 || len(a.permits) > 0 {
				t.Errorf("%v, %d under way, %d permits", err, len(a.began), len(a.permits))
			}
		}
		return
	}
}

func TestArrivalsForgetWhatNeverComes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a := NewArrivals()
	sent := make(chan struct{}, underWay+1)
	_, stop := runArrivals(ctx, a, 2, func(context.Context, string) error {
		sent <- struct{}{}
		return nil
	})
	<-sent
	cancel()
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if len(a.began) > 0 || len(a.permits) > 0 {
		t.Errorf("%d under way, %d permits", len(a.began), len(a.permits))
	}
}

func TestArrivalsNoteWhatCouldNotBeSent(t *testing.T) {
	a := NewArrivals()
	failure := errors.New("no")
	failed := make(chan struct{}, 1)
	l, stop := runArrivals(t.Context(), a, 1, func(context.Context, string) error {
		select {
		case failed <- struct{}{}:
		default:
		}
		return failure
	})
	<-failed
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := l.firstError(); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
}
