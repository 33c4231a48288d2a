package contest

import (
	"slices"
	"testing"
)

func TestCallersOfSlowWorkAreLimited(t *testing.T) {
	o := Plan{Callers: []int{1, 64, 256}}
	if got := (Competitor{Most: 64}).Counts(o); !slices.Equal(got, []int{1, 64}) {
		t.Errorf("got %v", got)
	}
	if got := (Competitor{}).Counts(o); !slices.Equal(got, o.Callers) {
		t.Errorf("got %v", got)
	}
}

func TestSlotsEndWithTheLastRound(t *testing.T) {
	o := Plan{Only: []Competitor{{Name: "a"}, {Name: "b", Rounds: 1}}, Callers: []int{1}}
	if got := slots(o, 1); len(got) != 2 {
		t.Errorf("round 1: %v", got)
	}
	if got := slots(o, 2); len(got) != 1 || got[0].competitor.Name != "a" {
		t.Errorf("round 2: %v", got)
	}
}

func TestSlotsRunBackwardsEveryOtherRound(t *testing.T) {
	o := Plan{Only: []Competitor{{Name: "a"}, {Name: "b"}, {Name: "c", Callers: []int{64}, Turns: 2}}, Callers: []int{64, 1}}
	show := func(round int) (out []string) {
		for _, s := range slots(o, round) {
			out = append(out, s.competitor.Name)
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
