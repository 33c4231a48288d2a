package main

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	var hundred []int
	for i := 1; i <= 100; i++ {
		hundred = append(hundred, i)
	}
	for _, c := range []struct {
		sorted []int
		p      float64
		want   int
	}{
		{hundred, 0, 1}, {hundred, 1, 1}, {hundred, 50, 50}, {hundred, 50.1, 51}, {hundred, 99, 99}, {hundred, 100, 100},
		{[]int{7}, 50, 7}, {[]int{7}, 99, 7},
		{[]int{1, 2}, 50, 1}, {[]int{1, 2}, 51, 2},
		{[]int{1, 2, 3}, 50, 2}, {[]int{1, 2, 3}, 99, 3},
	} {
		if got := percentile(c.sorted, c.p); got != c.want {
			t.Errorf("percentile %v of %d values: %d, want %d", c.p, len(c.sorted), got, c.want)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		vs   []float64
		want float64
	}{
		{[]float64{3}, 3}, {[]float64{3, 1}, 2}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(c.vs); got != c.want {
			t.Errorf("median of %v: %v, want %v", c.vs, got, c.want)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing: %v, want NaN", got)
	}
	unsorted := []float64{2, 1}
	if median(unsorted); unsorted[0] != 2 {
		t.Error("median sorted the caller's values")
	}
}

func TestFigureCountsWhatEndsInTheWindow(t *testing.T) {
	from := time.Now()
	at := func(ms int) time.Time { return from.Add(time.Duration(ms) * time.Millisecond) }
	l := &load{lanes: make([]lane, 2)}
	l.lanes[0].results = []result{{at(-1), time.Hour, nil}, {at(10), 4 * time.Millisecond, nil}, {at(2001), time.Hour, nil}}
	l.lanes[1].results = []result{{at(20), 2 * time.Millisecond, nil}}
	f, err := l.figure(from, at(2000), cpuUse{"bench": 10})
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
	l := &load{lanes: make([]lane, 1)}
	l.lanes[0].results = []result{{now, time.Second, nil}, {now, time.Second, boom}}
	if _, err := l.figure(now.Add(-time.Second), now, nil); !errors.Is(err, boom) {
		t.Errorf("error %v, want %v", err, boom)
	}
}

func TestMeasureEndsADriverThatEndsByItself(t *testing.T) {
	boom := errors.New("boom")
	_, err := measure(t.Context(), func(context.Context, *load) error { return boom }, 1, time.Second)
	if !errors.Is(err, boom) {
		t.Errorf("error %v, want %v", err, boom)
	}
}

func TestMeasureCountsAClosedLoop(t *testing.T) {
	const pause = 5 * time.Millisecond
	f, err := measure(t.Context(), closedLoop(func(context.Context) error {
		time.Sleep(pause) // the work
		return nil
	}), 4, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if most := 4 / pause.Seconds(); f.Rate > most || f.Operations < 8 || f.P50 < millis(pause) {
		t.Errorf("%+v; at most %v per second are possible", f, most)
	}
}
