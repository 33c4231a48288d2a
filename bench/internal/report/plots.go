package report

import (
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot/plotter"

	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/messages"
	"github.com/holdfastmq/holdfast/bench/internal/transactions"
)

// Plots draws what results say, as far as it was measured, into files whose names
// begin with that of the results.
func (r Results) Plots(folder, source string) (written []string, err error) {
	beginning := strings.TrimSuffix(filepath.Base(source), ".json")
	charts := r.charts()
	for _, name := range sortedKeys(charts) {
		if charts[name].empty() {
			continue
		}
		path := filepath.Join(folder, beginning+"-"+name+".svg")
		if err := charts[name].write(path); err != nil {
			return written, err
		}
		written = append(written, path)
	}
	return written, nil
}

// charts are all that can be drawn, by name.
func (r Results) charts() map[string]chart {
	temporal := map[string]string{"postgresql": "Temporal on PostgreSQL",
		"dev": "Temporal's dev server"}[r.Configuration.Temporal]
	if temporal == "" {
		temporal = "an external Temporal server"
	}
	callers := func(of func(measure.Figure) float64, cs ...contest.Competitor) (out []curve) {
		for _, competitor := range cs {
			c := curve{name: competitor.Name}
			for _, m := range medians(r.Measurements, competitor.Name) {
				c.points = append(c.points, plotter.XY{X: float64(m.Callers), Y: of(m.Figure)})
			}
			out = append(out, c)
		}
		return out
	}
	ticks := []float64{1, 4, 16, 64, 256}
	return map[string]chart{
		"rates": {title: "Transactions per second, " + temporal, x: "callers",
			y: "per second", logX: true, logY: true, ticks: ticks,
			curves: callers(rate, transactions.Limit, transactions.Express, transactions.Cohorts,
				transactions.OutboxSharded, transactions.Outbox,
				transactions.Empty, transactions.Traced, transactions.Usual)},
		"p50": {title: "Median time of one transaction, " + temporal,
			x: "callers", y: "ms", logX: true, logY: true, ticks: ticks,
			curves: callers(p50, transactions.Limit, transactions.Express, transactions.Cohorts,
				transactions.Empty, transactions.Traced, transactions.Usual)},
		"undecided": {title: "Deciding what a dead producer left", x: "undecided half messages", y: "seconds",
			curves: inProportion(r.bySize("measured", seconds, transactions.UndecidedSeries))},
		"payload": {title: "64 callers, by the size of a body", x: "bytes",
			y: "transactions per second", logX: true, logY: true, ticks: floats(transactions.Payloads),
			curves: []curve{r.bySize("limit", rate, transactions.PayloadLimit),
				r.bySize("express", rate, transactions.PayloadExpress)}},
		"half-queues": {title: "Express at 64 callers, by the number of half queues",
			x: "half queues", y: "transactions per second", ticks: floats(transactions.HalfQueues),
			curves: []curve{r.bySize("express", rate, transactions.HalfQueuesExpress)}},
		"backlog": {title: "Working a backlog off", x: "transactions settled, or messages",
			y: "seconds", logX: true, logY: true, ticks: floats(messages.BacklogSizes),
			curves: []curve{r.bySize("Keeper", seconds, messages.KeeperSeries),
				r.bySize("consumer", seconds, messages.ConsumerSeries)}},
	}
}

func seconds(f measure.Figure) float64 { return f.Seconds }

// bySize is the curve of a series.
func (r Results) bySize(name string, of func(measure.Figure) float64, series string) curve {
	c := curve{name: name}
	for _, m := range r.series(series) {
		c.points = append(c.points, plotter.XY{X: float64(m.Size), Y: of(m.Figure)})
	}
	return c
}

// series are the medians of a series, by size.
func (r Results) series(name string) (out []contest.Measurement) {
	var members []string
	for _, m := range r.Measurements {
		if m.Series == name && !slices.Contains(members, m.Name) {
			members = append(members, m.Name)
		}
	}
	for _, member := range members {
		out = append(out, medians(r.Measurements, member)...)
	}
	slices.SortFunc(out, func(a, b contest.Measurement) int { return a.Size - b.Size })
	return out
}

// inProportion adds the straight line through 0 and the last point of c.
func inProportion(c curve) []curve {
	if len(c.points) == 0 {
		return nil
	}
	return []curve{c, {name: "in proportion", guide: true, points: plotter.XYs{{}, c.points[len(c.points)-1]}}}
}

func floats(ns []int) (out []float64) {
	for _, n := range ns {
		out = append(out, float64(n))
	}
	return out
}
