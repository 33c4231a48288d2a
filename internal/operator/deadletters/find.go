// Package deadletters is what an operator does with dead letters: list, count and find them,
// see one with its producer's transaction, redeliver, compensate, discard or restart any
// number of them. Its functions take a Temporal; none writes to a screen, but for Print,
// which renders what was found.
package deadletters

import (
	"context"
	"slices"
	"sync"

	enumspb "go.temporal.io/api/enums/v1"
	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

func noSuchLetter(t *server.Temporal, id string) error {
	return text.WithRemedy(text.NoSuch("dead letter", id),
		"%s shows those that there are; it may not have died yet, or have been settled longer ago than the namespace "+
			"keeps", t.Code("dead list", "", "--state", "all"))
}

// Find returns the dead letter that id means: a workflow's ID, a message's ID
// or a business key, in that order. Where several have it, the open one is
// meant, if there is one.
func Find(ctx context.Context, t *server.Temporal, id, consumer, prefix string) (Row, error) {
	if known, ok := workflows.ParseID(id); ok && known.Kind == workflows.KindDeadLetter {
		for _, name := range t.Names(known) {
			if found, err := describeDead(ctx, t, []string{name}); err != nil || len(found) > 0 {
				return oneDead(t, id, found, err)
			}
		}
		return Row{}, noSuchLetter(t, id)
	}
	all := Filter{Prefix: prefix, Consumer: consumer, States: []string{server.StateAll}}
	owners := []string{consumer}
	if consumer == "" {
		var err error
		if owners, err = Owners(ctx, t, all); err != nil {
			return Row{}, err
		}
	}
	var ids []string
	for _, owner := range owners {
		ids = append(ids, t.Names(workflows.ID{Kind: workflows.KindDeadLetter, Owner: owner, Key: id})...)
	}
	found, err := describeDead(ctx, t, ids)
	if err != nil || len(found) > 0 {
		return oneDead(t, id, found, err)
	}
	hash, err := t.Box.Key(ctx, id)
	if err != nil {
		return Row{}, err //nolint:wrapcheck // the keyring's
	}
	keys := []string{id}
	if hash != id {
		keys = append(keys, hash)
	}
	for _, key := range keys {
		byKey := all
		if byKey.Key = key; byKey.Validate() == nil && err == nil {
			err = server.HardToAsk(id, Each(ctx, t, byKey, server.PageLimit, Collect(&found)))
		}
	}
	return oneDead(t, id, found, err)
}

// Collect returns a visitor for Each that appends to rows.
func Collect(rows *[]Row) func(Row) bool {
	return func(r Row) bool {
		*rows = append(*rows, r)
		return true
	}
}

// oneDead returns the single dead letter that is meant.
func oneDead(t *server.Temporal, id string, found []Row, err error) (Row, error) {
	if err != nil {
		return Row{}, err
	}
	var open []Row
	var ids []string
	for _, r := range found {
		if ids = append(ids, r.WorkflowID); r.RunStatus == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
			open = append(open, r)
		}
	}
	switch {
	case len(found) == 0:
		return Row{}, noSuchLetter(t, id)
	case len(found) == 1:
		return found[0], nil
	case len(open) == 1:
		return open[0], nil
	}
	return Row{}, server.Ambiguous(id, "workflows", ids)
}

// describeDead returns those of these workflows that exist, each once. It asks
// for each, since the visibility store would not know the latest.
func describeDead(ctx context.Context, t *server.Temporal, ids []string) ([]Row, error) {
	var mu sync.Mutex
	var found []Row
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(server.ResultsAtOnce)
	for _, id := range ids {
		all.Go(func() error {
			info, err := t.Latest(ctx, id)
			if err != nil || info == nil {
				return err
			}
			if kind := info.GetType().GetName(); kind != deadflow.Name {
				return text.Usagef("workflow %s is a %s, not a %s", id, kind, deadflow.Name)
			}
			if !t.IsOurs(info) {
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
	// OwnersPage is how many dead letters are looked at for the names of consumers.
	OwnersPage = 100
)

// Owners returns the consumers, and the queues of what has none, that have dead letters
// which f means. It asks for the latest ones, then for those of other consumers, and so
// on: how often depends on the consumers, not on how many dead letters they have.
func Owners(ctx context.Context, t *server.Temporal, f Filter) ([]string, error) {
	latest, err := latestOfEach(ctx, t, f)
	owners := make([]string, len(latest))
	for i, r := range latest {
		owners[i] = r.owner
	}
	return owners, err
}

// latestOfEach returns the latest dead letter which f means of each of the Owners.
func latestOfEach(ctx context.Context, t *server.Temporal, f Filter) (latest []Row, err error) {
	query := f.query()
	for len(latest) < ownersLimit {
		infos, err := t.Page(ctx, query, OwnersPage)
		if err != nil {
			return nil, err
		}
		before := len(latest)
		for _, info := range infos {
			r := deadRowOf(t, info)
			if slices.ContainsFunc(latest, func(o Row) bool { return o.owner == r.owner }) {
				continue
			}
			latest = append(latest, r)
			for _, begin := range workflows.DeadLetterBegins(f.Prefix, r.owner) {
				if server.Askable(begin) {
					query += " AND WorkflowId NOT STARTS_WITH " + server.Quote(begin)
				}
			}
		}
		if len(latest) == before || len(infos) < OwnersPage {
			break
		}
	}
	return latest, nil
}
