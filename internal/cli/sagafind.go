package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

// noSuchSagaError means that no saga has this ID or key.
type noSuchSagaError string

func (e noSuchSagaError) Error() string {
	return fmt.Sprintf("no saga has the ID or the key %q", string(e))
}
func (e noSuchSagaError) Is(target error) bool { return target == holdfast.ErrNotFound }

func noSuchSaga(id string) error {
	return withRemedy(noSuchSagaError(id),
		"`holdfast saga list` shows those that there are; it may have ended longer ago than the namespace keeps, or be another --prefix's")
}

// findSaga returns the saga that id means: a workflow's ID, NAME/KEY, or a key.
// That it means several is an error which names them: to act on another saga than
// the one that was thought of cannot be taken back.
func (t *temporalServer) findSaga(ctx context.Context, id, group, prefix string) (sagaRow, error) {
	if strings.HasPrefix(id, sagaPrefix) {
		own, _ := sagaOf(id)
		found, err := t.describeSagas(ctx, []string{own})
		return oneSaga(id, found, err)
	}
	f := sagaFilter{prefix: prefix, group: group, key: id}
	if name, key, ok := strings.Cut(id, "/"); ok {
		f.name, f.key = name, key
	}
	if f.validate() != nil || f.key == "" || strings.Contains(f.key, "/") {
		return sagaRow{}, noSuchSaga(id)
	}
	// The visibility store would not know the latest.
	ids, err := t.likelySagas(ctx, f)
	if err != nil {
		return sagaRow{}, err
	}
	found, err := t.describeSagas(ctx, ids)
	if err != nil {
		return sagaRow{}, err
	}
	found = slices.DeleteFunc(found, func(r sagaRow) bool { return !f.matches(r) })
	err = t.sagas(ctx, f, sagaPage, func(r sagaRow) bool {
		if !slices.ContainsFunc(found, func(o sagaRow) bool { return o.ID == r.ID }) {
			found = append(found, r)
		}
		return true
	})
	return oneSaga(id, found, err)
}

func oneSaga(id string, found []sagaRow, err error) (sagaRow, error) {
	switch {
	case err != nil:
		return sagaRow{}, err
	case len(found) == 0:
		return sagaRow{}, noSuchSaga(id)
	case len(found) == 1:
		return found[0], nil
	}
	var ids []string
	for _, r := range found {
		ids = append(ids, r.ID)
	}
	slices.Sort(ids)
	return sagaRow{}, ambiguous(id, "workflows", ids)
}

// likelySagas returns the IDs that what f means would have with the groups and
// names of the latest sagas.
func (t *temporalServer) likelySagas(ctx context.Context, f sagaFilter) ([]string, error) {
	if f.group != "" && f.name != "" {
		return []string{workflows.SagaID(f.group, f.name, f.key)}, nil
	}
	infos, err := t.page(ctx, sagaFilter{prefix: f.prefix, group: f.group}.query(), recentLimit)
	if err != nil {
		return nil, sagaListError(err)
	}
	var ids []string
	for _, info := range infos {
		group, name, _, ok := splitSagaID(info.GetExecution().GetWorkflowId())
		if f.name != "" {
			name = f.name
		}
		if id := workflows.SagaID(group, name, f.key); ok && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// describeSagas returns those of these sagas that exist.
func (t *temporalServer) describeSagas(ctx context.Context, ids []string) ([]sagaRow, error) {
	var mu sync.Mutex
	var found []sagaRow
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(describeLimit)
	for _, id := range ids {
		all.Go(func() error {
			info, err := t.latest(ctx, id)
			if err == nil && info == nil { // what undid it may have been kept longer
				info, err = t.latest(ctx, workflows.SagaUndoID(id))
			}
			if err != nil || info == nil {
				return err
			}
			if kind := info.GetType().GetName(); kind != workflows.SagaName {
				return usagef("workflow %s is a %s, not a %s", id, kind, workflows.SagaName)
			}
			r, err := t.sagaRow(ctx, info)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			found = append(found, r)
			return nil
		})
	}
	return found, all.Wait()
}
