package deadletters

import (
	"cmp"
	"context"
	"slices"

	"go.temporal.io/api/workflowservice/v1"
	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/workflows"
)

// Countable reports whether Temporal can count what f means, without a look at each: it knows
// neither errors nor classes, and counts each run of a workflow that was ended.
func (f Filter) Countable() bool {
	open := func(state string) bool {
		return state != server.StateAll && server.ClosedStates[state] == 0 && !workflows.State(state).Final()
	}
	askable := func(value string) bool { return value == "" || server.Askable(value) }
	return f.Class == "" && f.ErrorText == "" && f.ErrorIs == "" && askable(f.Consumer) && askable(f.Topic) &&
		askable(f.Key) && !slices.ContainsFunc(f.States, func(s string) bool { return !open(s) })
}

// Total has Temporal count the dead letters that f means, which has to be Countable: one call,
// however many there are.
func Total(ctx context.Context, t *server.Temporal, f Filter) (int, error) {
	n, err := t.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: t.Namespace,
		Query: f.query()})
	if err != nil {
		return 0, t.CannotList("dead letters", err)
	}
	return int(n.GetCount()), nil
}

// TotalByConsumer has Temporal count the dead letters that f means, which has to be Countable, by
// consumer, the largest group first: how often it is asked depends on the consumers. The groups
// have no Oldest; of a consumer that Temporal cannot be asked for, only the latest is counted.
func TotalByConsumer(ctx context.Context, t *server.Temporal, f Filter) ([]Group, error) {
	latest, err := latestOfEach(ctx, t, f)
	if err != nil {
		return nil, err
	}
	groups := make([]Group, len(latest))
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(server.ResultsAtOnce)
	for i, r := range latest {
		g := &groups[i]
		*g = Group{Value: r.owner, Key: keyOf(r.owner), Count: 1, Newest: r.Started, Example: r.WorkflowID}
		of := f
		if of.Consumer = r.owner; of.Countable() {
			all.Go(func() (err error) {
				g.Count, err = Total(ctx, t, of)
				return err
			})
		}
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(groups, func(x, y Group) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Value, y.Value))
	})
	return groups, nil
}
