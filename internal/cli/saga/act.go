package saga

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/vouch"
	"github.com/holdfastmq/holdfast/workflows"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// sagasInWords are sagas in words.
var sagasInWords = frame.Things{Noun: "saga", Show: "saga show", Scope: "group",
	Columns: []string{"SAGA"}, Cells: func(o actions.Outcome) []string { return []string{o.ID} },
	Remedies: map[actions.Verdict]frame.Remedy{
		actions.Unknown: func(code func(string, ...string) string) string {
			return "see that a process of its group runs; it may have taken effect: " + code("saga show") +
				" says; repeating the command is safe"
		},
		actions.Unsent: func(func(string, ...string) string) string { return "repeat the command" },
		actions.Undoing: func(code func(string, ...string) string) string {
			return code("saga show") + " says how it goes on; repeating the command waits longer"
		},
		actions.Stuck: func(code func(string, ...string) string) string {
			return code("saga show") + " says why; " + code("saga retry", text.WithReason()...) + " tries again, " +
				code("saga skip", text.WithReason("--step", "STEP")...) + " leaves a step as it is"
		},
	}}

// sagaOrder is what the flags of an action say.
type sagaOrder struct {
	frame.Bulk
	sagaFlags
	req   sagaflow.Request
	value string
}

func newSagaActCommand(a *frame.App, act sagas.Act) *cobra.Command {
	o := sagaOrder{Bulk: frame.Bulk{Things: sagasInWords, Verb: act.Name}}
	arguments, example := " [ID…] --reason TEXT", ""
	if act.NeedsStep {
		arguments, example = " [ID…] --step STEP --reason TEXT", " --step approve"
	}
	c := &cobra.Command{
		Use:   act.Name + arguments,
		Short: act.Short,
		Long: act.Long + `

Which: IDs (see holdfast saga --help), or those that the filters mean, or --all.
Without --state, filters select: ` + text.Join(act.States) + `.
--dry-run lists what would be acted on, and does nothing. More than one is
confirmed at a terminal, or with --yes. Operator and reason are recorded in each
workflow's history. A process of the saga's group has to run.

The exit status is 0 only if all of it was seen to be done.

JSON: an array of id, workflow_id, outcome (paused, resumed, retried, skipped,
answered, compensated, compensating, compensation failed, refused, unknown, not
sent), detail, remedy, state; with --dry-run that of saga list.`,
		Example: "  holdfast saga " + act.Name + " A-1007" + example +
			" --reason \"as agreed\"\n  holdfast saga " + act.Name +
			" --name order-payment --older-than 1h" + example + " --dry-run",
		RunE: func(cmd *cobra.Command, ids []string) error {
			if err := o.complete(a, act, ids); err != nil {
				return err
			}
			return a.WithTemporalFor(cmd.Context(), o.Bulk.Limit(ids), func(ctx context.Context, t *server.Temporal) error {
				return actOnSagas(ctx, a, t, act, &o, ids)
			})
		},
	}
	flags := c.Flags()
	o.sagaFlags.register(flags, 0, "how many at most, the oldest first; 0: no limit",
		"only those in these states: "+text.Join(act.Possible()))
	o.Bulk.Register(flags)
	if act.Step != "" {
		flags.StringVar(&o.req.Step, "step", "", act.Step)
	}
	switch act.Name {
	case sagaflow.UpdateAnswer:
		flags.BoolVar(&o.req.Refuse, "refuse", false, "the answer is no")
		flags.StringVar(&o.value, "value", "", "what is answered, in JSON; @FILE reads it from a file, - from the "+
			"standard input")
	case workflows.UpdateCompensate:
		flags.DurationVar(&o.Wait, "wait", 30*time.Second, "how long to wait until all is undone; 0: until it is accepted")
	}
	return c
}

// complete checks what the flags say, and fills in what they do not.
func (o *sagaOrder) complete(a *frame.App, act sagas.Act, ids []string) error {
	err := o.Complete(a, ids, o.group != "", o.narrows(), &o.Which, act.Possible(), act.States)
	switch o.req.Operator, o.req.Reason = o.Operator, o.Reason; {
	case err != nil:
		return err
	case act.NeedsStep && o.req.Step == "":
		return text.Usagef("name the step, with --step: `holdfast saga show ID` lists them")
	case o.value != "":
		o.req.Value, err = frame.ReadJSON(a, "--value", o.value, sagaflow.MaxAnswer)
	}
	return err
}

// actOnSagas does what was ordered, and reports it.
func actOnSagas(ctx context.Context, a *frame.App, t *server.Temporal, act sagas.Act, o *sagaOrder,
	ids []string) error {
	return frame.ActOn(ctx, a, t, frame.Order[sagas.Row]{Bulk: &o.Bulk, Which: &o.Which,
		Find: func(ctx context.Context, id string) (sagas.Row, error) {
			return sagas.FindOrBegun(ctx, &a.Config, t, id, o.group)
		},
		Name:    func(r sagas.Row) string { return r.ID },
		List:    func(ctx context.Context) ([]sagas.Row, error) { return o.listed(ctx, a, t) },
		Started: func(r sagas.Row) time.Time { return r.Started },
		State:   func(r sagas.Row) string { return r.State }, Possible: act.Possible(), Print: sagas.PrintRows,
		Unknown: func(ctx context.Context) {
			a.NoteGroup(ctx, t, o.group)
			a.NoteSaga(ctx, t, o.name)
		},
		Run: func(ctx context.Context, rows []sagas.Row, tick func()) ([]actions.Outcome, error) {
			if all, done := o.Through(ctx, len(rows), tick, func(i int) vouch.Order {
				return vouch.Order{Kind: vouch.Saga, ID: rows[i].ID, Run: rows[i].RunID, Act: act.Name, Saga: &o.req,
					States: o.still(ids)}
			}); done {
				for i := range all {
					if all[i].WorkflowID == rows[i].ID { // nobody has said in which workflow it is
						all[i].WorkflowID = rows[i].WorkflowID
					}
				}
				return all, nil
			}
			b := &sagas.Batch{T: t, Prefix: a.Prefix, Act: act, Req: o.req, States: o.still(ids),
				Crew: actions.Crew{Parallel: o.Parallel, Wait: o.Wait, Answer: actions.AnswerLimit, Tick: tick}}
			return b.Run(ctx, rows)
		}}, ids)
}

// still are the states in which a saga is meant when its turn comes: those that the filters select.
// Which is named is meant in any.
func (o *sagaOrder) still(ids []string) []string {
	if len(ids) > 0 {
		return nil
	}
	return o.States
}

// listed returns those that the filters mean.
func (o *sagaOrder) listed(ctx context.Context, a *frame.App, t *server.Temporal) ([]sagas.Row, error) {
	f, err := o.filter(a)
	if err != nil {
		return nil, err
	}
	rows := []sagas.Row{}
	err = sagas.Each(ctx, t, f, server.PageLimit, func(r sagas.Row) bool {
		rows = append(rows, r)
		return true
	})
	return rows, err
}
