package measure

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestWhatIsNotCountedIsNotNoted(t *testing.T) {
	stop := make(chan struct{})
	l := &Load{Callers: 1, stop: stop, lanes: make([]lane, 1)}
	calls := 0
	err := ClosedLoop(func(context.Context) error {
		if calls++; calls == 10 {
			close(stop)
		}
		if calls%2 == 0 {
			return ErrNotCounted
		}
		return nil
	})(t.Context(), l)
	if err != nil || len(l.lanes[0].results) != 5 || l.firstError() != nil {
		t.Errorf("%v, %+v", err, l.lanes[0].results)
	}
}

func TestFigureCountsWhatEndsInTheWindow(t *testing.T) {
	from := time.Now()
	at := func(ms int) time.Time { return from.Add(time.Duration(ms) * time.Millisecond) }
	l := &Load{lanes: make([]lane, 2)}
	l.lanes[0].results = []result{{at(-1), time.Hour, nil}, {at(10), 4 * time.Millisecond, nil}, {at(2001), time.Hour, nil}}
	l.lanes[1].results = []result{{at(20), 2 * time.Millisecond, nil}}
	f, err := l.figure(from, at(2000), CPU{"bench": 10})
	if err != nil {
		t.Fatal(err)
	}
	if f.Operations != 2 || f.Rate != 1 || f.P50 != 2 || f.P99 != 4 || f.CPU["bench"] != 5 {
		t.Errorf("%+v", f)
	}
}

func TestFigureRefusesWhatMostlyFails(t *testing.T) {
	now := time.Now()
	boom := errors.New("boom")
	l := &Load{lanes: make([]lane, 1)}
	l.lanes[0].results = []result{{now, time.Second, nil}, {now, time.Second, boom}}
	if _, err := l.figure(now.Add(-time.Second), now, nil); !errors.Is(err, boom) {
		t.Errorf("error %v, want %v", err, boom)
	}
}

func TestMeasureEndsADriverThatEndsByItself(t *testing.T) {
	boom := errors.New("boom")
	_, err := Window(t.Context(), func(context.Context, *Load) error { return boom }, 1, time.Second)
	if !errors.Is(err, boom) {
		t.Errorf("error %v, want %v", err, boom)
	}
}

func TestMeasureCountsAClosedLoop(t *testing.T) {
	const pause = 5 * time.Millisecond
	f, err := Window(t.Context(), ClosedLoop(func(context.Context) error {
		time.Sleep(pause) // the work
		return nil
	}), 4, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if most := 4 / pause.Seconds(); f.Rate > most || f.Operations < 8 || f.P50 < Millis(pause) {
		t.Errorf("%+v; at most %v per second are possible", f, most)
	}
}
