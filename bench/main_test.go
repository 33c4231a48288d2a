package main

import (
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
