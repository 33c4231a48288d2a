package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"golang.org/x/sync/errgroup"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

// noSuchLetterError means that no dead letter has this ID or key.
type noSuchLetterError string

func (e noSuchLetterError) Error() string {
	return fmt.Sprintf("no dead letter has the ID or the key %q", string(e))
}
func (e noSuchLetterError) Is(target error) bool { return target == holdfast.ErrNotFound }

func noSuchLetter(t *temporalServer, id string) error {
	return withRemedy(noSuchLetterError(id),
		"%s shows those that there are; it may not have died yet, or have been settled longer ago than the namespace keeps", t.code("dead list", "", "--state", "all"))
}

// findDead returns the dead letter that id means: a workflow's ID, a message's ID
// or a business key, in that order. Where several have it, the open one is
// meant, if there is one.
func findDead(ctx context.Context, t *temporalServer, id, consumer, prefix string) (deadRow, error) {
	if known, ok := workflows.ParseID(id); ok && known.Kind == workflows.KindDeadLetter {
		for _, name := range t.names(known) {
			if found, err := describeDead(ctx, t, []string{name}); err != nil || len(found) > 0 {
				return oneDead(t, id, found, err)
			}
		}
		return deadRow{}, noSuchLetter(t, id)
	}
	all := deadFilter{prefix: prefix, consumer: consumer, states: []string{stateAll}}
	owners := []string{consumer}
	if consumer == "" {
		var err error
		if owners, err = deadOwners(ctx, t, all); err != nil {
			return deadRow{}, err
		}
	}
	var ids []string
	for _, owner := range owners {
		ids = append(ids, t.names(workflows.ID{Kind: workflows.KindDeadLetter, Owner: owner, Key: id})...)
	}
	found, err := describeDead(ctx, t, ids)
	if err != nil || len(found) > 0 {
		return oneDead(t, id, found, err)
	}
	byKey := all
	if byKey.key = id; byKey.validate() == nil {
		err = hardToAsk(id, eachDead(ctx, t, byKey, deadPage, collect(&found)))
	}
	return oneDead(t, id, found, err)
}

func collect(rows *[]deadRow) func(deadRow) bool {
	return func(r deadRow) bool {
		*rows = append(*rows, r)
		return true
	}
}

// oneDead returns the single dead letter that is meant.
func oneDead(t *temporalServer, id string, found []deadRow, err error) (deadRow, error) {
	if err != nil {
		return deadRow{}, err
	}
	var open []deadRow
	var ids []string
	for _, r := range found {
		if ids = append(ids, r.WorkflowID); r.status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
			open = append(open, r)
		}
	}
	switch {
	case len(found) == 0:
		return deadRow{}, noSuchLetter(t, id)
	case len(found) == 1:
		return found[0], nil
	case len(open) == 1:
		return open[0], nil
	}
	return deadRow{}, ambiguous(id, "workflows", ids)
}

// describeDead returns those of these workflows that exist, each once. It asks
// for each, since the visibility store would not know the latest.
func describeDead(ctx context.Context, t *temporalServer, ids []string) ([]deadRow, error) {
	var mu sync.Mutex
	var found []deadRow
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(resultsAtOnce)
	for _, id := range ids {
		all.Go(func() error {
			d, err := t.DescribeWorkflowExecution(ctx, id, "")
			var missing *serviceerror.NotFound
			if errors.As(err, &missing) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("look for workflow %s: %w", id, err)
			}
			info := d.GetWorkflowExecutionInfo()
			if kind := info.GetType().GetName(); kind != workflows.DeadLetterName {
				return usagef("workflow %s is a %s, not a %s", id, kind, workflows.DeadLetterName)
			}
			if !t.isOurs(info) {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			found = append(found, deadRowOf(t, info))
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	return found, nil
}

const (
	// ownersLimit is how many consumers are looked for; the names of more make a
	// query that is too long.
	ownersLimit = 100
	// ownersPage is how many dead letters are looked at for the names of consumers.
	ownersPage = 100
)

// deadOwners returns the consumers, and the queues of what has none, that have dead letters
// which f means. It asks for the latest ones, then for those of other consumers, and so
// on: how often depends on the consumers, not on how many dead letters they have.
func deadOwners(ctx context.Context, t *temporalServer, f deadFilter) ([]string, error) {
	var owners []string
	query := f.query()
	for len(owners) < ownersLimit {
		infos, err := t.page(ctx, query, ownersPage)
		if err != nil {
			return nil, err
		}
		before := len(owners)
		for _, info := range infos {
			if r := deadRowOf(t, info); !slices.Contains(owners, r.owner) {
				owners = append(owners, r.owner)
				for _, begin := range workflows.DeadLetterBegins(f.prefix, r.owner) {
					if askable(begin) {
						query += " AND WorkflowId NOT STARTS_WITH " + quote(begin)
					}
				}
			}
		}
		if len(owners) == before || len(infos) < ownersPage {
			break
		}
	}
	return owners, nil
}
