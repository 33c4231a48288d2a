// Package sagas is what an operator does with sagas: list and find them, see how one stands
// and what comes next, steer or undo any number of them, start one, draw a plan. Its
// functions take a Temporal; none writes to a screen, but for Print, which renders what was
// found.
package sagas

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

func noSuchSaga(t *server.Temporal, id string) error {
	return text.WithRemedy(text.NoSuch("saga", id),
		"%s shows those that there are; it may have ended longer ago than the namespace keeps, or be another "+
			"--prefix's", t.Code("saga list", ""))
}

// Find returns the saga that id means: a workflow's ID, NAME/KEY, or a key.
// That it means several is an error which names them: to act on another saga than
// the one that was thought of cannot be taken back.
func Find(ctx context.Context, t *server.Temporal, id, group, prefix string) (Row, error) {
	if known, ok := workflows.ParseID(id); ok && known.Kind == workflows.KindSaga {
		known.Undo = false
		keys, err := keysOf(ctx, t, known.Key)
		if err != nil {
			return Row{}, err
		}
		var found []Row
		for _, known.Key = range keys {
			for _, name := range t.Names(known) {
				if found, err := describeSagas(ctx, t, []string{name}); err != nil || len(found) > 0 {
					return oneSaga(t, id, found, err)
				}
			}
			found, err = addSagas(ctx, t, found, // it may share a workflow
				Filter{Prefix: prefix, Group: known.Owner, Name: known.Name, Key: known.Key})
			if err != nil {
				return Row{}, err
			}
		}
		return oneSaga(t, id, found, nil)
	}
	var found []Row
	meant, err := sagaMeanings(ctx, t, Filter{Prefix: prefix, Group: group}, id)
	for _, f := range meant {
		if err == nil {
			found, err = addSagas(ctx, t, found, f)
		}
	}
	return oneSaga(t, id, found, err)
}

// keysOf are the keys that an operator may mean by key: it, and its hash where keys are hashed.
func keysOf(ctx context.Context, t *server.Temporal, key string) ([]string, error) {
	hash, err := t.Box.Key(ctx, key)
	if err != nil || hash == key {
		return []string{key}, err //nolint:wrapcheck // the keyring's
	}
	return []string{key, hash}, nil
}

// sagaMeanings are what an ID may mean that is no workflow's: a key or, up to its first
// slash, a saga's name and a key. A key may have slashes.
func sagaMeanings(ctx context.Context, t *server.Temporal, f Filter, id string) (meant []Filter, err error) {
	if f.Key = id; f.Validate() != nil || id == "" {
		return nil, nil
	}
	add := func(f Filter) {
		keys, wrong := keysOf(ctx, t, f.Key)
		err = errors.Join(err, wrong)
		for _, f.Key = range keys {
			meant = append(meant, f)
		}
	}
	add(f)
	if name, key, ok := strings.Cut(id, "/"); ok && key != "" && holdfast.ValidateName("saga", name) == nil {
		f.Name, f.Key = name, key
		add(f)
	}
	return meant, err
}

// addSagas adds to found the sagas that f means.
func addSagas(ctx context.Context, t *server.Temporal, found []Row, f Filter) ([]Row, error) {
	add := func(r Row) {
		if f.Matches(r) && !slices.ContainsFunc(found, func(o Row) bool { return o.ID == r.ID }) {
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
	err = Each(ctx, t, f, server.PageLimit, func(r Row) bool {
		add(r)
		return true
	})
	return found, server.HardToAsk(f.Key, err)
}

func oneSaga(t *server.Temporal, id string, found []Row, err error) (Row, error) {
	switch {
	case err != nil:
		return Row{}, err
	case len(found) == 0:
		return Row{}, noSuchSaga(t, id)
	case len(found) == 1:
		return found[0], nil
	}
	var ids []string
	for _, r := range found {
		ids = append(ids, r.ID)
	}
	slices.Sort(ids)
	return Row{}, server.Ambiguous(id, "workflows", ids)
}

// likelySagas returns the IDs that what f means would have with the groups and
// names of the latest sagas.
func likelySagas(ctx context.Context, t *server.Temporal, f Filter) ([]string, error) {
	if f.Group != "" && f.Name != "" {
		return t.Names(workflows.ID{Kind: workflows.KindSaga, Owner: f.Group, Name: f.Name, Key: f.Key}), nil
	}
	infos, err := t.Page(ctx, Filter{Prefix: f.Prefix, Group: f.Group}.Query(), server.RecentLimit)
	if err != nil {
		return nil, t.CannotList("sagas", err)
	}
	var ids []string
	for _, info := range infos {
		group, name, _, ok := SplitID(info.GetExecution().GetWorkflowId())
		if f.Name != "" {
			name = f.Name
		}
		for _, id := range t.Names(workflows.ID{Kind: workflows.KindSaga, Owner: group, Name: name, Key: f.Key}) {
			if ok && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

// describeSagas returns those of these sagas that exist.
func describeSagas(ctx context.Context, t *server.Temporal, ids []string) ([]Row, error) {
	var mu sync.Mutex
	var found []Row
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(describeLimit)
	for _, id := range ids {
		all.Go(func() error {
			info, err := t.Latest(ctx, id)
			if err == nil && info == nil { // what undid it may have been kept longer
				info, err = t.Latest(ctx, workflows.SagaUndoID(id))
			}
			if err != nil || info == nil {
				return err
			}
			if kind := info.GetType().GetName(); kind != sagaflow.Name {
				return text.Usagef("workflow %s is a %s, not a %s", id, kind, sagaflow.Name)
			}
			if !t.IsOurs(info) {
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
