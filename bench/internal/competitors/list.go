// Package competitors lists the competitors of all rooms in the order in which they
// are measured and printed, and chooses among them. A new one is added here.
package competitors

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/deadletters"
	"github.com/holdfastmq/holdfast/bench/internal/messages"
	"github.com/holdfastmq/holdfast/bench/internal/sagas"
	"github.com/holdfastmq/holdfast/bench/internal/transactions"
)

// All are the competitors in the order in which they are measured and printed.
var All = slices.Concat([]contest.Competitor{
	transactions.Limit, transactions.Traced, transactions.Empty, transactions.Usual,
	messages.Publish, messages.PublishBare,
	messages.Consume, messages.ConsumeBare, messages.ConsumeDB, messages.ConsumeDBBare, messages.Backlog,
	deadletters.Dead, deadletters.Redeliver,
	sagas.Local, sagas.LocalExpress, sagas.LocalCohorts, sagas.LocalTrusting, sagas.LocalUsual, sagas.DBOS, sagas.DTM,
	sagas.Mixed, sagas.MixedExpress, sagas.MixedCohorts, sagas.MixedTrusting, sagas.MixedUsual, sagas.DTMMixed,
}, lanes())

// lanes are the competitors of the Express lane and of cohorts that are not
// compared with anything else.
func lanes() []contest.Competitor {
	return slices.Concat([]contest.Competitor{
		transactions.LimitConsumed, transactions.LimitOutcome,
		transactions.Express, transactions.ExpressDelivered,
		transactions.Outbox, transactions.OutboxSharded, transactions.DTM,
		transactions.Cohorts, transactions.CohortsSlow,
	}, transactions.Costs(), transactions.Undecided(), messages.Backlogs())
}

// Sets are competitors that belong together, by the name that -only knows them
// by. A series is a set, too.
func Sets() map[string][]contest.Competitor {
	all := map[string][]contest.Competitor{
		"lanes": append([]contest.Competitor{
			transactions.Limit, transactions.Traced, transactions.Empty, transactions.Usual,
		}, lanes()...),
	}
	for _, c := range All {
		if c.Series != "" {
			all[c.Series] = append(all[c.Series], c)
		}
	}
	return all
}

// Choose picks competitors by their names and those of sets, each once; all if
// none is named.
func Choose(only string, sets map[string][]contest.Competitor) (out []contest.Competitor, err error) {
	if only == "" {
		return All, nil
	}
	chosen := map[string]bool{}
	for name := range strings.SplitSeq(only, ",") {
		name = strings.TrimSpace(name)
		set, is := sets[name]
		if !is && !slices.Contains(Names(All), name) {
			return nil, fmt.Errorf("there is no %q", name)
		}
		for _, member := range append(Names(set), name) {
			chosen[member] = true
		}
	}
	for _, c := range All {
		if chosen[c.Name] {
			out = append(out, c)
		}
	}
	return out, nil
}

// Names are the names of competitors, in their order.
func Names(cs []contest.Competitor) []string {
	out := make([]string, len(cs))
	for i, c := range cs {
		out[i] = c.Name
	}
	return out
}
