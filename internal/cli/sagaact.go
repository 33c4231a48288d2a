package cli

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/workflows"
)

// sagasInWords are sagas in words.
var sagasInWords = things{noun: "saga", show: "saga show", scope: "group",
	columns: []string{"SAGA"}, cells: func(o outcome) []string { return []string{o.ID} },
	remedies: map[verdict]remedy{
		isUnknown: func(code func(string, ...string) string) string {
			return "see that a process of its group runs; it may have taken effect: " + code("saga show") + " says; repeating the command is safe"
		},
		isUnsent: func(func(string, ...string) string) string { return "repeat the command" },
		isUndoing: func(code func(string, ...string) string) string {
			return code("saga show") + " says how it goes on; repeating the command waits longer"
		},
		isStuck: func(code func(string, ...string) string) string {
			return code("saga show") + " says why; " + code("saga retry", withReason()...) + " tries again, " +
				code("saga skip", withReason("--step", "STEP")...) + " leaves a step as it is"
		},
	}}

// sagaOrder is what the flags of an action say.
type sagaOrder struct {
	bulk
	sagaFlags
	req   workflows.SagaRequest
	value string
}

func newSagaActCommand(a *app, act sagaAct) *cobra.Command {
	o := sagaOrder{bulk: bulk{things: sagasInWords, verb: act.name}}
	arguments, example := " [ID…] --reason TEXT", ""
	if act.needsStep {
		arguments, example = " [ID…] --step STEP --reason TEXT", " --step approve"
	}
	c := &cobra.Command{
		Use:   act.name + arguments,
		Short: act.short,
		Long: act.long + `

Which: IDs (see holdfast saga --help), or those that the filters mean, or --all.
Without --state, filters select: ` + join(act.states) + `.
--dry-run lists what would be acted on, and does nothing. More than one is
confirmed at a terminal, or with --yes. Operator and reason are recorded in each
workflow's history. A process of the saga's group has to run.

The exit status is 0 only if all of it was seen to be done.

JSON: an array of id, workflow_id, outcome (paused, resumed, retried, skipped,
answered, compensated, compensating, compensation failed, refused, unknown, not
sent), detail, remedy, state; with --dry-run that of saga list.`,
		Example: "  holdfast saga " + act.name + " A-1007" + example + " --reason \"as agreed\"\n  holdfast saga " + act.name +
			" --name order-payment --older-than 1h" + example + " --dry-run",
		RunE: func(cmd *cobra.Command, ids []string) error {
			if err := o.complete(a, act, ids); err != nil {
				return err
			}
			return a.withTemporalFor(cmd.Context(), o.bulk.limit(ids), func(ctx context.Context, t *temporalServer) error {
				return actOnSagas(ctx, a, t, act, &o, ids)
			})
		},
	}
	flags := c.Flags()
	o.sagaFlags.register(flags, 0, "how many at most, the oldest first; 0: no limit", "only those in these states: "+join(act.possible()))
	o.bulk.register(flags)
	if act.step != "" {
		flags.StringVar(&o.req.Step, "step", "", act.step)
	}
	switch act.name {
	case workflows.UpdateAnswer:
		flags.BoolVar(&o.req.Refuse, "refuse", false, "the answer is no")
		flags.StringVar(&o.value, "value", "", "what is answered, in JSON; @FILE reads it from a file, - from the standard input")
	case workflows.UpdateCompensate:
		flags.DurationVar(&o.wait, "wait", 30*time.Second, "how long to wait until all is undone; 0: until it is accepted")
	}
	return c
}

// complete checks what the flags say, and fills in what they do not.
func (o *sagaOrder) complete(a *app, act sagaAct, ids []string) error {
	o.who.complete(a)
	o.suggester = a.suggester()
	o.req.Operator, o.req.Reason = o.operator, o.reason
	if err := o.check(ids, o.group != "", o.narrows(), o.sagaFlags.limit); err != nil {
		return err
	}
	if act.needsStep && o.req.Step == "" {
		return usagef("name the step, with --step: `holdfast saga show ID` lists them")
	}
	for _, s := range o.states {
		if !slices.Contains(act.possible(), s) {
			return usagef("--state %s: %s acts on %s", s, act.name, join(act.possible()))
		}
	}
	if len(ids) == 0 && len(o.states) == 0 {
		o.states = act.states
	}
	if o.value != "" {
		var err error
		if o.req.Value, err = readJSON(a, "--value", o.value, workflows.MaxAnswer); err != nil {
			return err
		}
	}
	return nil
}

// actOnSagas does what was ordered, and reports it.
func actOnSagas(ctx context.Context, a *app, t *temporalServer, act sagaAct, o *sagaOrder, ids []string) error {
	return actOn(ctx, a, t, order[sagaRow]{bulk: &o.bulk, ages: o.ages,
		choose: func(ctx context.Context) ([]sagaRow, error) { return selectSagas(ctx, a, t, o, ids) },
		state:  func(r sagaRow) string { return r.State }, possible: act.possible(), print: printSagaRows,
		unknown: func(ctx context.Context) {
			a.noteGroup(ctx, t, o.group)
			a.noteSaga(ctx, t, o.name)
		},
		run: func(ctx context.Context, rows []sagaRow, tick func()) ([]outcome, error) {
			b := &sagaBatch{t: t, prefix: a.Prefix, act: act, req: o.req,
				crew: crew{parallel: o.parallel, wait: o.wait, answer: answerLimit, tick: tick}}
			return b.run(ctx, rows)
		}}, ids)
}

// selectSagas returns the sagas that are meant, the oldest first.
func selectSagas(ctx context.Context, a *app, t *temporalServer, o *sagaOrder, ids []string) ([]sagaRow, error) {
	if len(ids) > 0 {
		return lookUp(ctx, o.parallel, ids, func(ctx context.Context, id string) (sagaRow, error) {
			return findSaga(ctx, t, id, o.group, a.Prefix)
		}, func(r sagaRow) string { return r.ID })
	}
	f, err := o.filter(a)
	if err != nil {
		return nil, err
	}
	rows := []sagaRow{}
	err = eachSaga(ctx, t, f, deadPage, func(r sagaRow) bool {
		rows = append(rows, r)
		return true
	})
	return oldest(rows, o.sagaFlags.limit, func(r sagaRow) time.Time { return r.Started }), err
}
