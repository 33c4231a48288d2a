package desk

import (
	"context"
	"errors"
	"strings"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// Transactions lists transactions, so many at most; more is what to tell if there are others.
func (d *Desk) Transactions(ctx context.Context, f transactions.Filter, limit int) (rows []transactions.Row,
	more string, err error) {
	f.Prefix = d.c.Prefix
	t, err := d.lists(ctx, &f, &f.Key)
	if err != nil {
		return nil, "", err
	}
	rows, more, err = transactions.List(ctx, t, f, limit)
	return rows, onAPage.Replace(more), err
}

// onAPage says without the command line's flags what a list has to tell.
var onAPage = strings.NewReplacer("raise --limit, or ", "", "--", "")

// Transaction shows the transaction that an ID means: its workflow or, where it has none, its
// outcome row.
func (d *Desk) Transaction(ctx context.Context, id string) (transactions.Detail, error) {
	t, err := d.temporal(ctx)
	if err != nil {
		return transactions.Detail{}, err
	}
	return transactions.Show(ctx, d.c, t, id, "", false)
}

// ActOnTransaction does an action on a transaction. An error says that nothing was sent.
func (d *Desk) ActOnTransaction(ctx context.Context, row transactions.Row, name string, who Who) (actions.Outcome,
	error) {
	t, err := d.temporal(ctx)
	if err != nil {
		return actions.Outcome{}, err
	}
	act, ok := transactions.ActNamed(name)
	if !ok {
		return actions.Outcome{}, errors.New("there is no such action on transactions")
	}
	b := &transactions.Batch{T: t, Prefix: d.c.Prefix, Act: act, Crew: crew(),
		Req: txflow.Request{Operator: who.Operator, Reason: who.Reason}}
	all, err := b.Run(ctx, []transactions.Row{row})
	if err != nil {
		return actions.Outcome{}, err
	}
	return all[0], nil
}

// FindTransaction returns the ID of the transaction that an ID or a key means.
func (d *Desk) FindTransaction(ctx context.Context, id string) (string, error) {
	t, err := d.temporal(ctx)
	if err != nil {
		return "", err
	}
	found, err := transactions.Find(ctx, t, id, "")
	if errors.Is(err, holdfast.ErrNotFound) {
		shown, err := transactions.FromOutcome(ctx, d.c, id, "", false, err)
		return shown.Tx, err
	}
	if err != nil {
		return "", err
	}
	return found.Name(), nil
}
