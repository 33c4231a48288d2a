package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/workflows"
)

// deadAct is what an operator can ask of dead letters.
type deadAct struct {
	name, update string // update: empty, if it is no Update
	short, long  string
	force        string   // what --force means; empty: there is none
	states       []string // of those that a filter selects
}

var lostStates = []string{"failed", "terminated", "canceled", "timed-out"}

var deadActs = []deadAct{
	{workflows.UpdateRedeliver, workflows.UpdateRedeliver, "Put dead letters back into their consumer's queue",
		`Put dead letters back into the queue of the consumer that gave them up, and of
no other, to be tried at once. A message that was redelivered is handled, or
fails again and is parked again: --wait says how long to wait for that.`,
		"redeliver although the last redelivery is not answered yet",
		[]string{string(workflows.Parked), string(workflows.Waits)}},
	{workflows.UpdateCompensate, workflows.UpdateCompensate, "Undo what dead letters were sent for",
		`Run the producer group's Compensate for dead letters, once for each, and then
tell the other consumers of the message. A process of the group has to run;
otherwise it happens as soon as one does, within a day.`,
		"compensate although the last redelivery is not answered yet: the consumer may handle it nevertheless",
		[]string{string(workflows.Parked), string(workflows.Waits)}},
	{workflows.UpdateDiscard, workflows.UpdateDiscard, "Drop dead letters for good",
		`Drop dead letters for good. Nothing is published and nothing is undone.`,
		"discard although the last redelivery is not answered yet: the consumer may handle it nevertheless",
		[]string{string(workflows.Parked), string(workflows.Waits)}},
	{"restart", "", "Start the workflow of lost dead letters again",
		`Start the workflow of dead letters again that was terminated, or failed. It
goes on where it was, but leaves to an operator what was under way then. The
other actions do the same before what they do themselves.`,
		"", lostStates},
}

// possible are the states in which the action makes sense.
func (act deadAct) possible(force bool) []string {
	if act.update == "" {
		return act.states
	}
	states := append(slices.Clone(act.states), lostStates...)
	if force {
		states = append(states, string(workflows.Redelivering))
	}
	return states
}

// deadOrder is what the flags of an action say.
type deadOrder struct {
	deadFlags
	req               workflows.DeadLetterRequest
	all, dryRun, yes  bool
	asJSON            bool
	parallel          int
	wait              time.Duration
	waitSet           bool
	edit, contentType string
}

func newDeadActCommand(a *app, act deadAct) *cobra.Command {
	var o deadOrder
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
			limit := defaultTimeout + o.wait
			if len(ids) != 1 {
				limit = bulkTimeout
			}
			return a.withTemporalFor(cmd.Context(), limit, func(ctx context.Context, t *temporalServer) error {
				return a.actOnDead(ctx, t, act, &o, ids)
			})
		},
	}
	flags := c.Flags()
	stateHelp := "only those in these states: " + join(act.possible(true))
	o.register(flags, 0, "how many at most, the oldest first; 0: no limit", stateHelp)
	flags.StringVar(&o.req.Reason, "reason", "", "why; recorded (required)")
	flags.StringVar(&o.req.Operator, "operator", "", "who asks; recorded (default $USER)")
	flags.BoolVar(&o.all, "all", false, "all of them, where there is no ID and no filter")
	flags.BoolVar(&o.dryRun, "dry-run", false, "list what would be acted on, and do nothing")
	flags.BoolVar(&o.yes, "yes", false, "do not ask for confirmation")
	flags.IntVar(&o.parallel, "parallel", 32, "how many at the same time")
	flags.BoolVar(&o.asJSON, "json", false, "write JSON")
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

// bulkTimeout is how long a command on several dead letters may take.
const bulkTimeout = time.Hour

// complete checks what the flags say, and fills in what they do not.
func (o *deadOrder) complete(a *app, act deadAct, ids []string) error {
	if o.req.Operator == "" {
		o.req.Operator = a.User
	}
	filters := o.narrows() || o.consumer != ""
	switch {
	case len(ids) > 0 && (o.narrows() || o.all || o.limit != 0):
		return usagef("give IDs or filters, not both; only --consumer goes with IDs")
	case len(ids) == 0 && !filters && !o.all:
		return usagef("say which: IDs, filters such as --consumer, or --all")
	case o.edit != "" && len(ids) != 1:
		return usagef("--edit is for a single ID")
	case o.contentType != "" && o.edit == "":
		return usagef("--content-type goes with --edit")
	case o.parallel < 1 || o.parallel > 256:
		return usagef("--parallel %d: want 1 to 256", o.parallel)
	case o.limit < 0:
		return usagef("--limit %d: want 0 or more", o.limit)
	case o.wait < 0:
		return usagef("--wait %v: want 0 or more", o.wait)
	case !o.dryRun && o.req.Reason == "":
		return usagef("say why, with --reason")
	case !o.dryRun && o.req.Operator == "":
		return usagef("say who asks, with --operator: USER is not set")
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
func (a *app) actOnDead(ctx context.Context, t *temporalServer, act deadAct, o *deadOrder, ids []string) error {
	rows, err := a.selectDead(ctx, t, o, ids)
	if err != nil {
		return err
	}
	if o.dryRun {
		rows = slices.DeleteFunc(rows, func(r deadRow) bool { return !slices.Contains(act.possible(o.req.Force), r.State) })
		printf(a.Err, "To %s: %s. Nothing was done.\n", act.name, plural(len(rows), "dead letter"))
		if o.asJSON {
			return printJSON(a.Out, rows)
		}
		return printDeadRows(a.Out, rows, a.Now())
	}
	if len(rows) == 0 {
		if o.asJSON {
			return printJSON(a.Out, []outcome{})
		}
		printf(a.Out, "No dead letters to %s.\n", act.name)
		return nil
	}
	if err := t.anybodyThere(ctx, rows); err != nil {
		return err
	}
	if err := a.confirm(ctx, act, o, rows, len(ids) == 1); err != nil {
		return err
	}
	if o.edit != "" {
		if err := a.readEdit(ctx, t, o, rows[0]); err != nil {
			return err
		}
	}
	b := &batch{t: t, prefix: a.Prefix, act: act, req: o.req, parallel: o.parallel, wait: o.wait, answer: answerLimit, now: a.Now}
	if act.update == workflows.UpdateRedeliver && len(rows) == 1 {
		b.req.Wait = o.wait // the answer itself waits
	}
	var done func()
	b.tick, done = a.progress(act, len(rows), o.wait > 0 && len(rows) > 1)
	all := b.run(ctx, rows)
	done()
	return a.reportDead(act, o, all, len(ids) > 0)
}

// selectDead returns the dead letters that are meant, the oldest first.
func (a *app) selectDead(ctx context.Context, t *temporalServer, o *deadOrder, ids []string) ([]deadRow, error) {
	rows := []deadRow{}
	if len(ids) == 0 {
		f, err := o.filter(a)
		if err != nil {
			return nil, err
		}
		if err := t.dead(ctx, f, deadPage, collect(&rows)); err != nil {
			return nil, err
		}
		slices.SortStableFunc(rows, func(x, y deadRow) int { return x.Started.Compare(y.Started) })
		if o.limit > 0 && len(rows) > o.limit {
			rows = rows[:o.limit]
		}
		return rows, nil
	}
	found := make([]deadRow, len(ids))
	all, looking := errgroup.WithContext(ctx)
	all.SetLimit(o.parallel)
	for i, id := range ids {
		all.Go(func() (err error) {
			found[i], err = t.findDead(looking, id, o.consumer, a.Prefix)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	for _, r := range found {
		if !slices.ContainsFunc(rows, func(o deadRow) bool { return o.WorkflowID == r.WorkflowID }) {
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// anybodyThere says what is missing where no process would answer.
func (t *temporalServer) anybodyThere(ctx context.Context, rows []deadRow) error {
	asked := map[string]bool{}
	for _, r := range rows {
		if asked[r.taskQueue] {
			continue
		}
		asked[r.taskQueue] = true
		n, err := t.pollers(ctx, r.taskQueue, enumspb.TASK_QUEUE_TYPE_WORKFLOW)
		if err != nil {
			return err
		}
		if n == 0 {
			return withRemedy(fmt.Errorf("no worker serves the task queue %s of dead letters: nothing was done", r.taskQueue),
				"start a process with Temporal, of any group or consumer, and repeat it")
		}
	}
	return nil
}
