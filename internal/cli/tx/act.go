package tx

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/internal/operator/vouch"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// transactionsInWords are transactions in words.
var transactionsInWords = frame.Things{Noun: "transaction", Show: "tx show", Scope: "group",
	Columns: []string{"TX", "GROUP"},
	Cells:   func(o actions.Outcome) []string { return []string{text.OrDash(o.ID), o.Group} },
	Remedies: map[actions.Verdict]frame.Remedy{
		actions.Unknown: func(code func(string, ...string) string) string {
			return "it may have taken effect: " + code("tx show") + " says whether it did; repeating the command is safe, " +
				"and --timeout waits longer"
		},
		actions.Unsent: func(func(string, ...string) string) string { return "repeat the command" },
		actions.Settled: func(code func(string, ...string) string) string {
			return code("tx show") + " says how"
		},
	}}

// txOrder is what the flags of an action say.
type txOrder struct {
	frame.Bulk
	txFlags
	req txflow.Request
}

func newTxActionCommand(a *frame.App, act transactions.Act) *cobra.Command {
	o := txOrder{Bulk: frame.Bulk{Things: transactionsInWords, Verb: act.Name}}
	c := &cobra.Command{
		Use:   act.Name + " [ID…] --reason TEXT",
		Short: act.Short,
		Long: act.Long + `

Which: IDs (see holdfast tx --help), or those that the filters mean, or --all.
Without --state, filters select: ` + text.Join(act.States) + `.
--dry-run lists what would be acted on, with the reasons, and does nothing. More
than one is confirmed at a terminal, or with --yes. Operator and reason are
recorded in each workflow's history. A process of the transaction's group has to
run. One that shares its workflow ends there in a moment, or leaves into one of
its own and is settled there.

The exit status is 0 only if all of it was seen to be done.

JSON: an array of id, workflow_id, outcome (committed, rolled-back, rechecked,
restarted, settled already, refused, unknown, not sent), detail, remedy, state;
with --dry-run that of tx list.`,
		Example: "  holdfast tx " + act.Name + " A-1007 --reason \"the bank says so\"\n  holdfast tx " + act.Name +
			" --group orders --older-than 1h --dry-run",
		RunE: func(cmd *cobra.Command, ids []string) error {
			err := o.Complete(a, ids, o.group != "", o.narrows(), &o.Which, act.Possible(), act.States)
			if err != nil {
				return err
			}
			o.req.Operator, o.req.Reason = o.Operator, o.Reason
			return a.WithTemporalFor(cmd.Context(), o.Bulk.Limit(ids), func(ctx context.Context, t *server.Temporal) error {
				return actOnTransactions(ctx, a, t, act, &o, ids)
			})
		},
	}
	flags := c.Flags()
	o.txFlags.register(flags, 0, "how many at most, the oldest first; 0: no limit",
		"only those in these states: "+text.Join(act.Possible()))
	o.Bulk.Register(flags)
	if act.Force {
		flags.BoolVar(&o.req.Force, "force", false, "decide although the database cannot be asked; if it says otherwise "+
			"later, messages and data disagree")
	}
	return c
}

// actOnTransactions does what was ordered, and reports it.
func actOnTransactions(ctx context.Context, a *frame.App, t *server.Temporal, act transactions.Act, o *txOrder,
	ids []string) error {
	return frame.ActOn(ctx, a, t, frame.Order[transactions.Row]{Bulk: &o.Bulk, Which: &o.Which,
		Find: func(ctx context.Context, id string) (transactions.Row, error) {
			found, err := transactions.Find(ctx, t, id, o.group)
			if err != nil {
				return transactions.Row{}, err
			}
			return transactions.TargetRow(ctx, t, found, o.DryRun)
		},
		Name:    func(r transactions.Row) string { return r.Target().Name() },
		List:    func(ctx context.Context) ([]transactions.Row, error) { return listTransactions(ctx, a, t, o) },
		Started: func(r transactions.Row) time.Time { return r.Started },
		State:   func(r transactions.Row) string { return r.State }, Possible: act.Possible(), Print: transactions.PrintRows,
		Unknown: func(ctx context.Context) { a.NoteGroup(ctx, t, o.group) },
		Run: func(ctx context.Context, rows []transactions.Row, tick func()) ([]actions.Outcome, error) {
			if all, done := o.Through(ctx, len(rows), tick, func(i int) vouch.Order {
				return vouch.Order{Kind: vouch.Tx, ID: rows[i].Target().Name(), Run: rows[i].RunID, Act: act.Name, Tx: &o.req}
			}); done {
				return all, nil
			}
			b := &transactions.Batch{T: t, Prefix: a.Prefix, Act: act, Req: o.req,
				Crew: actions.Crew{Parallel: o.Parallel, Answer: actions.AnswerLimit, Tick: tick}}
			return b.Run(ctx, rows)
		}}, ids)
}

// listTransactions returns those that the filters mean.
func listTransactions(ctx context.Context, a *frame.App, t *server.Temporal, o *txOrder) ([]transactions.Row, error) {
	f, err := o.filter(a)
	if err != nil {
		return nil, err
	}
	f.Reasons = o.DryRun
	rows, more, err := transactions.List(ctx, t, f, 0)
	if err != nil {
		return nil, err
	}
	a.Note(more)
	return transactions.WithoutEarlierRuns(ctx, t, rows)
}
