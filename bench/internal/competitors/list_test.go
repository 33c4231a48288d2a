package competitors

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
		"":                 Names(All),
		"outbox, outbox-4": {"outbox", "outbox-4"},
	} {
		got, err := Choose(only, Sets())
		if err != nil || !slices.Equal(Names(got), want) {
			t.Errorf("%q: got %v, %v", only, Names(got), err)
		}
	}
	if got, err := Choose("limit,none", Sets()); err == nil {
		t.Errorf("got %v", Names(got))
	}
}

func TestEveryCompetitorHasAnAbout(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range All {
		if c.About == "" || c.Open == nil || seen[c.Name] {
			t.Errorf("%s: %+v", c.Name, c)
		}
		seen[c.Name] = true
	}
}
