package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"golang.org/x/sync/errgroup"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

// target is the workflow that an ID means.
type target struct {
	workflowID, runID string
	// tx is the transaction that is meant in it; empty if only the business key
	// is known.
	tx string
	// key is the business key that it was found by, if it was.
	key string
}

// recentLimit is how many transactions are looked at for the names of groups.
const recentLimit = 1000

// find returns what id means: a workflow's ID, a transaction's ID or a business
// key, in that order.
func (t *temporalServer) find(ctx context.Context, id, group string) (target, error) {
	if strings.HasPrefix(id, "tx/") || strings.HasPrefix(id, cohortPrefix) {
		return t.one(ctx, id, []string{id})
	}
	groups := []string{group}
	if group == "" {
		var err error
		if groups, err = t.recentGroups(ctx); err != nil {
			return target{}, err
		}
	}
	ids := make([]string, len(groups))
	for i, g := range groups {
		ids[i] = workflows.WorkflowID(g, id)
	}
	found, err := t.one(ctx, id, ids)
	if !errors.Is(err, holdfast.ErrNotFound) {
		return found, err
	}
	if found, err = t.byKey(ctx, id, group); !errors.Is(err, holdfast.ErrNotFound) {
		return found, err
	}
	if group == "" {
		if ids, err = t.ofItsTime(ctx, id); err != nil {
			return target{}, err
		}
		return t.one(ctx, id, ids)
	}
	return target{}, notFound(id)
}

// noSuchError means that nothing has this ID or key.
type noSuchError string

func (e noSuchError) Error() string {
	return fmt.Sprintf("no transaction has the ID or the key %q", string(e))
}
func (e noSuchError) Is(target error) bool { return target == holdfast.ErrNotFound }

func notFound(id string) error {
	return withRemedy(noSuchError(id),
		"give its group with --group; it may be too new to be listed yet, or older than the namespace keeps")
}

func ambiguous(id string, ids []string) error {
	return withRemedy(fmt.Errorf("%q means %d workflows: %s", id, len(ids), strings.Join(ids, ", ")), "give one of these IDs instead")
}

// one returns the single workflow among ids that exists. It asks for each, since
// the visibility store would not know the latest.
func (t *temporalServer) one(ctx context.Context, id string, ids []string) (target, error) {
	var mu sync.Mutex
	var found []target
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(resultsAtOnce)
	for _, workflowID := range ids {
		all.Go(func() error {
			d, err := t.DescribeWorkflowExecution(ctx, workflowID, "")
			var missing *serviceerror.NotFound
			if errors.As(err, &missing) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("look for workflow %s: %w", workflowID, err)
			}
			_, tx := splitWorkflowID(workflowID)
			mu.Lock()
			defer mu.Unlock()
			found = append(found, target{workflowID: workflowID, runID: d.GetWorkflowExecutionInfo().GetExecution().GetRunId(), tx: tx})
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return target{}, err
	}
	return single(id, found)
}

func single(id string, found []target) (target, error) {
	switch len(found) {
	case 0:
		return target{}, notFound(id)
	case 1:
		return found[0], nil
	}
	ids := make([]string, len(found))
	for i, f := range found {
		ids[i] = f.workflowID
	}
	return target{}, ambiguous(id, ids)
}

// byKey finds the workflow with the business key.
func (t *temporalServer) byKey(ctx context.Context, key, group string) (target, error) {
	f := filter{key: key, group: group}
	if f.validate() != nil || len(key) > holdfast.MaxName {
		return target{}, notFound(key)
	}
	size := 10
	if !askable(key) {
		size = recentLimit
	}
	infos, err := t.page(ctx, f.query(), size)
	if err != nil {
		return target{}, err
	}
	var found []target
	seen := map[string]bool{}
	for _, info := range infos {
		id := info.GetExecution().GetWorkflowId()
		if seen[id] || !f.matches(t.infoRow(info)) {
			continue // an earlier run of the same workflow, or another key
		}
		seen[id] = true
		_, tx := splitWorkflowID(id)
		found = append(found, target{workflowID: id, runID: info.GetExecution().GetRunId(), tx: tx, key: key})
	}
	return single(key, found)
}

// recentGroups returns the groups of the latest transactions.
func (t *temporalServer) recentGroups(ctx context.Context) ([]string, error) {
	infos, err := t.page(ctx, filter{}.query(), recentLimit)
	if err != nil {
		return nil, err
	}
	var groups []string
	seen := map[string]bool{"": true}
	for _, info := range infos {
		if g, _ := splitWorkflowID(info.GetExecution().GetWorkflowId()); !seen[g] {
			seen[g] = true
			groups = append(groups, g)
		}
	}
	return groups, nil
}

// ofItsTime returns the workflows with the transaction ID id that were started
// at the time that a UUIDv7 holds; none if it is another kind of ID.
func (t *temporalServer) ofItsTime(ctx context.Context, id string) ([]string, error) {
	u, err := uuid.Parse(id)
	if err != nil || u.Version() != 7 {
		return nil, nil
	}
	seconds, nanos := u.Time().UnixTime()
	at := time.Unix(seconds, nanos)
	query := filter{since: at.Add(-time.Minute)}.query() + " AND StartTime <= " + quote(at.Add(time.Minute).UTC().Format(time.RFC3339Nano))
	infos, err := t.page(ctx, query, recentLimit)
	if err != nil {
		return nil, err
	}
	var ids []string
	seen := map[string]bool{}
	for _, info := range infos {
		workflowID := info.GetExecution().GetWorkflowId()
		if _, tx := splitWorkflowID(workflowID); tx == id && !seen[workflowID] {
			seen[workflowID] = true
			ids = append(ids, workflowID)
		}
	}
	return ids, nil
}

func (t *temporalServer) page(ctx context.Context, query string, size int) ([]*workflowpb.WorkflowExecutionInfo, error) {
	page, err := t.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: t.namespace, PageSize: int32(size), Query: query})
	if err != nil {
		return nil, listError(err)
	}
	return page.GetExecutions(), nil
}
