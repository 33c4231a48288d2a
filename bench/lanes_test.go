package main

import (
	"context"
	"slices"
	"testing"
)

func TestChoose(t *testing.T) {
	for only, want := range map[string][]string{
		"traced, limit":    {"limit", "traced"}, // in the order in which all are measured
		"half-queues":      {"half-queues-1", "half-queues-2", "half-queues-4", "half-queues-8"},
		"undecided,usual":  {"usual", "undecided-1000", "undecided-25000", "undecided-50000", "undecided-100000"},
		"limit,limit":      {"limit"},
		"":                 names(competitors),
		"outbox, outbox-4": {"outbox", "outbox-4"},
	} {
		got, err := choose(only, sets())
		if err != nil || !slices.Equal(names(got), want) {
			t.Errorf("%q: got %v, %v", only, names(got), err)
		}
	}
	if got, err := choose("limit,none", sets()); err == nil {
		t.Errorf("got %v", names(got))
	}
}

func TestLanesHaveBothSidesOfTheirBars(t *testing.T) {
	chosen, err := choose("lanes", sets())
	if err != nil {
		t.Fatal(err)
	}
	first := slices.IndexFunc(bars, func(b bar) bool { return b.name == "express-vs-limit-64" })
	for _, b := range bars[first:] {
		for _, name := range []string{b.of, b.over} {
			if name != "" && !slices.Contains(names(chosen), name) {
				t.Errorf("bar %s needs %s", b.name, name)
			}
		}
	}
}

func TestCallersOfSlowWorkAreLimited(t *testing.T) {
	o := plan{callers: []int{1, 64, 256}}
	if got := (competitor{most: 64}).counts(o); !slices.Equal(got, []int{1, 64}) {
		t.Errorf("got %v", got)
	}
	if got := (competitor{}).counts(o); !slices.Equal(got, o.callers) {
		t.Errorf("got %v", got)
	}
}

func TestSlotsEndWithTheLastRound(t *testing.T) {
	o := plan{only: []competitor{{name: "a"}, {name: "b", rounds: 1}}, callers: []int{1}}
	if got := slots(o, 1); len(got) != 2 {
		t.Errorf("round 1: %v", got)
	}
	if got := slots(o, 2); len(got) != 1 || got[0].competitor.name != "a" {
		t.Errorf("round 2: %v", got)
	}
}

func TestEveryCompetitorHasAnAbout(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range competitors {
		if c.about == "" || c.open == nil || seen[c.name] {
			t.Errorf("%s: %+v", c.name, c)
		}
		seen[c.name] = true
	}
}

func TestBodyOfASize(t *testing.T) {
	for _, size := range payloads {
		m := newMessageOf("t", size)
		if len(m.Body) != size || numberIn(m.Body) != m.Key {
			t.Errorf("want %d bytes of order %s, got %d of %s", size, m.Key, len(m.Body), numberIn(m.Body))
		}
	}
	if got := numberIn([]byte("{}")); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestWhatIsNotCountedIsNotNoted(t *testing.T) {
	stop := make(chan struct{})
	l := &load{callers: 1, stop: stop, lanes: make([]lane, 1)}
	calls := 0
	err := closedLoop(func(context.Context) error {
		if calls++; calls == 10 {
			close(stop)
		}
		if calls%2 == 0 {
			return errNotCounted
		}
		return nil
	})(t.Context(), l)
	if err != nil || len(l.lanes[0].results) != 5 || l.firstError() != nil {
		t.Errorf("%v, %+v", err, l.lanes[0].results)
	}
}
