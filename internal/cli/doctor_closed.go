package cli

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/workflows"
)

// lost finds transactions whose last workflow was closed undecided, among the
// latest.
func (f *findings) lost(ctx context.Context, t *temporalServer, prefix string) {
	const check = "lost"
	own := filter{prefix: prefix}.query() + " AND " + beginsWith(workflows.KindTransaction.Begins(prefix)...)
	n, example, err := closedUndecided(ctx, t, own)
	if err != nil {
		f.add(levelWarning, check, "", "unknown: %s", text(err))
		return
	}
	cohorts, err := lostShared(ctx, t, workflows.KindCohort)
	if err != nil {
		f.add(levelWarning, check, "", "unknown: %s", text(err))
		return
	}
	recoveries, err := lostShared(ctx, t, workflows.KindRecovery)
	if err != nil {
		f.add(levelWarning, check, "", "unknown: %s", text(err))
		return
	}
	if n+cohorts.txs+recoveries.txs == 0 {
		f.ok(check, "no transaction's workflow was closed undecided")
		return
	}
	if n > 0 {
		f.add(levelProblem, check, "take each up again, such as: "+f.command("tx recheck", example, withReason()...),
			"%s closed undecided, by a termination for example", plural(n, "workflow"))
	}
	if recoveries.txs > 0 {
		f.add(levelProblem, check+" recoveries", "take them up again, such as: "+f.command("tx recheck", recoveries.example, withReason()...),
			"%s closed undecided, and nobody has their %s any more", plural(recoveries.workflows, "recovery workflow"), plural(recoveries.txs, "half message"))
	}
	if cohorts.txs > 0 {
		f.add(levelWarning, check+" cohorts", "wait: the Keeper has their half messages and hands them over by itself; if it stays so, see whether it runs, or: "+f.command("tx recheck", cohorts.example, withReason()...),
			"%s closed undecided, with %s", plural(cohorts.workflows, "cohort"), plural(cohorts.txs, "transaction"))
	}
}

// lostTogether are the shared workflows that were closed undecided, and their
// transactions that go on nowhere.
type lostTogether struct {
	workflows, txs int
	example        string
}

// lostShared looks for such workflows of a kind among the latest.
func lostShared(ctx context.Context, t *temporalServer, kind workflows.Kind) (lostTogether, error) {
	var found lostTogether
	var mu sync.Mutex
	infos, err := t.page(ctx, filter{prefix: t.prefix}.query()+" AND "+beginsWith(kind.Begins(t.prefix)...)+undecidedTerm, lostLimit)
	if err != nil {
		return found, err
	}
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(resultsAtOnce)
	for _, info := range infos {
		if !t.isOurs(info) {
			continue
		}
		all.Go(func() error {
			r := infoRow(t, info)
			members, err := membersOf(ctx, t, r, info.GetStatus())
			if err != nil {
				return err
			}
			if n := len(undecided(members)); n > 0 {
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
func closedUndecided(ctx context.Context, t *temporalServer, query string) (n int, example string, err error) {
	infos, err := t.page(ctx, query+undecidedTerm, lostLimit)
	if err != nil {
		return 0, "", err
	}
	seen := map[string]bool{}
	for _, info := range infos {
		id := info.GetExecution().GetWorkflowId()
		if seen[id] || !t.isOurs(info) {
			continue
		}
		seen[id] = true
		d, err := t.DescribeWorkflowExecution(ctx, id, "")
		if err == nil && isLost(d.GetWorkflowExecutionInfo().GetStatus()) {
			n, example = n+1, id
		}
	}
	return n, example, nil
}
