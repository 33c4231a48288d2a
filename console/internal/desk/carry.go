package desk

import (
	"context"
	"errors"

	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/internal/operator/vouch"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

// ErrNoAct says that nothing of its kind can be done so.
var ErrNoAct = text.Usagef("there is no such action")

// Carry does what the command line hands over, under the name of whose token it is. An error
// says that nothing was sent.
func (d *Desk) Carry(ctx context.Context, o vouch.Order, who Who) (actions.Outcome, error) {
	t, err := d.temporal(ctx)
	if err != nil {
		return actions.Outcome{}, err
	}
	wait := min(max(o.Wait, 0), vouch.MaxWait)
	switch o.Kind {
	case vouch.Saga:
		b := &sagas.Batch{T: t, Prefix: d.c.Prefix, Crew: crew(), Req: *o.Saga, States: o.States}
		b.Wait = wait
		return d.carrySaga(ctx, t, o, who, b)
	case vouch.Letter:
		b := &deadletters.Batch{T: t, Prefix: d.c.Prefix, Crew: crew(), Req: *o.Letter, Now: d.now}
		b.Wait = wait
		return d.carryLetter(ctx, t, o, who, b)
	case vouch.Tx:
		return d.carryTx(ctx, t, o, who, &transactions.Batch{T: t, Prefix: d.c.Prefix, Crew: crew(), Req: *o.Tx})
	}
	return actions.Outcome{}, ErrNoAct
}

// sameRun refuses what the command line saw elsewhere, or before.
func sameRun(o vouch.Order, run string) error {
	if o.Run != "" && o.Run == run {
		return nil
	}
	return text.WithRemedy(errors.New("the console does not see the run of its workflow that the command line saw"),
		"see that TEMPORAL_ADDRESS and HOLDFAST_PREFIX are those of the console's installation, and repeat the command")
}

// Named finds what the command line hands over, and returns the name that it has on the console's
// pages: under this it is locked and recorded, whatever the command line calls it.
func (d *Desk) Named(ctx context.Context, o vouch.Order) (name string, err error) {
	t, err := d.temporal(ctx)
	if err != nil {
		return "", err
	}
	var run string
	switch o.Kind {
	case vouch.Saga:
		var row sagas.Row
		row, err = sagas.Find(ctx, t, o.ID, "", d.c.Prefix)
		name, run = row.ID, row.RunID
	case vouch.Letter:
		var row deadletters.Row
		row, err = deadletters.Find(ctx, t, o.ID, "", d.c.Prefix)
		name, run = row.WorkflowID, row.RunID
	case vouch.Tx:
		found, wrong := transactions.Find(ctx, t, o.ID, "")
		if wrong != nil {
			return "", wrong
		}
		var row transactions.Row
		row, err = transactions.TargetRow(ctx, t, found, false)
		name, run = row.Target().Name(), row.RunID
	default:
		err = ErrNoAct
	}
	if err != nil {
		return "", err
	}
	return name, sameRun(o, run)
}

func (d *Desk) carrySaga(ctx context.Context, t *server.Temporal, o vouch.Order, who Who, b *sagas.Batch) (
	actions.Outcome, error) {
	act, ok := sagas.ActNamed(o.Act)
	if !ok {
		return actions.Outcome{}, ErrNoAct
	}
	row, err := sagas.Find(ctx, t, o.ID, "", d.c.Prefix)
	if err == nil {
		err = sameRun(o, row.RunID)
	}
	if err != nil {
		return actions.Outcome{}, err
	}
	b.Act, b.Req.Operator, b.Req.Reason = act, who.Operator, who.Reason
	all, err := b.Run(ctx, []sagas.Row{row})
	if err != nil {
		return actions.Outcome{}, err
	}
	return all[0], nil
}

func (d *Desk) carryLetter(ctx context.Context, t *server.Temporal, o vouch.Order, who Who, b *deadletters.Batch) (
	actions.Outcome, error) {
	act, ok := deadletters.ActNamed(o.Act)
	if !ok {
		return actions.Outcome{}, ErrNoAct
	}
	row, err := deadletters.Find(ctx, t, o.ID, "", d.c.Prefix)
	if err == nil {
		err = sameRun(o, row.RunID)
	}
	rows := []deadletters.Row{row}
	if err == nil {
		err = deadletters.AnybodyThere(ctx, t, rows)
	}
	if err != nil {
		return actions.Outcome{}, err
	}
	b.Act, b.Req.Operator, b.Req.Reason, b.Req.Wait = act, who.Operator, who.Reason, 0
	if act.Update == deadflow.UpdateRedeliver {
		b.Req.Wait = b.Wait // the answer itself waits
	}
	return b.Run(ctx, rows)[0], nil
}

func (d *Desk) carryTx(ctx context.Context, t *server.Temporal, o vouch.Order, who Who, b *transactions.Batch) (
	actions.Outcome, error) {
	act, ok := transactions.ActNamed(o.Act)
	if !ok {
		return actions.Outcome{}, ErrNoAct
	}
	found, err := transactions.Find(ctx, t, o.ID, "")
	if err != nil {
		return actions.Outcome{}, err
	}
	row, err := transactions.TargetRow(ctx, t, found, false)
	if err == nil {
		err = sameRun(o, row.RunID)
	}
	if err != nil {
		return actions.Outcome{}, err
	}
	b.Act, b.Req.Operator, b.Req.Reason = act, who.Operator, who.Reason
	all, err := b.Run(ctx, []transactions.Row{row})
	if err != nil {
		return actions.Outcome{}, err
	}
	return all[0], nil
}
