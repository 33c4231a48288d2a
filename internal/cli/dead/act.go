package dead

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/vouch"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

// lettersInWords are dead letters in words.
var lettersInWords = frame.Things{Noun: "dead letter", Show: "dead show", Scope: "consumer",
	Columns: []string{"MESSAGE", "CONSUMER"}, Cells: func(o actions.Outcome) []string {
		return []string{o.ID,
			text.OrDash(o.Consumer)}
	},
	Remedies: map[actions.Verdict]frame.Remedy{
		actions.Unknown: func(code func(string, ...string) string) string {
			return "it may have taken effect: " + code("dead show") + " says; repeating the command is safe"
		},
		actions.Unsent: func(func(string, ...string) string) string {
			return "repeat the command: what is settled, or under way, is left alone"
		},
		actions.Redelivered: func(code func(string, ...string) string) string {
			return code("dead show") + " says later what came of it; --wait waits longer"
		},
	}}

// deadOrder is what the flags of an action say.
type deadOrder struct {
	frame.Bulk
	deadFlags
	req               deadflow.Request
	waitSet           bool
	edit, contentType string
}

func newDeadActCommand(a *frame.App, act deadletters.Act) *cobra.Command {
	o := deadOrder{Bulk: frame.Bulk{Things: lettersInWords, Verb: act.Name}}
	long := act.Long + `

Which: IDs (see holdfast dead --help), or those that the filters mean, or --all.
Without --state, filters select: ` + text.Join(act.States) + `.
--dry-run lists what would be acted on, and does nothing. More than one is
confirmed at a terminal, or with --yes. Operator and reason are recorded in each
workflow's history. A process with Temporal has to run. What is interrupted can
be repeated: nothing is done twice.

The exit status is 0 only if all of it was seen to be done, or, with --wait 0,
accepted.

JSON: an array of id, consumer, workflow_id, outcome (handled, compensated,
discarded, restarted, redelivered, compensating, settled already, failed again,
refused, unknown, not sent), detail, remedy, state, redelivery; with --dry-run
that of dead list.`
	c := &cobra.Command{
		Use:   act.Name + " [ID…] --reason TEXT",
		Short: act.Short,
		Long:  long,
		Example: "  holdfast dead " + act.Name + " A-1007 --reason \"the ledger is back\"\n  holdfast dead " + act.Name +
			" --consumer payments --older-than 1h --dry-run",
		RunE: func(cmd *cobra.Command, ids []string) error {
			o.waitSet = cmd.Flags().Changed("wait")
			if err := o.complete(a, act, ids); err != nil {
				return err
			}
			return a.WithTemporalFor(cmd.Context(), o.Bulk.Limit(ids), func(ctx context.Context, t *server.Temporal) error {
				return actOnDead(ctx, a, t, act, &o, ids)
			})
		},
	}
	flags := c.Flags()
	stateHelp := "only those in these states: " + text.Join(act.Possible(true))
	o.deadFlags.register(flags, 0, "how many at most, the oldest first; 0: no limit", stateHelp)
	o.Bulk.Register(flags)
	if act.Force != "" {
		flags.BoolVar(&o.req.Force, "force", false, act.Force)
	}
	if act.Update == deadflow.UpdateRedeliver || act.Update == workflows.UpdateCompensate {
		flags.DurationVar(&o.Wait, "wait", 0, "how long to wait for what comes of it; 0: until it is accepted (default "+
			"10s, for several 30s)")
	}
	if act.Update == deadflow.UpdateRedeliver {
		flags.StringVar(&o.edit, "edit", "", "the file with another body, for a single ID, if the consumer's policy "+
			"allows it; - is the standard input")
		flags.StringVar(&o.contentType, "content-type", "", "the other body's media type (default: as it was)")
	}
	return c
}

// complete checks what the flags say, and fills in what they do not.
func (o *deadOrder) complete(a *frame.App, act deadletters.Act, ids []string) error {
	usual, redelivering := act.States, string(workflows.Redelivering)
	if o.req.Force {
		usual = append(slices.Clone(usual), redelivering)
	} else if act.Force != "" && slices.Contains(o.States, redelivering) {
		return text.Usagef("--state %s: its consumer has not answered yet: add --force", redelivering)
	}
	err := o.Complete(a, ids, o.consumer != "", o.narrows(), &o.Which, act.Possible(o.req.Force), usual)
	switch o.req.Operator, o.req.Reason = o.Operator, o.Reason; {
	case err != nil:
		return err
	case o.edit != "" && len(ids) != 1:
		return text.Usagef("--edit is for a single ID")
	case o.contentType != "" && o.edit == "":
		return text.Usagef("--content-type goes with --edit")
	}
	if !o.waitSet && (act.Update == deadflow.UpdateRedeliver || act.Update == workflows.UpdateCompensate) {
		if o.Wait = 30 * time.Second; len(ids) == 1 {
			o.Wait = 10 * time.Second
		}
	}
	o.req.Once = act.Update == deadflow.UpdateRedeliver && !o.req.Force
	return nil
}

// actOnDead does what was ordered, and reports it.
func actOnDead(ctx context.Context, a *frame.App, t *server.Temporal, act deadletters.Act, o *deadOrder,
	ids []string) error {
	return frame.ActOn(ctx, a, t, frame.Order[deadletters.Row]{Bulk: &o.Bulk, Which: &o.Which,
		Find: func(ctx context.Context, id string) (deadletters.Row, error) {
			return deadletters.Find(ctx, t, id, o.consumer, a.Prefix)
		},
		Name:     func(r deadletters.Row) string { return r.WorkflowID },
		List:     func(ctx context.Context) ([]deadletters.Row, error) { return o.listed(ctx, a, t) },
		Started:  func(r deadletters.Row) time.Time { return r.Started },
		State:    func(r deadletters.Row) string { return r.State },
		Possible: act.Possible(o.req.Force), Print: deadletters.PrintRows,
		Unknown: func(ctx context.Context) { a.NoteConsumer(ctx, t, o.consumer) },
		Check:   func(ctx context.Context, rows []deadletters.Row) error { return deadletters.AnybodyThere(ctx, t, rows) },
		Run: func(ctx context.Context, rows []deadletters.Row, tick func()) ([]actions.Outcome, error) {
			if o.edit != "" {
				if err := readEdit(ctx, a, t, o, rows[0]); err != nil {
					return nil, err
				}
			}
			if all, done := o.Through(ctx, len(rows), tick, func(i int) vouch.Order {
				return vouch.Order{Kind: vouch.Letter, ID: rows[i].WorkflowID, Run: rows[i].RunID, Act: act.Name, Letter: &o.req}
			}); done {
				return all, nil
			}
			b := &deadletters.Batch{T: t, Prefix: a.Prefix, Act: act, Req: o.req, Now: a.Now,
				Crew: actions.Crew{Parallel: o.Parallel, Wait: o.Wait, Answer: actions.AnswerLimit, Tick: tick}}
			if act.Update == deadflow.UpdateRedeliver && len(rows) == 1 {
				b.Req.Wait = o.Wait // the answer itself waits
			}
			return b.Run(ctx, rows), nil
		}}, ids)
}

// listed returns those that the filters mean.
func (o *deadOrder) listed(ctx context.Context, a *frame.App, t *server.Temporal) ([]deadletters.Row, error) {
	f, err := o.filter(a)
	if err != nil {
		return nil, err
	}
	rows := []deadletters.Row{}
	err = deadletters.Each(ctx, t, f, server.PageLimit, deadletters.Collect(&rows))
	return rows, err
}
