package main

import (
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

func TestEveryCompetitorHasAnAbout(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range competitors {
		if c.about == "" || c.open == nil || seen[c.name] {
			t.Errorf("%s: %+v", c.name, c)
		}
		seen[c.name] = true
	}
}
