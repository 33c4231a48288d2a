package main

import "testing"

func TestBarLine(t *testing.T) {
	for _, c := range []struct {
		value, atLeast float64
		want           string
	}{
		{5.6, 5, "bar x 5.6 (at least 5) ok"},
		{5, 5, "bar x 5.0 (at least 5) ok"},
		{4.21, 5, "bar x 4.2 (at least 5) short"},
		{4.97, 5, "bar x 4.97 (at least 5) short"},
		{0.8704, 0.75, "bar x 0.87 (at least 0.75) ok"},
		{0.7, 0.75, "bar x 0.70 (at least 0.75) short"},
		{0.798, 0.8, "bar x 0.798 (at least 0.8) short"},
		{32.84, 8, "bar x 32.8 (at least 8) ok"},
	} {
		m := []measurement{{Name: "a", Callers: 64, Round: 1, figure: figure{Rate: c.value}},
			{Name: "b", Callers: 64, Round: 1, figure: figure{Rate: 1}}}
		got := judge([]bar{{"x", c.atLeast, rate, "a", "b", 64}}, m)
		if len(got) != 1 || got[0].String() != c.want {
			t.Errorf("got %v, want %q", got, c.want)
		}
	}
}

func TestBarIsTheMedianOfTheRoundsRatios(t *testing.T) {
	var ms []measurement
	for i, rates := range [][2]float64{{100, 10}, {60, 20}, {50, 10}} { // 10, 3, 5
		ms = append(ms, measurement{Name: "a", Callers: 64, Round: i + 1, figure: figure{Rate: rates[0]}},
			measurement{Name: "b", Callers: 64, Round: i + 1, figure: figure{Rate: rates[1]}})
	}
	ms = append(ms, measurement{Name: "a", Callers: 64, Round: 4, figure: figure{Rate: 1}}, // its other side failed
		measurement{Name: "b", Callers: 16, Round: 4, figure: figure{Rate: 1}}) // another number of callers
	got := judge([]bar{{"x", 5, rate, "a", "b", 64}}, ms)
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
	known := names(competitors)
	for _, b := range bars {
		for _, name := range []string{b.of, b.over} {
			found := false
			for _, k := range known {
				found = found || k == name
			}
			if !found {
				t.Errorf("bar %s names %s, which is not measured", b.name, name)
			}
		}
	}
}
