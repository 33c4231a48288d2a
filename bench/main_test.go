package main

import (
	"github.com/holdfastmq/holdfast/bench/internal/competitors"
	"io"
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	o, err := parse([]string{"-only", "traced, usual", "-callers", "1, 8", "-seconds", "0.5", "-rounds", "2", "-temporal", "dev"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(competitors.Names(o.Only), []string{"traced", "usual"}) || !slices.Equal(o.Callers, []int{1, 8}) || o.Seconds != 0.5 || o.Rounds != 2 || o.temporal.Name != "dev" {
		t.Errorf("%+v", o)
	}
	if o, err = parse(nil, io.Discard); err != nil || o.temporal.Name != "postgresql" {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range [][]string{{"-only", "fastest"}, {"-callers", "0"}, {"-callers", ""}, {"-seconds", "0"}, {"-rounds", "0"}, {"more"}, {"-x"}, {"-temporal", "sqlite"}} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}
