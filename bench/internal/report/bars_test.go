package report

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/holdfastmq/holdfast/bench/internal/competitors"
	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
)

func TestBarLine(t *testing.T) {
	for _, c := range []struct {
		value float64
		limit bound
		want  string
	}{
		{5.6, atLeast(5), "bar x 5.6 (at least 5) ok"},
		{5, atLeast(5), "bar x 5.0 (at least 5) ok"},
		{4.21, atLeast(5), "bar x 4.2 (at least 5) short"},
		{4.97, atLeast(5), "bar x 4.97 (at least 5) short"},
		{0.8704, atLeast(0.75), "bar x 0.87 (at least 0.75) ok"},
		{0.7, atLeast(0.75), "bar x 0.70 (at least 0.75) short"},
		{0.798, atLeast(0.8), "bar x 0.798 (at least 0.8) short"},
		{32.84, atLeast(8), "bar x 32.8 (at least 8) ok"},
		{61.24, atMost(100), "bar x 61.2 (at most 100) ok"},
		{100, atMost(100), "bar x 100.0 (at most 100) ok"},
		{100.04, atMost(100), "bar x 100.04 (at most 100) over"},
		{250, atMost(100), "bar x 250.0 (at most 100) over"},
	} {
		m := []contest.Measurement{{Name: "a", Callers: 64, Round: 1, Figure: measure.Figure{Rate: c.value}},
			{Name: "b", Callers: 64, Round: 1, Figure: measure.Figure{Rate: 1}}}
		got := judge([]bar{{name: "x", limit: c.limit, quantity: rate, of: "a", over: "b", callers: 64}}, m)
		if len(got) != 1 || got[0].String() != c.want {
			t.Errorf("got %v, want %q", got, c.want)
		}
	}
}

func TestBarIsTheMedianOfTheRoundsRatios(t *testing.T) {
	var ms []contest.Measurement
	for i, rates := range [][2]float64{{100, 10}, {60, 20}, {50, 10}} { // 10, 3, 5
		ms = append(ms, contest.Measurement{Name: "a", Callers: 64, Round: i + 1, Figure: measure.Figure{Rate: rates[0]}},
			contest.Measurement{Name: "b", Callers: 64, Round: i + 1, Figure: measure.Figure{Rate: rates[1]}})
	}
	ms = append(ms, contest.Measurement{Name: "a", Callers: 64, Round: 4, Figure: measure.Figure{Rate: 1}}, // its other side failed
		contest.Measurement{Name: "b", Callers: 16, Round: 4, Figure: measure.Figure{Rate: 1}}) // another number of callers
	got := judge([]bar{{name: "x", limit: atLeast(5), quantity: rate, of: "a", over: "b", callers: 64}}, ms)
	if len(got) != 1 || got[0].Value != 5 || !got[0].OK || len(got[0].Rounds) != 3 {
		t.Errorf("got %+v", got)
	}
}

func TestBarsNotMeasuredAreLeftOut(t *testing.T) {
	if got := judge(bars, nil); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestBarsNameCompetitors(t *testing.T) {
	known := competitors.Names(competitors.All)
	for _, b := range bars {
		for _, name := range []string{b.of, b.over} {
			found := name == "" && b.ideal > 0
			for _, k := range known {
				found = found || k == name
			}
			if !found {
				t.Errorf("bar %s names %s, which is not measured", b.name, name)
			}
		}
	}
}

func TestBarOverAnIdeal(t *testing.T) {
	ms := []contest.Measurement{{Name: "a", Callers: 32, Round: 1, Figure: measure.Figure{Rate: 600}},
		{Name: "a", Callers: 16, Round: 1, Figure: measure.Figure{Rate: 1}}, // another number of callers
		{Name: "b", Callers: 32, Round: 1, Figure: measure.Figure{Rate: 2}}}
	got := judge([]bar{{name: "x", limit: atLeast(0.85), quantity: rate, of: "a", callers: 32, ideal: 640}}, ms)
	if len(got) != 1 || got[0].Value != 0.9375 || !got[0].OK {
		t.Errorf("got %+v", got)
	}
}

func TestBarSaysInTheFileWhichLimitItHas(t *testing.T) {
	ms := []contest.Measurement{{Name: "a", Figure: measure.Figure{Rate: 3}}}
	for limit, want := range map[bound]string{
		atLeast(2): `{"name":"x","value":3,"at_least":2,"ok":true,"rounds":[3]}`,
		atMost(2):  `{"name":"x","value":3,"at_most":2,"ok":false,"rounds":[3]}`,
	} {
		got, err := json.Marshal(judge([]bar{{name: "x", limit: limit, quantity: rate, of: "a", ideal: 1}}, ms)[0])
		if err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}

func TestLanesHaveBothSidesOfTheirBars(t *testing.T) {
	chosen, err := competitors.Choose("lanes", competitors.Sets())
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) int { return slices.IndexFunc(bars, func(b bar) bool { return b.name == name }) }
	for _, b := range bars[at("express-vs-limit-64") : at("undecided-growth")+1] {
		for _, name := range []string{b.of, b.over} {
			if name != "" && !slices.Contains(competitors.Names(chosen), name) {
				t.Errorf("bar %s needs %s", b.name, name)
			}
		}
	}
}
