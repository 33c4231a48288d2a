package main

import (
	"slices"
	"testing"
)

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

func TestSlotsRunBackwardsEveryOtherRound(t *testing.T) {
	o := plan{only: []competitor{{name: "a"}, {name: "b"}, {name: "c", callers: []int{64}, turns: 2}}, callers: []int{64, 1}}
	show := func(round int) (out []string) {
		for _, s := range slots(o, round) {
			out = append(out, s.competitor.name)
		}
		return out
	}
	if got := show(1); !slices.Equal(got, []string{"a", "b", "a", "b", "c", "c"}) {
		t.Errorf("round 1: %v", got)
	}
	if got := show(2); !slices.Equal(got, []string{"c", "c", "b", "a", "b", "a"}) {
		t.Errorf("round 2: %v", got)
	}
}
