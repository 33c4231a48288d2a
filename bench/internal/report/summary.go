package report

import (
	"slices"
	"strings"

	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
)

// summaryCallers is how many callers the summary is about; its head says so.
const summaryCallers = 64

// summaryRow is a competitor of ours, and what is to be seen beside it.
type summaryRow struct {
	what, name string
	beside     []besideIt
}

// besideIt is another competitor, and what it is in words.
type besideIt struct{ name, what string }

// summaryRows are what a reader asks first.
var summaryRows = []summaryRow{
	{"transactional message, Express lane", "express",
		[]besideIt{{"limit", "with nothing that coordinates"}, {"limit-outcome", "with the outcome row alone"}}},
	{"the same, counted at the consumer", "express-delivered",
		[]besideIt{{"outbox", "of Watermill's outbox"}, {"outbox-4", "of four outboxes"}}},
	{"transactional message, Traced lane, in cohorts", "cohorts",
		[]besideIt{{"usual", "as a workflow of three activities"}}},
	{"the same, each with a workflow of its own", "traced", []besideIt{{"empty", "empty workflows"}}},
	{"saga of three local steps", "saga-local",
		[]besideIt{{"saga-usual", "written by hand with activities"}, {"dbos-saga", "with DBOS Transact"}}},
	{"the same, in cohorts", "saga-cohorts", []besideIt{{"saga-local", "each with a workflow of its own"},
		{"saga-usual", "written by hand with activities"}, {"dbos-saga", "with DBOS Transact"}}},
	{"the same, Express lane", "saga-express", []besideIt{{"saga-local", "in the Traced lane"},
		{"saga-usual", "written by hand with activities"}, {"dbos-saga", "with DBOS Transact"}}},
	{"saga of four steps, two of them in another process", "saga-mixed",
		[]besideIt{{"saga-mixed-usual", "written by hand with activities"}}},
	{"the same, Express lane", "saga-mixed-express",
		[]besideIt{{"saga-mixed", "in the Traced lane"}, {"saga-mixed-usual", "written by hand with activities"}}},
}

// summaryTable has the rows whose competitor was measured.
func (r Results) summaryTable() string {
	out := row("with 64 callers", "per second", "p50 ms", "beside it, per second") + "|---|--:|--:|---|\n"
	for _, s := range summaryRows {
		m, measured := r.at(s.name, summaryCallers)
		if !measured {
			continue
		}
		var beside []string
		for _, b := range s.beside {
			if other, measured := r.at(b.name, summaryCallers); measured {
				beside = append(beside, measure.Digits(other.Rate)+" "+b.what)
			}
		}
		out += row(s.what, measure.Digits(m.Rate), latency(m.P50), strings.Join(beside, "; "))
	}
	return out
}

// at is the median of a competitor with so many callers.
func (r Results) at(name string, callers int) (contest.Measurement, bool) {
	all := medians(r.Measurements, name)
	i := slices.IndexFunc(all, func(m contest.Measurement) bool { return m.Callers == callers && m.Series == "" })
	if i < 0 {
		return contest.Measurement{}, false
	}
	return all[i], true
}
