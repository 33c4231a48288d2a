package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

func noSuchLetter(id string) error {
	return withRemedy(noSuchLetterError(id),
		"`holdfast dead list --state all` shows those that there are; it may not have died yet, or have been settled longer ago than the namespace keeps")
}

// findDead returns the dead letter that id means: a workflow's ID, a message's ID
// or a business key, in that order. Where several have it, the open one is
// meant, if there is one.
func (t *temporalServer) findDead(ctx context.Context, id, consumer, prefix string) (deadRow, error) {
	if strings.HasPrefix(id, deadPrefix) {
		found, err := t.describeDead(ctx, []string{id})
		return t.oneDead(id, found, err)
	}
	all := deadFilter{prefix: prefix, consumer: consumer, states: []string{stateAll}}
	owners := []string{consumer}
	if consumer == "" {
		var err error
		if owners, err = t.recentOwners(ctx, all); err != nil {
			return deadRow{}, err
		}
	}
	ids := make([]string, len(owners))
	for i, owner := range owners {
		ids[i] = deadPrefix + owner + "/" + id
	}
	found, err := t.describeDead(ctx, ids)
	if err != nil || len(found) > 0 {
		return t.oneDead(id, found, err)
	}
	byKey := all
	byKey.key = id
	if byKey.validate() == nil {
		if err := t.dead(ctx, byKey, deadPage, collect(&found)); err != nil || len(found) > 0 {
			return t.oneDead(id, found, err)
		}
	}
	if consumer == "" { // a consumer that has none among the latest
		err = t.dead(ctx, all, deadPage, func(r deadRow) bool {
			if r.ID == id {
				found = append(found, r)
			}
			return true
		})
	}
	return t.oneDead(id, found, err)
}

func collect(rows *[]deadRow) func(deadRow) bool {
	return func(r deadRow) bool {
		*rows = append(*rows, r)
		return true
	}
}

// oneDead returns the single dead letter that is meant.
func (t *temporalServer) oneDead(id string, found []deadRow, err error) (deadRow, error) {
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
		return deadRow{}, noSuchLetter(id)
	case len(found) == 1:
		return found[0], nil
	case len(open) == 1:
		return open[0], nil
	}
	return deadRow{}, ambiguous(id, "workflows", ids)
}

// describeDead returns those of these workflows that exist, each once. It asks
// for each, since the visibility store would not know the latest.
func (t *temporalServer) describeDead(ctx context.Context, ids []string) ([]deadRow, error) {
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
			mu.Lock()
			defer mu.Unlock()
			found = append(found, t.deadRow(info))
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	return found, nil
}

// recentOwners returns the consumers of the latest dead letters.
func (t *temporalServer) recentOwners(ctx context.Context, f deadFilter) ([]string, error) {
	var owners []string
	seen := map[string]bool{}
	n := 0
	err := t.dead(ctx, f, recentLimit, func(r deadRow) bool {
		if !seen[r.owner] {
			seen[r.owner] = true
			owners = append(owners, r.owner)
		}
		n++
		return n < recentLimit
	})
	return owners, err
}
