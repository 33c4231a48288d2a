package cli

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/workflows"
)

// lettersInWords are dead letters in words.
var lettersInWords = things{noun: "dead letter", show: "dead show", scope: "consumer",
	columns: []string{"MESSAGE", "CONSUMER"}, cells: func(o outcome) []string { return []string{o.ID, orDash(o.Consumer)} },
	remedies: map[verdict]remedy{
		isUnknown: func(code func(string, ...string) string) string {
			return "it may have taken effect: " + code("dead show") + " says; repeating the command is safe"
		},
		isUnsent: func(func(string, ...string) string) string {
			return "repeat the command: what is settled, or under way, is left alone"
		},
		isRedelivered: func(code func(string, ...string) string) string {
			return code("dead show") + " says later what came of it; --wait waits longer"
		},
	}}

// deadOrder is what the flags of an action say.
type deadOrder struct {
	bulk
	deadFlags
	req               workflows.DeadLetterRequest
	waitSet           bool
	edit, contentType string
}

func newDeadActCommand(a *app, act deadAct) *cobra.Command {
	o := deadOrder{bulk: bulk{things: lettersInWords, verb: act.name}}
	long := act.long + `

Which: IDs (see holdfast dead --help), or those that the filters mean, or --all.
Without --state, filters select: ` + join(act.states) + `.
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
		Use:   act.name + " [ID…] --reason TEXT",
		Short: act.short,
		Long:  long,
		Example: "  holdfast dead " + act.name + " A-1007 --reason \"the ledger is back\"\n  holdfast dead " + act.name +
			" --consumer payments --older-than 1h --dry-run",
		RunE: func(cmd *cobra.Command, ids []string) error {
			o.waitSet = cmd.Flags().Changed("wait")
			if err := o.complete(a, act, ids); err != nil {
				return err
			}
			return a.withTemporalFor(cmd.Context(), o.bulk.limit(ids), func(ctx context.Context, t *temporalServer) error {
				return actOnDead(ctx, a, t, act, &o, ids)
			})
		},
	}
	flags := c.Flags()
	stateHelp := "only those in these states: " + join(act.possible(true))
	o.deadFlags.register(flags, 0, "how many at most, the oldest first; 0: no limit", stateHelp)
	o.bulk.register(flags)
	if act.force != "" {
		flags.BoolVar(&o.req.Force, "force", false, act.force)
	}
	if act.update == workflows.UpdateRedeliver || act.update == workflows.UpdateCompensate {
		flags.DurationVar(&o.wait, "wait", 0, "how long to wait for what comes of it; 0: until it is accepted (default 10s, for several 30s)")
	}
	if act.update == workflows.UpdateRedeliver {
		flags.StringVar(&o.edit, "edit", "", "the file with another body, for a single ID, if the consumer's policy allows it; - is the standard input")
		flags.StringVar(&o.contentType, "content-type", "", "the other body's media type (default: as it was)")
	}
	return c
}

// complete checks what the flags say, and fills in what they do not.
func (o *deadOrder) complete(a *app, act deadAct, ids []string) error {
	o.who.complete(a)
	o.suggester = a.suggester()
	o.req.Operator, o.req.Reason = o.operator, o.reason
	if err := o.check(ids, o.consumer != "", o.narrows(), o.deadFlags.limit); err != nil {
		return err
	}
	switch {
	case o.edit != "" && len(ids) != 1:
		return usagef("--edit is for a single ID")
	case o.contentType != "" && o.edit == "":
		return usagef("--content-type goes with --edit")
	}
	if !o.waitSet && (act.update == workflows.UpdateRedeliver || act.update == workflows.UpdateCompensate) {
		if o.wait = 30 * time.Second; len(ids) == 1 {
			o.wait = 10 * time.Second
		}
	}
	o.req.Once = act.update == workflows.UpdateRedeliver && !o.req.Force
	return o.completeStates(act, ids)
}

// completeStates lets a filter select what the action makes sense for.
func (o *deadOrder) completeStates(act deadAct, ids []string) error {
	possible := act.possible(o.req.Force)
	for _, s := range o.states {
		if s == string(workflows.Redelivering) && !o.req.Force && act.force != "" {
			return usagef("--state %s: its consumer has not answered yet: add --force", s)
		}
		if !slices.Contains(possible, s) {
			return usagef("--state %s: %s acts on %s", s, act.name, join(possible))
		}
	}
	if len(ids) == 0 && len(o.states) == 0 {
		o.states = act.states
		if o.req.Force {
			o.states = append(slices.Clone(o.states), string(workflows.Redelivering))
		}
	}
	return nil
}

// actOnDead does what was ordered, and reports it.
func actOnDead(ctx context.Context, a *app, t *temporalServer, act deadAct, o *deadOrder, ids []string) error {
	return actOn(ctx, a, t, order[deadRow]{bulk: &o.bulk, ages: o.ages,
		choose: func(ctx context.Context) ([]deadRow, error) { return selectDead(ctx, a, t, o, ids) },
		state:  func(r deadRow) string { return r.State }, possible: act.possible(o.req.Force), print: printDeadRows,
		unknown: func(ctx context.Context) { a.noteConsumer(ctx, t, o.consumer) },
		check:   func(ctx context.Context, rows []deadRow) error { return anybodyThere(ctx, t, rows) },
		run: func(ctx context.Context, rows []deadRow, tick func()) ([]outcome, error) {
			if o.edit != "" {
				if err := readEdit(ctx, a, t, o, rows[0]); err != nil {
					return nil, err
				}
			}
			b := &batch{t: t, prefix: a.Prefix, act: act, req: o.req, now: a.Now,
				crew: crew{parallel: o.parallel, wait: o.wait, answer: answerLimit, tick: tick}}
			if act.update == workflows.UpdateRedeliver && len(rows) == 1 {
				b.req.Wait = o.wait // the answer itself waits
			}
			return b.run(ctx, rows), nil
		}}, ids)
}

// selectDead returns the dead letters that are meant, the oldest first.
func selectDead(ctx context.Context, a *app, t *temporalServer, o *deadOrder, ids []string) ([]deadRow, error) {
	if len(ids) > 0 {
		return lookUp(ctx, o.parallel, ids, func(ctx context.Context, id string) (deadRow, error) {
			return findDead(ctx, t, id, o.consumer, a.Prefix)
		}, func(r deadRow) string { return r.WorkflowID })
	}
	rows := []deadRow{}
	f, err := o.filter(a)
	if err != nil {
		return nil, err
	}
	if err := eachDead(ctx, t, f, deadPage, collect(&rows)); err != nil {
		return nil, err
	}
	return oldest(rows, o.deadFlags.limit, func(r deadRow) time.Time { return r.Started }), nil
}
