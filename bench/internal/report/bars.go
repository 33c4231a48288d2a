package report

import (
	"cmp"
	"fmt"
	"strconv"

	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/deadletters"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/messages"
	"github.com/holdfastmq/holdfast/bench/internal/sagas"
	"github.com/holdfastmq/holdfast/bench/internal/transactions"
)

// bar is a ratio that has to be reached, or not to be exceeded: what quantity
// says of one competitor, over what it says of another, at a number of callers,
// or at two, in the same round.
type bar struct {
	name     string
	limit    bound
	quantity func(measure.Figure) float64
	of, over string
	callers  int
	// overCallers is the number of callers of over; 0 means callers.
	overCallers int
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

func rate(f measure.Figure) float64 { return f.Rate }
func p50(f measure.Figure) float64  { return f.P50 }

func growth(f measure.Figure) float64 { return f.Growth }
func peak(f measure.Figure) float64   { return f.Peak }

// bars are all that have to be reached. Add new ones at the end, or those of sagas before
// those of the lanes.
var bars = []bar{
	{name: "traced-vs-usual-rate", limit: atLeast(5), quantity: rate, callers: 64,
		of: transactions.Traced.Name, over: transactions.Usual.Name},
	// how many times shorter
	{name: "traced-vs-usual-p50", limit: atLeast(8), quantity: p50, callers: 1,
		of: transactions.Usual.Name, over: transactions.Traced.Name},
	{name: "traced-vs-empty-rate", limit: atLeast(0.75), quantity: rate, callers: 64,
		of: transactions.Traced.Name, over: transactions.Empty.Name},
	{name: "publish-vs-bare-rate", limit: atLeast(0.8), quantity: rate, callers: 64,
		of: messages.Publish.Name, over: messages.PublishBare.Name},
	{name: "consume-vs-bare", limit: atLeast(0.85), quantity: rate, callers: 16,
		of: messages.Consume.Name, over: messages.ConsumeBare.Name},
	{name: "consume-vs-bare-db", limit: atLeast(0.75), quantity: rate, callers: 16,
		of: messages.ConsumeDB.Name, over: messages.ConsumeDBBare.Name},
	{name: "backlog-vs-ideal", limit: atLeast(0.85), quantity: rate, callers: messages.BacklogCallers,
		of: messages.Backlog.Name, ideal: messages.BacklogCallers / messages.Slowness.Seconds()},
	// in MB
	{name: "dead-memory", limit: atMost(100), quantity: growth, callers: deadletters.Callers,
		of: deadletters.Dead.Name, ideal: 1},
	{name: "dead-redeliver-vs-empty", limit: atLeast(0.5), quantity: rate, callers: 64,
		of: deadletters.Redeliver.Name, over: transactions.Empty.Name},
	{name: "saga-local-vs-usual", limit: atLeast(5), quantity: rate, callers: 64,
		of: sagas.Local.Name, over: sagas.LocalUsual.Name},
	{name: "saga-mixed-vs-usual", limit: atLeast(2), quantity: rate, callers: 64,
		of: sagas.Mixed.Name, over: sagas.MixedUsual.Name},
	{name: "saga-local-vs-empty", limit: atLeast(0.7), quantity: rate, callers: 64,
		of: sagas.Local.Name, over: transactions.Empty.Name},
	// for information: who does less is ahead
	{name: "saga-local-vs-dbos", limit: atLeast(1), quantity: rate, callers: 64,
		of: sagas.Local.Name, over: sagas.DBOS.Name},
	{name: "saga-express-vs-dbos", limit: atLeast(2), quantity: rate, callers: 64,
		of: sagas.LocalExpress.Name, over: sagas.DBOS.Name},
	{name: "saga-express-p50-vs-dbos", limit: atMost(1), quantity: p50, callers: 1,
		of: sagas.LocalExpress.Name, over: sagas.DBOS.Name},
	{name: "saga-cohorts-vs-dbos", limit: atLeast(1.3), quantity: rate, callers: 64,
		of: sagas.LocalCohorts.Name, over: sagas.DBOS.Name},
	{name: "saga-trusting-vs-dbos", limit: atLeast(1.3), quantity: rate, callers: 64,
		of: sagas.LocalTrusting.Name, over: sagas.DBOS.Name},
	{name: "saga-cohorts-vs-usual", limit: atLeast(30), quantity: rate, callers: 64,
		of: sagas.LocalCohorts.Name, over: sagas.LocalUsual.Name},
	{name: "saga-cohorts-p50-vs-local", limit: atMost(1.1), quantity: p50, callers: 1,
		of: sagas.LocalCohorts.Name, over: sagas.Local.Name},
	{name: "express-vs-limit-64", limit: atLeast(0.8), quantity: rate, callers: 64,
		of: transactions.Express.Name, over: transactions.Limit.Name},
	{name: "express-vs-limit-256", limit: atLeast(0.8), quantity: rate, callers: 256,
		of: transactions.Express.Name, over: transactions.Limit.Name},
	{name: "express-p50-vs-limit", limit: atMost(1.4), quantity: p50, callers: 1,
		of: transactions.Express.Name, over: transactions.Limit.Name},
	{name: "cohorts-vs-usual", limit: atLeast(40), quantity: rate, callers: 64,
		of: transactions.Cohorts.Name, over: transactions.Usual.Name},
	{name: "cohorts-vs-empty", limit: atLeast(6), quantity: rate, callers: 64,
		of: transactions.Cohorts.Name, over: transactions.Empty.Name},
	{name: "cohorts-p50-vs-traced", limit: atMost(1.1), quantity: p50, callers: 1,
		of: transactions.Cohorts.Name, over: transactions.Traced.Name},
	{name: "cohorts-slow-p50", limit: atMost(2), quantity: p50, callers: 64,
		of: transactions.CohortsSlow.Name, over: transactions.Cohorts.Name},
	{name: "express-vs-outbox", limit: atLeast(5), quantity: rate, callers: 64,
		of: transactions.ExpressDelivered.Name, over: transactions.Outbox.Name},
	{name: "express-vs-outbox-4", limit: atLeast(1), quantity: rate, callers: 64,
		of: transactions.ExpressDelivered.Name, over: transactions.OutboxSharded.Name},
	// in MB
	{name: "undecided-memory", limit: atMost(300), quantity: peak, callers: 1,
		of: contest.NameOf(transactions.UndecidedSeries, 100_000), ideal: 1},
	// in proportion
	{name: "undecided-growth", limit: atLeast(0.8), quantity: rate, callers: 1,
		of:   contest.NameOf(transactions.UndecidedSeries, 100_000),
		over: contest.NameOf(transactions.UndecidedSeries, 25_000)},
	{name: "saga-express-vs-usual", limit: atLeast(15), quantity: rate, callers: 64,
		of: sagas.LocalExpress.Name, over: sagas.LocalUsual.Name},
	{name: "saga-express-vs-local", limit: atLeast(3), quantity: rate, callers: 64,
		of: sagas.LocalExpress.Name, over: sagas.Local.Name},
	{name: "saga-express-p50-vs-local", limit: atMost(0.6), quantity: p50, callers: 1,
		of: sagas.LocalExpress.Name, over: sagas.Local.Name},
	{name: "saga-express-vs-dtm", limit: atLeast(3), quantity: rate, callers: 64,
		of: sagas.LocalExpress.Name, over: sagas.DTM.Name},
	{name: "saga-cohorts-vs-dtm", limit: atLeast(2), quantity: rate, callers: 64,
		of: sagas.LocalCohorts.Name, over: sagas.DTM.Name},
	{name: "saga-trusting-vs-dtm", limit: atLeast(2), quantity: rate, callers: 64,
		of: sagas.LocalTrusting.Name, over: sagas.DTM.Name},
	{name: "saga-express-p50-vs-dtm", limit: atMost(1), quantity: p50, callers: 1,
		of: sagas.LocalExpress.Name, over: sagas.DTM.Name},
	{name: "saga-mixed-express-vs-dtm", limit: atLeast(2), quantity: rate, callers: 64,
		of: sagas.MixedExpress.Name, over: sagas.DTMMixed.Name},
	{name: "saga-mixed-cohorts-vs-dtm", limit: atLeast(1.2), quantity: rate, callers: 64,
		of: sagas.MixedCohorts.Name, over: sagas.DTMMixed.Name},
	{name: "saga-mixed-trusting-vs-dtm", limit: atLeast(1.2), quantity: rate, callers: 64,
		of: sagas.MixedTrusting.Name, over: sagas.DTMMixed.Name},
	{name: "express-vs-limit-consumed-64", limit: atLeast(0.95), quantity: rate, callers: 64,
		of: transactions.Express.Name, over: transactions.LimitConsumed.Name},
	{name: "express-vs-limit-consumed-256", limit: atLeast(0.95), quantity: rate, callers: 256,
		of: transactions.Express.Name, over: transactions.LimitConsumed.Name},
	{name: "express-vs-dtm-msg", limit: atLeast(6), quantity: rate, callers: 64,
		of: transactions.Express.Name, over: transactions.DTM.Name},
	{name: "cohorts-vs-dtm-msg", limit: atLeast(3), quantity: rate, callers: 64,
		of: transactions.Cohorts.Name, over: transactions.DTM.Name},
	{name: "cohorts-256-vs-64", limit: atLeast(1.3), quantity: rate, callers: 256,
		of: transactions.Cohorts.Name, over: transactions.Cohorts.Name, overCallers: 64},
}

// BarResult is what a bar came to. It has one of AtLeast and AtMost.
type BarResult struct {
	Name    string    `json:"name"`
	Value   float64   `json:"value"` // the median of Rounds
	AtLeast *float64  `json:"at_least,omitempty"`
	AtMost  *float64  `json:"at_most,omitempty"`
	OK      bool      `json:"ok"`
	Rounds  []float64 `json:"rounds"`

	limit bound
}

// Judge works all bars out. A bar that was not measured is left out.
func Judge(ms []contest.Measurement) []BarResult { return judge(bars, ms) }

func judge(bars []bar, ms []contest.Measurement) []BarResult {
	var out []BarResult
	for _, b := range bars {
		r := BarResult{Name: b.name, limit: b.limit, Rounds: b.ratios(ms)}
		if len(r.Rounds) == 0 {
			continue
		}
		r.Value = measure.Median(r.Rounds)
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
func (b bar) ratios(ms []contest.Measurement) []float64 {
	type when struct{ round, turn int }
	over := map[when]float64{}
	for _, m := range ms {
		if m.Name == b.over && m.Callers == cmp.Or(b.overCallers, b.callers) {
			over[when{m.Round, m.Turn}] = b.quantity(m.Figure)
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
			out = append(out, b.quantity(m.Figure)/v)
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
func (r BarResult) String() string {
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
