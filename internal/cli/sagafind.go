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

func noSuchSaga(t *temporalServer, id string) error {
	return withRemedy(noSuchSagaError(id),
		"%s shows those that there are; it may have ended longer ago than the namespace keeps, or be another --prefix's", t.code("saga list", ""))
}

// findSaga returns the saga that id means: a workflow's ID, NAME/KEY, or a key.
// That it means several is an error which names them: to act on another saga than
// the one that was thought of cannot be taken back.
func findSaga(ctx context.Context, t *temporalServer, id, group, prefix string) (sagaRow, error) {
	if known, ok := workflows.ParseID(id); ok && known.Kind == workflows.KindSaga {
		known.Undo = false
		for _, name := range t.names(known) {
			if found, err := describeSagas(ctx, t, []string{name}); err != nil || len(found) > 0 {
				return oneSaga(t, id, found, err)
			}
		}
		return sagaRow{}, noSuchSaga(t, id)
	}
	var found []sagaRow
	var err error
	for _, f := range sagaMeanings(sagaFilter{prefix: prefix, group: group}, id) {
		if err == nil {
			found, err = addSagas(ctx, t, found, f)
		}
	}
	return oneSaga(t, id, found, err)
}

// sagaMeanings are what an ID may mean that is no workflow's: a key or, up to its first
// slash, a saga's name and a key. A key may have slashes.
func sagaMeanings(f sagaFilter, id string) (meant []sagaFilter) {
	if f.key = id; f.validate() != nil || id == "" {
		return nil
	}
	meant = []sagaFilter{f}
	if name, key, ok := strings.Cut(id, "/"); ok && key != "" && holdfast.ValidateName("saga", name) == nil {
		f.name, f.key = name, key
		meant = append(meant, f)
	}
	return meant
}

// addSagas adds to found the sagas that f means.
func addSagas(ctx context.Context, t *temporalServer, found []sagaRow, f sagaFilter) ([]sagaRow, error) {
	add := func(r sagaRow) {
		if f.matches(r) && !slices.ContainsFunc(found, func(o sagaRow) bool { return o.ID == r.ID }) {
			found = append(found, r)
		}
	}
	// The visibility store would not know the latest.
	ids, err := likelySagas(ctx, t, f)
	if err != nil {
		return nil, err
	}
	likely, err := describeSagas(ctx, t, ids)
	if err != nil {
		return nil, err
	}
	for _, r := range likely {
		add(r)
	}
	err = eachSaga(ctx, t, f, deadPage, func(r sagaRow) bool {
		add(r)
		return true
	})
	return found, hardToAsk(f.key, err)
}

func oneSaga(t *temporalServer, id string, found []sagaRow, err error) (sagaRow, error) {
	switch {
	case err != nil:
		return sagaRow{}, err
	case len(found) == 0:
		return sagaRow{}, noSuchSaga(t, id)
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
func likelySagas(ctx context.Context, t *temporalServer, f sagaFilter) ([]string, error) {
	if f.group != "" && f.name != "" {
		return t.names(workflows.ID{Kind: workflows.KindSaga, Owner: f.group, Name: f.name, Key: f.key}), nil
	}
	infos, err := t.page(ctx, sagaFilter{prefix: f.prefix, group: f.group}.query(), recentLimit)
	if err != nil {
		return nil, sagaListError(t, err)
	}
	var ids []string
	for _, info := range infos {
		group, name, _, ok := splitSagaID(info.GetExecution().GetWorkflowId())
		if f.name != "" {
			name = f.name
		}
		for _, id := range t.names(workflows.ID{Kind: workflows.KindSaga, Owner: group, Name: name, Key: f.key}) {
			if ok && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

// describeSagas returns those of these sagas that exist.
func describeSagas(ctx context.Context, t *temporalServer, ids []string) ([]sagaRow, error) {
	var mu sync.Mutex
	var found []sagaRow
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(describeLimit)
	for _, id := range ids {
		all.Go(func() error {
			info, err := latestRun(ctx, t, id)
			if err == nil && info == nil { // what undid it may have been kept longer
				info, err = latestRun(ctx, t, workflows.SagaUndoID(id))
			}
			if err != nil || info == nil {
				return err
			}
			if kind := info.GetType().GetName(); kind != workflows.SagaName {
				return usagef("workflow %s is a %s, not a %s", id, kind, workflows.SagaName)
			}
			if !t.isOurs(info) {
				return nil
			}
			r, err := sagaRowOf(ctx, t, info)
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
