package cli

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/workflows"
)

// transactionsInWords are transactions in words.
var transactionsInWords = things{noun: "transaction", show: "tx show", scope: "group",
	columns: []string{"TX", "GROUP"}, cells: func(o outcome) []string { return []string{orDash(o.ID), o.group} },
	remedies: map[verdict]remedy{
		isUnknown: func(code func(string, ...string) string) string {
			return "it may have taken effect: " + code("tx show") + " says whether it did; repeating the command is safe, and --timeout waits longer"
		},
		isUnsent: func(func(string, ...string) string) string { return "repeat the command" },
		isSettled: func(code func(string, ...string) string) string {
			return code("tx show") + " says how"
		},
	}}

// txOrder is what the flags of an action say.
type txOrder struct {
	bulk
	txFlags
	req workflows.Request
}

func newTxActionCommand(a *app, act txAct) *cobra.Command {
	o := txOrder{bulk: bulk{things: transactionsInWords, verb: act.name}}
	c := &cobra.Command{
		Use:   act.name + " [ID…] --reason TEXT",
		Short: act.short,
		Long: act.long + `

Which: IDs (see holdfast tx --help), or those that the filters mean, or --all.
Without --state, filters select: ` + join(act.states) + `.
--dry-run lists what would be acted on, with the reasons, and does nothing. More
than one is confirmed at a terminal, or with --yes. Operator and reason are
recorded in each workflow's history. A process of the transaction's group has to
run. One that shares its workflow ends there in a moment, or leaves into one of
its own and is settled there.

The exit status is 0 only if all of it was seen to be done.

JSON: an array of id, workflow_id, outcome (committed, rolled-back, rechecked,
restarted, settled already, refused, unknown, not sent), detail, remedy, state;
with --dry-run that of tx list.`,
		Example: "  holdfast tx " + act.name + " A-1007 --reason \"the bank says so\"\n  holdfast tx " + act.name +
			" --group orders --older-than 1h --dry-run",
		RunE: func(cmd *cobra.Command, ids []string) error {
			if err := o.complete(a, act, ids); err != nil {
				return err
			}
			return a.withTemporalFor(cmd.Context(), o.bulk.limit(ids), func(ctx context.Context, t *temporalServer) error {
				return actOnTransactions(ctx, a, t, act, &o, ids)
			})
		},
	}
	flags := c.Flags()
	o.txFlags.register(flags, 0, "how many at most, the oldest first; 0: no limit", "only those in these states: "+join(act.possible()))
	o.bulk.register(flags)
	if act.force {
		flags.BoolVar(&o.req.Force, "force", false, "decide although the database cannot be asked; if it says otherwise later, messages and data disagree")
	}
	return c
}

// complete checks what the flags say, and fills in what they do not.
func (o *txOrder) complete(a *app, act txAct, ids []string) error {
	o.who.complete(a)
	o.suggester = a.suggester()
	o.req.Operator, o.req.Reason = o.operator, o.reason
	if err := o.check(ids, o.group != "", o.narrows(), o.txFlags.limit); err != nil {
		return err
	}
	for _, s := range o.states {
		if !slices.Contains(act.possible(), s) {
			return usagef("--state %s: %s acts on %s", s, act.name, join(act.possible()))
		}
	}
	if len(ids) == 0 && len(o.states) == 0 {
		o.states = act.states
	}
	return nil
}

// actOnTransactions does what was ordered, and reports it.
func actOnTransactions(ctx context.Context, a *app, t *temporalServer, act txAct, o *txOrder, ids []string) error {
	return actOn(ctx, a, t, order[row]{bulk: &o.bulk, ages: o.ages,
		choose: func(ctx context.Context) ([]row, error) { return selectTransactions(ctx, a, t, o, ids) },
		state:  func(r row) string { return r.State }, possible: act.possible(), print: printRows,
		unknown: func(ctx context.Context) { a.noteGroup(ctx, t, o.group) },
		run: func(ctx context.Context, rows []row, tick func()) ([]outcome, error) {
			b := &txBatch{t: t, prefix: a.Prefix, act: act, req: o.req, crew: crew{parallel: o.parallel, answer: answerLimit, tick: tick}}
			return b.run(ctx, rows)
		}}, ids)
}

// selectTransactions returns the transactions that are meant, the oldest first.
func selectTransactions(ctx context.Context, a *app, t *temporalServer, o *txOrder, ids []string) ([]row, error) {
	if len(ids) > 0 {
		return lookUp(ctx, o.parallel, ids, func(ctx context.Context, id string) (row, error) {
			found, err := findTx(ctx, t, id, o.group)
			if err != nil {
				return row{}, err
			}
			return targetRow(ctx, t, found, o.dryRun)
		}, func(r row) string { return r.target().name() })
	}
	f, err := o.filter(a)
	if err != nil {
		return nil, err
	}
	f.reasons = o.dryRun
	rows, more, err := listTxs(ctx, t, f, 0)
	if err != nil {
		return nil, err
	}
	a.note(more)
	if rows, err = withoutEarlierRuns(ctx, t, rows); err != nil {
		return nil, err
	}
	return oldest(rows, o.txFlags.limit, func(r row) time.Time { return r.Started }), nil
}
