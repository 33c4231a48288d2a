package sagas

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/serviceerror"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// goesThrough is how long the workflow of a saga that has ended is given to find that.
const goesThrough = 5 * time.Second

// FindOrBegun is [Find], and gives a saga its workflow that has none because it completed in a
// workflow that it shared, or in the Express lane, and has its begin row in the database at
// DATABASE_URL: it can be shown and undone then. id has to be a workflow's ID, or NAME/KEY with a group.
func FindOrBegun(ctx context.Context, c *reach.Config, t *server.Temporal, id, group string) (Row, error) {
	found, missing := Find(ctx, t, id, group, c.Prefix)
	if missing == nil && found.Cohort != "" && found.State == core.StateCompleted {
		own, err := giveFromCohort(ctx, t, found, c.Prefix, nil)
		if !errors.Is(err, errElsewhere) {
			return own, err
		}
		if id, err = giveWorkflow(ctx, c, t, []string{found.ID}); err != nil {
			return found, text.WithRemedy(fmt.Errorf("saga %s: %w: %w", found.ID, errElsewhere, err),
				"set DATABASE_URL to the database of its group, whose begin row has it")
		}
		return Find(ctx, t, id, group, c.Prefix)
	}
	if missing == nil && DidNothing(ctx, t, found) {
		if _, err := giveWorkflow(ctx, c, t, []string{found.ID}); err != nil {
			return found, nil // it says why it did nothing
		}
		return Find(ctx, t, found.ID, group, c.Prefix)
	}
	if !errors.Is(missing, holdfast.ErrNotFound) {
		return found, missing
	}
	_, remedy := text.SplitRemedy(missing)
	missing = text.NoSuch("saga", id)
	const express = "one that ended in the Express lane has no workflow"
	ids, err := fullIDs(ctx, t, id, group)
	switch {
	case err != nil:
		return found, err
	case len(ids) == 0:
		return found, text.WithRemedy(missing, "%s; %s: name it in full, %s", remedy, express, "saga/GROUP/NAME/KEY")
	case c.DatabaseURL == "":
		return found, text.WithRemedy(missing, "%s; %s: set DATABASE_URL to the database of its group", remedy,
			express)
	}
	begun, err := giveWorkflow(ctx, c, t, ids)
	switch {
	case errors.Is(err, holdfast.ErrNotFound):
		return found, text.WithRemedy(fmt.Errorf("%w, nor has the database a begin row of it", missing), "%s", remedy)
	case err != nil:
		return found, text.WithRemedy(fmt.Errorf("%w; whether it ran in the Express lane is unknown: %w", missing, err), "%s",
			remedy)
	}
	return Find(ctx, t, begun, group, c.Prefix)
}

// DidNothing reports whether a saga's workflow was none of it: the key is another saga's.
func DidNothing(ctx context.Context, t *server.Temporal, r Row) bool {
	return sagaflow.KeyWasUsed(ctx, t, r.status, r.WorkflowID, r.RunID)
}

// fullIDs are the IDs of sagas' workflows that id may mean, where it says enough.
func fullIDs(ctx context.Context, t *server.Temporal, id, group string) (ids []string, err error) {
	if known, ok := workflows.ParseID(id); ok && known.Kind == workflows.KindSaga {
		known.Undo = false
		keys, err := keysOf(ctx, t, known.Key)
		for _, known.Key = range keys {
			ids = append(ids, t.Names(known)...)
		}
		return ids, err
	}
	meant, err := sagaMeanings(ctx, t, Filter{Group: group}, id)
	for _, f := range meant {
		if group != "" && f.Name != "" {
			ids = append(ids, t.Names(workflows.ID{Kind: workflows.KindSaga, Owner: group, Name: f.Name, Key: f.Key})...)
		}
	}
	return ids, err
}

// giveWorkflow starts the workflow of the first of these sagas that has completed without one,
// by its begin row, and waits a moment for it: it ends at once.
func giveWorkflow(ctx context.Context, c *reach.Config, t *server.Temporal, ids []string) (id string, err error) {
	db, closeDB, err := c.Database()
	if err != nil {
		return "", err
	}
	defer closeDB()
	for _, id := range ids {
		b, err := barrier.ReadBegun(ctx, db, id)
		switch {
		case errors.Is(err, holdfast.ErrNotFound):
			continue
		case err != nil:
			return "", err
		case b.Last == nil && b.Holder == barrier.HolderWorkflow: // it has had one
			return "", holdfast.ErrNotFound
		case b.Last == nil:
			return "", fmt.Errorf("saga %s is driven by a process of its group: ask again in a moment", id)
		}
		database, err := barrier.Identity(ctx, db)
		if err != nil {
			return "", err
		}
		group, _ := workflows.ParseID(id)
		in, err := sagaflow.CompletedInput(sagaflow.Input{ID: id, Group: group.Owner, Prefix: c.Prefix, Name: b.Name,
			Key: b.Key, Version: b.Version, Content: b.Content, Tokens: b.Tokens, Database: database}, b.Last)
		if err != nil {
			return "", err
		}
		if err := barrier.ReopenSaga(ctx, db, id, b.Content, false, goesThrough); err != nil {
			return "", err
		}
		_, run, err := sagaflow.Start(ctx, t, sagaflow.StartConfig{Prefix: c.Prefix, Fresh: true}, in)
		var there *serviceerror.WorkflowExecutionAlreadyStarted
		if err != nil && !errors.As(err, &there) {
			return "", fmt.Errorf("start the workflow of saga %s: %w", id, err)
		}
		if err == nil {
			wait, cancel := context.WithTimeout(ctx, goesThrough)
			defer cancel()
			_ = run.Get(wait, nil) // it says itself how it stands
		}
		return id, nil
	}
	return "", holdfast.ErrNotFound
}
