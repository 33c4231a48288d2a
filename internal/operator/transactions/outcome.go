package transactions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/operator/history"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/workflows"
)

// outcomeRow is what an outcome row says.
type outcomeRow struct {
	Resolution holdfast.Resolution `json:"resolution"`
	CreatedAt  time.Time           `json:"created_at"`
}

// nowhere is the error that a transaction is not found.
type nowhere string

func (n nowhere) Error() string { return string(n) }

// Is says that it is holdfast.ErrNotFound.
func (n nowhere) Is(target error) bool { return target == holdfast.ErrNotFound }

// Show is the transaction that an ID means: its workflow or, where it has none, its outcome
// row.
func Show(ctx context.Context, c *reach.Config, t *server.Temporal, id, group string, body bool) (Detail, error) {
	found, err := Find(ctx, t, id, group)
	switch {
	case errors.Is(err, holdfast.ErrNotFound):
		return FromOutcome(ctx, c, id, group, body, err)
	case err != nil:
		return Detail{}, err
	}
	d, err := Describe(ctx, t, found, body)
	d.UI = server.UiLink(c.UI, t.Namespace, d.WorkflowID, d.RunID)
	return d, err
}

// FromOutcome is what is known of a transaction that no workflow has, which
// missing says: in the Express lane that is the happy path.
func FromOutcome(ctx context.Context, c *reach.Config, id, group string, body bool, missing error) (Detail, error) {
	const express = "in the Express lane there is no history where all went well"
	if server.IsShared(id) {
		return Detail{}, missing
	}
	tx := id
	if g, of := server.SplitWorkflowID(id); of != "" {
		group, tx = g, of
	}
	what, remedy := text.SplitRemedy(missing)
	if c.DatabaseURL == "" {
		return Detail{}, text.WithRemedy(nowhere(what), "%s; %s: set DATABASE_URL to see what its outcome row says",
			remedy, express)
	}
	db, closeDB, err := c.Database()
	if err != nil {
		return Detail{}, err
	}
	defer closeDB()
	row, err := barrier.Read(ctx, db, tx)
	switch {
	case errors.Is(err, holdfast.ErrNotFound) || err == nil && group != "" && row.Group != group:
		return Detail{}, text.WithRemedy(nowhere(what+", nor has the database an outcome row of it"),
			"%s; %s, and %s shows what is not settled yet", remedy, express, c.Suggester().Code("half peek",
				cmp.Or(group, "GROUP")))
	case err != nil:
		return Detail{}, text.WithRemedy(fmt.Errorf("%s; whether the database has an outcome row of it is unknown: %w", what,
			err), "%s", remedy)
	}
	box, err := c.Box()
	if err != nil {
		return Detail{}, err
	}
	return outcomeDetail(ctx, box, tx, row, body), nil
}

// outcomeDetail is a transaction of which only the outcome row is known.
func outcomeDetail(ctx context.Context, box *seal.Box, tx string, found barrier.Outcome, body bool) Detail {
	d := Detail{Row: Row{Tx: tx, Group: found.Group, State: string(workflows.RolledBack)}, Messages: []MessageDetail{},
		Steps:   []history.Step{},
		Outcome: &outcomeRow{found.Resolution, found.CreatedAt},
		Unknown: "no workflow has a history of it: in the Express lane none is made where all goes well, and what is " +
			"older than the namespace keeps is gone"}
	if found.Resolution == holdfast.Commit {
		d.State = string(workflows.Committed)
	}
	if len(found.Messages) > 0 {
		d.Topics, d.Keys = holdfast.Topics(found.Messages), history.KeysOf(found.Messages)
	}
	for _, m := range found.Messages {
		d.Messages = append(d.Messages, newMessageDetail(ctx, box, m, body))
	}
	return d
}
