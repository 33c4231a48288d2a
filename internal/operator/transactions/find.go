// Package transactions is what an operator does with transactions: list and find them, see
// what one did, decide or recheck any number of them, start one. Its functions take a
// Temporal; none writes to a screen, but for Print, which renders what was found.
package transactions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	workflowpb "go.temporal.io/api/workflow/v1"
	"golang.org/x/sync/errgroup"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// target is the workflow that an ID means.
type target struct {
	WorkflowID, RunID string
	// tx is the transaction that is meant in it; empty if only the business key
	// is known.
	Tx string
	// key is the business key that it was found by, if it was.
	key string
}

// Find returns what id means: a workflow's ID, a transaction's ID or a business
// key, in that order. A transaction that left a workflow is where it goes on.
func Find(ctx context.Context, t *server.Temporal, id, group string) (target, error) {
	if known, ok := workflows.ParseID(id); ok && (known.Shared() || known.Kind == workflows.KindTransaction) {
		found, err := firstTx(ctx, t, id, t.Names(known))
		if known.Shared() || !errors.Is(err, holdfast.ErrNotFound) {
			return found, err
		}
		return memberOf(ctx, t, id)
	}
	groups := []string{group}
	if group == "" {
		var err error
		if groups, err = RecentGroups(ctx, t); err != nil {
			return target{}, err
		}
	}
	var ids []string
	for _, g := range groups {
		ids = append(ids, t.Names(workflows.ID{Kind: workflows.KindTransaction, Owner: g, Key: id})...)
	}
	found, err := One(ctx, t, id, ids)
	if !errors.Is(err, holdfast.ErrNotFound) {
		return found, err
	}
	if found, err = byKeyOrHash(ctx, t, id, group); !errors.Is(err, holdfast.ErrNotFound) {
		return found, err
	}
	if group == "" {
		if ids, err = ofItsTime(ctx, t, id); err != nil {
			return target{}, err
		}
		if found, err = One(ctx, t, id, ids); !errors.Is(err, holdfast.ErrNotFound) {
			return found, err
		}
	}
	return recoveredTx(ctx, t, id, group)
}

// memberOf returns the workflow that the transaction shares which would otherwise
// have the workflow id.
func memberOf(ctx context.Context, t *server.Temporal, id string) (target, error) {
	group, tx := server.SplitWorkflowID(id)
	if tx == "" {
		return target{}, notFound(id)
	}
	found, err := ByKey(ctx, t, tx, group)
	if errors.Is(err, holdfast.ErrNotFound) {
		found, err = recoveredTx(ctx, t, tx, group)
	}
	switch {
	case errors.Is(err, holdfast.ErrNotFound):
		return target{}, notFound(id)
	case err == nil && found.Tx != tx: // it is another one's key
		return target{}, notFound(id)
	}
	return found, err
}

func notFound(id string) error {
	return text.WithRemedy(text.NoSuch("transaction", id),
		"give its group with --group; it may be too new to be listed yet, or older than the namespace keeps")
}

// firstTx returns the first workflow among ids that exists.
func firstTx(ctx context.Context, t *server.Temporal, id string, ids []string) (target, error) {
	for _, name := range ids {
		if found, err := One(ctx, t, id, []string{name}); !errors.Is(err, holdfast.ErrNotFound) {
			return found, err
		}
	}
	return target{}, notFound(id)
}

// One returns the single workflow among ids that exists. It asks for each, since
// the visibility store would not know the latest.
func One(ctx context.Context, t *server.Temporal, id string, ids []string) (target, error) {
	var mu sync.Mutex
	var found []target
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(server.ResultsAtOnce)
	for _, workflowID := range ids {
		all.Go(func() error {
			info, err := t.Latest(ctx, workflowID)
			if err != nil || info == nil || !t.IsOurs(info) {
				return err
			}
			_, tx := server.SplitWorkflowID(workflowID)
			mu.Lock()
			defer mu.Unlock()
			found = append(found, target{WorkflowID: workflowID, RunID: info.GetExecution().GetRunId(), Tx: tx})
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return target{}, err
	}
	return single(id, found)
}

// single returns the only transaction among found. One that is found in its own
// workflow and in one that it shared is in its own.
func single(id string, found []target) (target, error) {
	var different []target
	at := map[string]int{}
	for _, f := range found {
		i, again := at[f.Name()]
		switch {
		case !again:
			at[f.Name()] = len(different)
			different = append(different, f)
		case server.IsShared(different[i].WorkflowID) && !server.IsShared(f.WorkflowID):
			different[i] = f
		}
	}
	switch len(different) {
	case 0:
		return target{}, notFound(id)
	case 1:
		return different[0], nil
	}
	ids := make([]string, len(different))
	for i, f := range different {
		ids[i] = f.Name()
	}
	return target{}, server.Ambiguous(id, "transactions", ids)
}

// Name is a workflow ID by which find finds the target, wherever it is.
func (of target) Name() string {
	if of.Tx == "" {
		return of.WorkflowID
	}
	return server.OwnID(of.WorkflowID, of.Tx)
}

// ByKey finds the transaction with the business key; in a shared workflow, its ID
// is found as well.
func ByKey(ctx context.Context, t *server.Temporal, key, group string) (target, error) {
	f := Filter{Prefix: t.Prefix, Key: key, Group: group}
	if f.Validate() != nil || len(key) > holdfast.MaxName {
		return target{}, notFound(key)
	}
	infos, err := txsWithKey(ctx, t, f)
	if err != nil {
		return target{}, err
	}
	var found []target
	seen := map[string]bool{}
	for _, info := range infos {
		known := InfoRow(t, info)
		if seen[known.WorkflowID] {
			continue // an earlier run of the same workflow
		}
		seen[known.WorkflowID] = true
		if !server.IsShared(known.WorkflowID) {
			found = append(found, target{WorkflowID: known.WorkflowID, RunID: known.RunID, Tx: known.Tx, key: key})
			continue
		}
		members, err := Members(ctx, t, known, info.GetStatus())
		if err != nil {
			return target{}, fmt.Errorf("workflow %s: %w", known.WorkflowID, err)
		}
		found = append(found, targets(known, members, f)...)
	}
	return single(key, found)
}

// byKeyOrHash is ByKey for a key that an operator has typed: where keys are hashed, also for
// its hash.
func byKeyOrHash(ctx context.Context, t *server.Temporal, key, group string) (target, error) {
	hash, err := t.Box.Key(ctx, key)
	if err != nil {
		return target{}, err //nolint:wrapcheck // the keyring's
	}
	found, err := ByKey(ctx, t, key, group)
	if hash == key || err != nil && !errors.Is(err, holdfast.ErrNotFound) {
		return found, err
	}
	hashed, hashedErr := ByKey(ctx, t, hash, group)
	switch {
	case errors.Is(hashedErr, holdfast.ErrNotFound):
		return found, err
	case hashedErr != nil || err != nil:
		return hashed, hashedErr
	}
	return single(key, []target{found, hashed})
}

// txsWithKey lists the workflows that may have the key of f. Where the visibility store
// cannot be asked for it, all are looked at.
func txsWithKey(ctx context.Context, t *server.Temporal,
	f Filter) (infos []*workflowpb.WorkflowExecutionInfo, err error) {
	const enough = 10 // to say that a key means several
	size := enough
	if !server.Askable(f.Key) {
		size = server.PageLimit
	}
	err = t.EachPage(ctx, "transactions", f.Query(), size,
		func(page []*workflowpb.WorkflowExecutionInfo, _ bool) (bool, error) {
			for _, info := range page {
				if f.matches(InfoRow(t, info)) {
					infos = append(infos, info)
				}
			}
			return size != enough && len(infos) < enough, nil
		})
	return infos, server.HardToAsk(f.Key, err)
}

// targets are those of a shared workflow's members that f means, each where it
// goes on.
func targets(known Row, members []txflow.MemberStatus, f Filter) []target {
	var found []target
	for _, m := range members {
		if !f.means(Row{Tx: m.ID, Topics: m.Topics, Keys: m.Keys}) {
			continue
		}
		of := target{WorkflowID: known.WorkflowID, RunID: known.RunID, Tx: m.ID, key: f.Key}
		if m.State == workflows.Left {
			of.WorkflowID, of.RunID = server.OwnID(known.WorkflowID, m.ID), ""
		}
		found = append(found, of)
	}
	return found
}

// recoveriesSearched is how many workflows Recovery are looked through for one
// transaction: their half messages may be too many for the search attributes.
const recoveriesSearched = 100

// recoveredTx finds the transaction tx among the latest workflows Recovery.
func recoveredTx(ctx context.Context, t *server.Temporal, tx, group string) (target, error) {
	query := "WorkflowType = " + server.Quote(txflow.RecoveryName) + " AND " + server.GroupTerm(t.Prefix, group)
	if at, ok := timeOf(tx); ok {
		query += " AND " + server.StartTerms(time.Time{}, at.Add(-time.Minute))[0]
	}
	infos, err := t.Page(ctx, query, recoveriesSearched)
	if err != nil {
		return target{}, err
	}
	of := make([][]target, len(infos))
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(server.ResultsAtOnce)
	for i, info := range infos {
		all.Go(func() error {
			known := InfoRow(t, info)
			if !t.IsOurs(info) || group != "" && known.Group != group {
				return nil
			}
			in, err := txInput(ctx, t, known.WorkflowID, known.RunID)
			if err != nil || !slices.ContainsFunc(in.Transactions, func(m activities.Tx) bool { return m.ID == tx }) {
				return err
			}
			members, err := Members(ctx, t, known, info.GetStatus())
			for _, m := range members {
				if m.ID == tx {
					of[i] = targets(known, []txflow.MemberStatus{m}, Filter{})
				}
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return target{}, err
	}
	return single(tx, slices.Concat(of...))
}

// RecentGroups returns the groups of the latest transactions.
func RecentGroups(ctx context.Context, t *server.Temporal) ([]string, error) {
	infos, err := t.Page(ctx, Filter{Prefix: t.Prefix}.Query(), server.RecentLimit)
	if err != nil {
		return nil, err
	}
	var groups []string
	seen := map[string]bool{"": true}
	for _, info := range infos {
		if g, _ := server.SplitWorkflowID(info.GetExecution().GetWorkflowId()); !seen[g] && t.IsOurs(info) {
			seen[g] = true
			groups = append(groups, g)
		}
	}
	return groups, nil
}

// ofItsTime returns the workflows with the transaction ID id that were started
// at the time that a UUIDv7 holds; none if it is another kind of ID.
func ofItsTime(ctx context.Context, t *server.Temporal, id string) ([]string, error) {
	at, ok := timeOf(id)
	if !ok {
		return nil, nil
	}
	query := Filter{Prefix: t.Prefix, Since: at.Add(-time.Minute)}.Query() + " AND StartTime <= " +
		server.Quote(at.Add(time.Minute).UTC().Format(time.RFC3339Nano))
	infos, err := t.Page(ctx, query, server.RecentLimit)
	if err != nil {
		return nil, err
	}
	var ids []string
	seen := map[string]bool{}
	for _, info := range infos {
		workflowID := info.GetExecution().GetWorkflowId()
		if _, tx := server.SplitWorkflowID(workflowID); tx == id && !seen[workflowID] && t.IsOurs(info) {
			seen[workflowID] = true
			ids = append(ids, workflowID)
		}
	}
	return ids, nil
}

// timeOf returns the time that a UUIDv7 holds.
func timeOf(id string) (at time.Time, ok bool) {
	u, err := uuid.Parse(id)
	if err != nil || u.Version() != 7 {
		return time.Time{}, false
	}
	return time.Unix(u.Time().UnixTime()), true
}
