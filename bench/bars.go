package main

import (
	"fmt"
	"strconv"
)

// bar is a ratio that has to be reached, or not to be exceeded: what quantity
// says of one competitor, over what it says of another, at a number of callers,
// in the same round.
type bar struct {
	name     string
	limit    bound
	quantity func(figure) float64
	of, over string
	callers  int
	// ideal is what to divide by where over is empty.
	ideal float64
}

// bound is a lower limit, or an upper one.
type bound struct {
	value float64
	upper bool
}

func atLeast(v float64) bound { return bound{value: v} }
func atMost(v float64) bound  { return bound{value: v, upper: true} }

func rate(f figure) float64 { return f.Rate }
func p50(f figure) float64  { return f.P50 }

func growth(f figure) float64 { return f.Growth }
func peak(f figure) float64   { return f.Peak }

// bars are all that have to be reached. Add new ones at the end.
var bars = []bar{
	{name: "traced-vs-usual-rate", limit: atLeast(5), quantity: rate, of: traced.name, over: usual.name, callers: 64},
	// times shorter
	{name: "traced-vs-usual-p50", limit: atLeast(8), quantity: p50, of: usual.name, over: traced.name, callers: 1},
	{name: "traced-vs-empty-rate", limit: atLeast(0.75), quantity: rate, of: traced.name, over: empty.name, callers: 64},
	{name: "publish-vs-bare-rate", limit: atLeast(0.8), quantity: rate,
		of: publish.name, over: publishBare.name, callers: 64},
	{name: "consume-vs-bare", limit: atLeast(0.85), quantity: rate, of: consume.name, over: consumeBare.name, callers: 16},
	{name: "consume-vs-bare-db", limit: atLeast(0.75), quantity: rate,
		of: consumeDB.name, over: consumeDBBare.name, callers: 16},
	{name: "backlog-vs-ideal", limit: atLeast(0.85), quantity: rate,
		of: backlog.name, callers: backlogCallers, ideal: backlogCallers / slowness.Seconds()},
	{name: "dead-memory", limit: atMost(100), quantity: growth, of: dead.name, callers: deadCallers, ideal: 1}, // MB
	{name: "dead-redeliver-vs-empty", limit: atLeast(0.5), quantity: rate,
		of: deadRedeliver.name, over: empty.name, callers: 64},
	{name: "saga-local-vs-usual", limit: atLeast(5), quantity: rate,
		of: sagaLocal.name, over: sagaLocalUsual.name, callers: 64},
	{name: "saga-mixed-vs-usual", limit: atLeast(2), quantity: rate,
		of: sagaMixed.name, over: sagaMixedUsual.name, callers: 64},
	{name: "saga-local-vs-empty", limit: atLeast(0.7), quantity: rate, of: sagaLocal.name, over: empty.name, callers: 64},
	{name: "express-vs-limit-64", limit: atLeast(0.8), quantity: rate, of: express.name, over: limit.name, callers: 64},
	{name: "express-vs-limit-256", limit: atLeast(0.8), quantity: rate, of: express.name, over: limit.name, callers: 256},
	{name: "express-p50-vs-limit", limit: atMost(1.4), quantity: p50, of: express.name, over: limit.name, callers: 1},
	{name: "cohorts-vs-usual", limit: atLeast(40), quantity: rate, of: cohorts.name, over: usual.name, callers: 64},
	{name: "cohorts-vs-empty", limit: atLeast(6), quantity: rate, of: cohorts.name, over: empty.name, callers: 64},
	{name: "cohorts-p50-vs-traced", limit: atMost(1.1), quantity: p50, of: cohorts.name, over: traced.name, callers: 1},
	{name: "cohorts-slow-p50", limit: atMost(2), quantity: p50, of: cohortsSlow.name, over: cohorts.name, callers: 64},
	{name: "express-vs-outbox", limit: atLeast(5), quantity: rate,
		of: expressDelivered.name, over: outbox.name, callers: 64},
	{name: "express-vs-outbox-4", limit: atLeast(1), quantity: rate,
		of: expressDelivered.name, over: outboxSharded.name, callers: 64},
	{name: "undecided-memory", limit: atMost(300), quantity: peak,
		of: nameOf(undecidedSeries, 100_000), callers: 1, ideal: 1}, // MB
	{name: "undecided-growth", limit: atLeast(0.8), quantity: rate,
		of: nameOf(undecidedSeries, 100_000), over: nameOf(undecidedSeries, 25_000), callers: 1}, // in proportion
}

// barResult is what a bar came to. It has one of AtLeast and AtMost.
type barResult struct {
	Name    string    `json:"name"`
	Value   float64   `json:"value"` // the median of Rounds
	AtLeast *float64  `json:"at_least,omitempty"`
	AtMost  *float64  `json:"at_most,omitempty"`
	OK      bool      `json:"ok"`
	Rounds  []float64 `json:"rounds"`

	limit bound
}

// judge works the bars out. One that was not measured is left out.
func judge(bars []bar, ms []measurement) []barResult {
	var out []barResult
	for _, b := range bars {
		r := barResult{Name: b.name, limit: b.limit, Rounds: b.ratios(ms)}
		if len(r.Rounds) == 0 {
			continue
		}
		r.Value = median(r.Rounds)
		r.OK = b.limit.holds(r.Value)
		if b.limit.upper {
			r.AtMost = &b.limit.value
		} else {
			r.AtLeast = &b.limit.value
		}
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
		if m.Name != b.of || m.Callers != b.callers {
			continue
		}
		v := b.ideal
		if b.over != "" {
			v = over[when{m.Round, m.Turn}]
		}
		if v > 0 {
			out = append(out, b.quantity(m.figure)/v)
		}
	}
	return out
}

// holds reports whether v is on the right side.
func (l bound) holds(v float64) bool {
	if l.upper {
		return v <= l.value
	}
	return v >= l.value
}

func (l bound) String() string {
	side := "at least "
	if l.upper {
		side = "at most "
	}
	return side + strconv.FormatFloat(l.value, 'f', -1, 64)
}

// String is the line that is printed last and that programs read.
func (r barResult) String() string {
	verdict := "ok"
	switch {
	case !r.OK && r.limit.upper:
		verdict = "over"
	case !r.OK:
		verdict = "short"
	}
	return fmt.Sprintf("bar %s %s (%s) %s", r.Name, ratio(r.Value, r.limit), r.limit, verdict)
}

// ratio prints v with as many decimals as it takes to see on which side of the
// limit it is: 5.6, 0.87, 0.799.
func ratio(v float64, limit bound) string {
	decimals := 1
	if limit.value < 2 {
		decimals = 2
	}
	for ; decimals < 6; decimals++ {
		s := strconv.FormatFloat(v, 'f', decimals, 64)
		if shown, err := strconv.ParseFloat(s, 64); err == nil && limit.holds(shown) == limit.holds(v) {
			return s
		}
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}
