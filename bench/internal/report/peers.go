package report

import (
	"fmt"

	"github.com/holdfastmq/holdfast/bench/internal/measure"
)

// peer is a way of doing one of the works that people compare.
type peer struct{ work, way, name, lacks string }

const (
	workMessage = "message and database agree"
	workSaga    = "saga of three local steps"
	workMixed   = "saga over two services"
)

// peers are the ways, and what each does not do.
var peers = []peer{
	{workMessage, "Holdfast, Express", "express", "a history of what goes well"},
	{workMessage, "Holdfast, Traced in cohorts", "cohorts", ""},
	{workMessage, "dtm, two-phase message", "dtm-msg", "a broker that keeps the message: the server calls the consumer"},
	{workMessage, "Watermill, outbox (until it is consumed)", "outbox", "more than one database's commit; no history"},
	{workMessage, "Temporal, written by hand", "usual", "rows by which each step happens once; check-back"},
	{workSaga, "Holdfast, Express", "saga-express", "a history of what goes well"},
	{workSaga, "Holdfast, Traced in cohorts", "saga-cohorts", ""},
	{workSaga, "the same, with `TrustBeginRows`", "saga-trusting", ""},
	{workSaga, "Holdfast, Traced", "saga-local", ""},
	{workSaga, "DBOS Transact", "dbos-saga", "participants elsewhere; declared Undo"},
	{workSaga, "dtm, saga", "dtm-saga", "a state that steps change; Undo after the end"},
	{workSaga, "Temporal, written by hand", "saga-usual", "rows by which each step happens once"},
	{workMixed, "Holdfast, Express", "saga-mixed-express", "a history of what goes well"},
	{workMixed, "Holdfast, Traced in cohorts", "saga-mixed-cohorts", ""},
	{workMixed, "the same, with `TrustBeginRows`", "saga-mixed-trusting", ""},
	{workMixed, "Holdfast, Traced", "saga-mixed", ""},
	{workMixed, "dtm, saga", "dtm-saga-mixed", "messages: a service that is away holds its calls up"},
	{workMixed, "Temporal, written by hand", "saga-mixed-usual", "rows by which each step happens once; messages"},
}

// peersTable has the ways that were measured.
func (r Results) peersTable() string {
	out := row("work", "way", "per second, 64 callers", "p50 ms, 1 caller", "processor ms each, 64 callers",
		"what it does not do") + "|---|---|--:|--:|--:|---|\n"
	for _, p := range peers {
		many, measured := r.at(p.name, summaryCallers)
		if !measured {
			continue
		}
		alone, processor := "", 0.0
		if one, measured := r.at(p.name, 1); measured {
			alone = latency(one.P50)
		}
		for part, used := range many.CPU {
			if part != "elsewhere" {
				processor += used
			}
		}
		out += row(p.work, p.way+" (`"+p.name+"`)", measure.Digits(many.Rate), alone, fmt.Sprintf("%.1f", processor), p.lacks)
	}
	return out
}
