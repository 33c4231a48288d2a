package main

import (
	"encoding/json"
	"io"
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	o, err := parse([]string{"-only", "traced, usual", "-callers", "1, 8", "-seconds", "0.5", "-rounds", "2", "-temporal", "dev"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(names(o.only), []string{"traced", "usual"}) || !slices.Equal(o.callers, []int{1, 8}) || o.seconds != 0.5 || o.rounds != 2 || o.temporal.name != "dev" {
		t.Errorf("%+v", o)
	}
	if o, err = parse(nil, io.Discard); err != nil || o.temporal.name != "postgresql" {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range [][]string{{"-only", "fastest"}, {"-callers", "0"}, {"-callers", ""}, {"-seconds", "0"}, {"-rounds", "0"}, {"more"}, {"-x"}, {"-temporal", "sqlite"}} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%q is accepted", args)
		}
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

func TestBody(t *testing.T) {
	b := newMessage("t").Body
	if len(b) != bodySize || !json.Valid(b) {
		t.Errorf("a body has %d bytes, want %d of JSON: %s", len(b), bodySize, b)
	}
}
