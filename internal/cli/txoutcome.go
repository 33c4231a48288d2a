package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/workflows"
)

// outcomeRow is what an outcome row says.
type outcomeRow struct {
	Resolution holdfast.Resolution `json:"resolution"`
	CreatedAt  time.Time           `json:"created_at"`
}

// withoutHistory is what is known of a transaction that no workflow has, which
// missing says: in the Express lane that is the happy path.
func withoutHistory(ctx context.Context, c *config, id, group string, body bool, missing error) (detail, error) {
	const express = "in the Express lane there is no history where all went well"
	if shared(id) {
		return detail{}, missing
	}
	tx := id
	if g, of := splitWorkflowID(id); of != "" {
		group, tx = g, of
	}
	what, remedy := splitRemedy(missing)
	if c.DatabaseURL == "" {
		return detail{}, withRemedy(errors.New(what), "%s; %s: set DATABASE_URL to see what its outcome row says", remedy, express)
	}
	db, closeDB, err := c.database()
	if err != nil {
		return detail{}, err
	}
	defer closeDB()
	row, err := barrier.Read(ctx, db, tx)
	switch {
	case errors.Is(err, holdfast.ErrNotFound) || err == nil && group != "" && row.Group != group:
		return detail{}, withRemedy(fmt.Errorf("%s, nor has the database an outcome row of it", what), "%s; %s, and %s shows what is not settled yet", remedy, express, c.suggester().code("half peek", cmp.Or(group, "GROUP")))
	case err != nil:
		return detail{}, withRemedy(fmt.Errorf("%s; whether the database has an outcome row of it is unknown: %w", what, err), "%s", remedy)
	}
	return outcomeDetail(tx, row, body), nil
}

// outcomeDetail is a transaction of which only the outcome row is known.
func outcomeDetail(tx string, found barrier.Outcome, body bool) detail {
	d := detail{row: row{Tx: tx, Group: found.Group, State: string(workflows.RolledBack)}, Messages: []messageDetail{}, Steps: []step{},
		Outcome: &outcomeRow{found.Resolution, found.CreatedAt},
		Unknown: "no workflow has a history of it: in the Express lane none is made where all goes well, and what is older than the namespace keeps is gone"}
	if found.Resolution == holdfast.Commit {
		d.State = string(workflows.Committed)
	}
	if len(found.Messages) > 0 {
		d.Topics, d.Keys = holdfast.Topics(found.Messages), keysOf(found.Messages)
	}
	for _, m := range found.Messages {
		d.Messages = append(d.Messages, newMessageDetail(m, body))
	}
	return d
}
