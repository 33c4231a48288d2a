package desk

import (
	"context"
	"errors"

	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/workflows"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// Sagas lists sagas, so many at most; rest says what was not looked at, or is not listed.
func (d *Desk) Sagas(ctx context.Context, f sagas.Filter, limit int) (rows []sagas.Row, rest string, err error) {
	f.Prefix, f.Scan = d.c.Prefix, scanned
	t, err := d.lists(ctx, &f, &f.Key)
	if err != nil {
		return nil, "", err
	}
	within, cancel := context.WithTimeout(ctx, scanTime)
	defer cancel()
	rows, more, err := actions.First(limit, func(size int, visit func(sagas.Row) bool) error {
		return sagas.Each(within, t, f, size, visit)
	})
	if rest, err = d.restOf(more, err); err == nil {
		sagas.Tell(ctx, t, rows)
	}
	return rows, rest, err
}

// Saga shows the saga that an ID means.
func (d *Desk) Saga(ctx context.Context, id string) (sagas.Detail, error) {
	t, err := d.temporal(ctx)
	if err != nil {
		return sagas.Detail{}, err
	}
	row, err := sagas.FindOrBegun(ctx, d.c, t, id, "")
	if err != nil {
		return sagas.Detail{}, err
	}
	shown, err := sagas.Describe(ctx, t, row, false, false, d.now())
	shown.UI = server.UiLink(d.c.UI, t.Namespace, shown.WorkflowID, shown.RunID)
	return shown.Detail, err
}

// SagaData is the state of a saga, opened. An error says why it cannot be read.
func (d *Desk) SagaData(ctx context.Context, row sagas.Row) ([]byte, error) {
	t, err := d.temporal(ctx)
	if err != nil {
		return nil, err
	}
	shown, err := sagas.Describe(ctx, t, row, true, false, d.now())
	if err != nil {
		return nil, err
	}
	return dataOf(shown.Detail)
}

// dataOf is the state that a saga is shown with, unless some of it is not there to be read.
func dataOf(d sagas.Detail) ([]byte, error) {
	switch {
	case d.Status == nil:
		return nil, errors.New("it is not known")
	case d.Encrypted != "":
		return nil, errors.New(d.Encrypted)
	case d.Status.Core.Data == nil:
		return nil, errors.New("it has none")
	}
	return d.Status.Core.Data, nil
}

// FindSaga returns the ID of the saga that an ID or a key means.
func (d *Desk) FindSaga(ctx context.Context, id string) (string, error) {
	t, err := d.temporal(ctx)
	if err != nil {
		return "", err
	}
	row, err := sagas.FindOrBegun(ctx, d.c, t, id, "")
	return row.ID, err
}

// ActOnSaga does what was chosen. An error says that nothing was sent.
func (d *Desk) ActOnSaga(ctx context.Context, row sagas.Row, c sagas.Choice, who Who) (actions.Outcome, error) {
	t, err := d.temporal(ctx)
	if err != nil {
		return actions.Outcome{}, err
	}
	act, ok := sagas.ActNamed(c.Act)
	if !ok {
		return actions.Outcome{}, errors.New("there is no such action on sagas")
	}
	b := &sagas.Batch{T: t, Prefix: d.c.Prefix, Act: act, Crew: crew(), Req: sagaflow.Request{Operator: who.Operator,
		Reason: who.Reason, Step: c.Step, Refuse: c.Refuse}}
	if act.Name == workflows.UpdateCompensate {
		b.Wait = comes
	}
	all, err := b.Run(ctx, []sagas.Row{row})
	if err != nil {
		return actions.Outcome{}, err
	}
	return all[0], nil
}
