package main

import (
	"fmt"
	"strconv"
)

// bar is a ratio that has to be reached: what quantity says of one competitor,
// over what it says of another, at a number of callers, in the same round.
type bar struct {
	name     string
	atLeast  float64
	quantity func(figure) float64
	of, over string
	callers  int
}

func rate(f figure) float64 { return f.Rate }
func p50(f figure) float64  { return f.P50 }

// bars are all that have to be reached. Add new ones at the end.
var bars = []bar{
	{"traced-vs-usual-rate", 5, rate, traced.name, usual.name, 64},
	{"traced-vs-usual-p50", 8, p50, usual.name, traced.name, 1}, // how many times shorter
	{"traced-vs-empty-rate", 0.75, rate, traced.name, empty.name, 64},
	{"publish-vs-bare-rate", 0.8, rate, publish.name, publishBare.name, 64},
}

// barResult is what a bar came to.
type barResult struct {
	Name    string    `json:"name"`
	Value   float64   `json:"value"` // the median of Rounds
	AtLeast float64   `json:"at_least"`
	OK      bool      `json:"ok"`
	Rounds  []float64 `json:"rounds"`
}

// judge works the bars out. One that was not measured is left out.
func judge(bars []bar, ms []measurement) []barResult {
	var out []barResult
	for _, b := range bars {
		r := barResult{Name: b.name, AtLeast: b.atLeast, Rounds: b.ratios(ms)}
		if len(r.Rounds) == 0 {
			continue
		}
		r.Value = median(r.Rounds)
		r.OK = r.Value >= r.AtLeast
		out = append(out, r)
	}
	return out
}

// ratios returns the ratio of each round, or turn of a round, that has both
// sides.
func (b bar) ratios(ms []measurement) []float64 {
	type when struct{ round, turn int }
	over := map[when]float64{}
	for _, m := range ms {
		if m.Name == b.over && m.Callers == b.callers {
			over[when{m.Round, m.Turn}] = b.quantity(m.figure)
		}
	}
	var out []float64
	for _, m := range ms {
		if v := over[when{m.Round, m.Turn}]; m.Name == b.of && m.Callers == b.callers && v > 0 {
			out = append(out, b.quantity(m.figure)/v)
		}
	}
	return out
}

// String is the line that is printed last and that programs read.
func (r barResult) String() string {
	verdict := "short"
	if r.OK {
		verdict = "ok"
	}
	return fmt.Sprintf("bar %s %s (at least %s) %s", r.Name, ratio(r.Value, r.AtLeast), strconv.FormatFloat(r.AtLeast, 'f', -1, 64), verdict)
}

// ratio prints v with as many decimals as it takes to see on which side of limit
// it is: 5.6, 0.87, 0.799.
func ratio(v, limit float64) string {
	decimals := 1
	if limit < 2 {
		decimals = 2
	}
	for ; decimals < 6; decimals++ {
		s := strconv.FormatFloat(v, 'f', decimals, 64)
		if shown, err := strconv.ParseFloat(s, 64); err == nil && (shown >= limit) == (v >= limit) {
			return s
		}
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}
