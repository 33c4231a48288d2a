package doctor

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/workflows"
)

// lost finds transactions whose last workflow was closed undecided, among the
// latest.
func (f *Findings) lost(ctx context.Context, t *server.Temporal, prefix string) {
	const check = "lost"
	own := transactions.Filter{Prefix: prefix}.Query() + " AND " +
		server.BeginsWith(workflows.KindTransaction.Begins(prefix)...)
	n, example, err := closedUndecided(ctx, t, own)
	if err != nil {
		f.add(text.LevelWarning, check, "", "unknown: %s", text.Of(err))
		return
	}
	cohorts, err := lostShared(ctx, t, workflows.KindCohort)
	if err != nil {
		f.add(text.LevelWarning, check, "", "unknown: %s", text.Of(err))
		return
	}
	recoveries, err := lostShared(ctx, t, workflows.KindRecovery)
	if err != nil {
		f.add(text.LevelWarning, check, "", "unknown: %s", text.Of(err))
		return
	}
	if n+cohorts.txs+recoveries.txs == 0 {
		f.ok(check, "no transaction's workflow was closed undecided")
		return
	}
	if n > 0 {
		f.add(text.LevelProblem, check, "take each up again, such as: "+f.Command("tx recheck", example,
			text.WithReason()...),
			"%s closed undecided, by a termination for example", text.Plural(n, "workflow"))
	}
	if recoveries.txs > 0 {
		f.add(text.LevelProblem, check+" recoveries", "take them up again, such as: "+f.Command("tx recheck",
			recoveries.example, text.WithReason()...),
			"%s closed undecided, and nobody has their %s any more", text.Plural(recoveries.workflows,
				"recovery workflow"), text.Plural(recoveries.txs, "half message"))
	}
	if cohorts.txs > 0 {
		f.add(text.LevelWarning, check+" cohorts", "wait: the Keeper has their half messages and hands them over by "+
			"itself; if it stays so, see whether it runs, or: "+f.Command("tx recheck", cohorts.example, text.WithReason()...),
			"%s closed undecided, with %s", text.Plural(cohorts.workflows, "cohort"), text.Plural(cohorts.txs, "transaction"))
	}
}

// lostTogether are the shared workflows that were closed undecided, and their
// transactions that go on nowhere.
type lostTogether struct {
	workflows, txs int
	example        string
}

// lostShared looks for such workflows of a kind among the latest.
func lostShared(ctx context.Context, t *server.Temporal, kind workflows.Kind) (lostTogether, error) {
	var found lostTogether
	var mu sync.Mutex
	infos, err := t.Page(ctx, transactions.Filter{Prefix: t.Prefix}.Query()+" AND "+
		server.BeginsWith(kind.Begins(t.Prefix)...)+undecidedTerm, lostLimit)
	if err != nil {
		return found, err
	}
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(server.ResultsAtOnce)
	for _, info := range infos {
		if !t.IsOurs(info) {
			continue
		}
		all.Go(func() error {
			r := transactions.InfoRow(t, info)
			members, err := transactions.Members(ctx, t, r, info.GetStatus())
			if err != nil {
				return err
			}
			if n := len(transactions.Undecided(members)); n > 0 {
				mu.Lock()
				defer mu.Unlock()
				found = lostTogether{found.workflows + 1, found.txs + n, r.WorkflowID}
			}
			return nil
		})
	}
	return found, all.Wait()
}

const (
	// lostLimit is how many workflows that were closed undecided are looked at.
	lostLimit     = 100
	undecidedTerm = ` AND ExecutionStatus IN ("Terminated", "Failed", "TimedOut", "Canceled")`
)

// closedUndecided counts the workflows that query finds and whose last run is lost,
// among the latest, and names one.
func closedUndecided(ctx context.Context, t *server.Temporal, query string) (n int, example string, err error) {
	infos, err := t.Page(ctx, query+undecidedTerm, lostLimit)
	if err != nil {
		return 0, "", err
	}
	seen := map[string]bool{}
	for _, info := range infos {
		id := info.GetExecution().GetWorkflowId()
		if seen[id] || !t.IsOurs(info) {
			continue
		}
		seen[id] = true
		switch last, wrong := t.Latest(ctx, id); {
		case wrong != nil:
			err = wrong
		case last != nil && server.IsLost(last.GetStatus()):
			n, example = n+1, id
		}
	}
	if n > 0 { // which says enough
		err = nil
	}
	return n, example, err
}
