package cli

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// sagaAct is what an operator can ask of sagas.
type sagaAct struct {
	name        string // the Update's, too
	short, long string
	said        verdict  // that it was done
	step        string   // what --step names; empty: there is none
	needsStep   bool     // it has to be named
	states      []string // of those that a filter selects
	also        []string // states that a filter can be told to select
}

// stuckStates are the states of sagas that wait for an operator to mend them.
var stuckStates = []string{core.StateParked, core.StateCompensationFailed}

var sagaActs = []sagaAct{
	{name: workflows.UpdatePause, short: "Hold sagas: no further step is begun", said: isPaused,
		long: `Hold sagas: what is under way ends, and no further step is begun or undone until
they are resumed. The time limits of replies and answers go on.`,
		states: []string{core.StateRunning, core.StateWaiting},
		also:   []string{core.StateNoWorker, core.StateParked, core.StateCompensating, core.StateCompensationFailed}},
	{name: workflows.UpdateResume, short: "Let paused sagas go on", said: isResumed,
		long:   `Let paused sagas go on where they were.`,
		states: []string{core.StatePaused},
		also:   []string{core.StateNoWorker, core.StateCompensationFailed}},
	{name: workflows.UpdateRetry, short: "Try again now what failed", said: isRetried,
		long: `Try again now what failed, or waits for its next try, with all its tries anew.
In a saga that goes back, it is the Undo that is tried. It ends a pause.`,
		step: "the step to try; default: all that failed", states: stuckStates,
		also: []string{core.StateRunning, core.StateWaiting, core.StatePaused, core.StateNoWorker, core.StateCompensating}},
	{name: workflows.UpdateSkip, short: "Go on without a step", said: isSkipped,
		long: `Go on as if a step had been done, or undone, that failed or waits. Nothing is
done for it: whatever it should have brought about is the operator's to see to.
When the saga goes back later, it is undone like the others.`,
		step: "the step to go on without (required)", needsStep: true, states: stuckStates,
		also: []string{core.StateRunning, core.StateWaiting, core.StatePaused, core.StateNoWorker, core.StateCompensating}},
	{name: workflows.UpdateCompensate, short: "Undo all that sagas did", said: isCompensated,
		long: `Undo all that sagas did, the last step first. One that runs turns back at once.
One that has completed, or whose workflow was ended from outside, is undone by a
second workflow, saga/GROUP/NAME/KEY/undo. To repeat it is safe: nothing is
undone twice. What cannot be undone waits for retry or skip.`,
		states: []string{core.StateParked},
		also: append([]string{core.StateRunning, core.StateWaiting, core.StatePaused, core.StateNoWorker, core.StateCompensating,
			core.StateCompleted}, lostStates...)},
	{name: workflows.UpdateAnswer, short: "Answer what sagas wait for", said: isAnswered,
		long: `Answer a step that waits for somebody outside, such as an approval, or with
--refuse, say no. An answer may come before its step does.`,
		step: "the step that waits (required)", needsStep: true, states: []string{core.StateWaiting},
		also: []string{core.StateRunning, core.StatePaused, core.StateNoWorker, core.StateParked}},
}

// possible are the states in which the action makes sense.
func (act sagaAct) possible() []string { return append(slices.Clone(act.states), act.also...) }

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
