package frame

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/vouch"
)

// Remedy is what to do about an outcome; code writes a command on the thing that has
// it, such as "saga show".
type Remedy func(code func(command string, flags ...string) string) string

// Things are what an action is for, in words.
type Things struct {
	Noun string // one of them
	Show string // the command that shows one, such as "saga show"
	// scope is the flag that goes with IDs too.
	Scope string
	// columns are those of the table of outcomes, before what came of each; cells
	// are theirs.
	Columns []string
	Cells   func(actions.Outcome) []string
	// remedies are what to do about verdicts, where the outcome does not know.
	Remedies map[actions.Verdict]Remedy
}

// Bulk is one action on any number of things, as its flags say.
type Bulk struct {
	Things
	Who
	text.Suggester
	Verb             string
	all, DryRun, yes bool
	asJSON           bool
	Parallel         int
	// wait is how long to wait for what comes of it; 0: only until it is accepted.
	Wait time.Duration
}

// Register adds the flags that all actions have.
func (b *Bulk) Register(flags *pflag.FlagSet) {
	b.Who.Register(flags)
	flags.Lookup("operator").Usage = "who asks; recorded as claimed (default that of holdfast login, " +
		"$HOLDFAST_OPERATOR, or $USER)"
	flags.BoolVar(&b.all, "all", false, "all of them, where there is no ID and no filter")
	flags.BoolVar(&b.DryRun, "dry-run", false, "list what would be acted on, and do nothing")
	flags.BoolVar(&b.yes, "yes", false, "do not ask for confirmation")
	flags.IntVar(&b.Parallel, "parallel", 32, "how many at the same time")
	flags.BoolVar(&b.asJSON, "json", false, "write JSON")
}

// bulkTimeout is how long a command on several things may take.
const bulkTimeout = time.Hour

// Limit is how long the command may take, unless told otherwise.
func (b *Bulk) Limit(ids []string) time.Duration {
	if len(ids) != 1 {
		return bulkTimeout
	}
	return reach.DefaultTimeout + b.Wait
}

// Complete checks what the flags say, and fills in what they do not: filters without states
// select the usual ones of those that are possible.
func (b *Bulk) Complete(a *App, ids []string, scoped, narrowed bool, w *Which, possible, usual []string) error {
	b.vouched = true
	b.Who.Complete(a)
	b.Suggester = a.Suggester()
	if err := b.check(ids, scoped, narrowed || w.Given(), w.Limit); err != nil {
		return err
	}
	for _, s := range w.States {
		if !slices.Contains(possible, s) {
			return text.Usagef("--state %s: %s acts on %s", s, b.Verb, text.Join(possible))
		}
	}
	if len(ids) == 0 && len(w.States) == 0 {
		w.States = usual
	}
	return nil
}

// Through has the console do it to n things, where somebody is logged in there: order is that on
// one of them. done is false where nobody is.
func (b *Bulk) Through(ctx context.Context, n int, tick func(), order func(i int) vouch.Order) (all []actions.Outcome,
	done bool) {
	if b.Via == nil {
		return nil, false
	}
	crew := actions.Crew{Parallel: min(b.Parallel, throughLimit), Tick: tick}
	return crew.Send(ctx, n, func(ctx context.Context, i int) actions.Outcome {
		o := order(i)
		o.Wait = b.Wait
		ctx, cancel := context.WithTimeout(ctx, vouch.MaxWait+throughTime)
		defer cancel()
		out := b.Via.Act(ctx, o)
		if out.ID == "" {
			out.ID = o.ID
		}
		if out.WorkflowID == "" {
			out.WorkflowID = o.ID
		}
		return out
	}), true
}

const (
	// throughLimit is how many actions the console is asked for at the same time.
	throughLimit = 8
	// throughTime is how long it may take beside what it waits.
	throughTime = time.Minute
)

// check says what is wrong with the flags. scoped says that the flag is given that
// goes with IDs too, narrowed that others are, which do not.
func (b *Bulk) check(ids []string, scoped, narrowed bool, most int) error {
	switch {
	case len(ids) > 0 && (narrowed || b.all || most != 0):
		return text.Usagef("give IDs or filters, not both; only --%s goes with IDs", b.Scope)
	case len(ids) == 0 && !scoped && !narrowed && !b.all:
		return text.Usagef("say which: IDs, filters such as --%s, or --all", b.Scope)
	case b.Parallel < 1 || b.Parallel > 256:
		return text.Usagef("--parallel %d: want 1 to 256", b.Parallel)
	case most < 0:
		return text.Usagef("--limit %d: want 0 or more", most)
	case b.Wait < 0:
		return text.Usagef("--wait %v: want 0 or more", b.Wait)
	case b.DryRun:
		return nil
	}
	return b.Who.Check()
}

// report prints what became of it all, and ends the command.
func (a *App) report(b *Bulk, all []actions.Outcome, named bool) error {
	isBad := func(o actions.Outcome) bool { return o.Bad(b.Wait > 0, named) }
	bad := len(all) - len(slices.DeleteFunc(slices.Clone(all), isBad))
	b.advise(all)
	switch {
	case b.asJSON:
		if err := text.JSON(a.Out, all); err != nil {
			return err
		}
	case len(all) == 1 && bad == 1:
		return b.failure(all[0])
	case len(all) == 1:
		text.Printf(a.Out, "%s\n", b.sentence(all[0]))
	default:
		if err := b.printOutcomes(a.Out, all, isBad); err != nil {
			return err
		}
	}
	if bad > 0 {
		return StatusError(ExitError)
	}
	return nil
}

// sentence says what became of one thing.
func (b *Bulk) sentence(o actions.Outcome) string {
	s := fmt.Sprintf("%s %s: %s", text.Capital(b.Noun), o.WorkflowID, o.Outcome)
	if o.Detail != "" {
		s += ", " + o.Detail
	}
	return text.OneLine(s) + "."
}

// failure is a bad outcome as the command's error.
func (b *Bulk) failure(o actions.Outcome) error {
	err := fmt.Errorf("%s %s: %s: %s", b.Verb, o.WorkflowID, o.Outcome, o.Detail)
	if o.Remedy == "" {
		o.Remedy = b.Code(b.Show, o.WorkflowID) + " says more"
	}
	return text.WithRemedy(err, "%s", o.Remedy)
}

// advise says what to do about each outcome, where that is not known yet.
func (b *Bulk) advise(all []actions.Outcome) {
	for i := range all {
		o := &all[i]
		if say := b.Remedies[o.Outcome]; say != nil && o.Remedy == "" {
			o.Remedy = say(func(command string, flags ...string) string { return b.Code(command, o.WorkflowID, flags...) })
		}
	}
}

// failuresShown is how many failures are listed.
const failuresShown = 20

// printOutcomes writes a line with the counts, what failed, and what to do about it:
// once for each kind of outcome, with the first that has it.
func (b *Bulk) printOutcomes(w io.Writer, all []actions.Outcome, bad func(actions.Outcome) bool) error {
	text.Printf(w, "%s: %s\n", b.Verb, actions.Summarize(b.Noun, all))
	failed := slices.DeleteFunc(slices.Clone(all), func(o actions.Outcome) bool { return !bad(o) })
	if len(failed) > 0 {
		text.Printf(w, "\n")
		t := text.NewTable(w, append(slices.Clone(b.Columns), "OUTCOME", "DETAIL")...)
		for _, o := range failed[:min(len(failed), failuresShown)] {
			t.Row(append(b.Cells(o), string(o.Outcome), text.OrDash(text.CutText(o.Detail, 120)))...)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if more := len(failed) - failuresShown; more > 0 {
		text.Printf(w, "… and %d more: --json writes each.\n", more)
	}
	told := map[actions.Verdict]bool{}
	for _, o := range append(failed, all...) {
		if o.Remedy != "" && !told[o.Outcome] {
			told[o.Outcome] = true
			text.Printf(w, "\n%s (%s): %s\n", o.Outcome, text.OneLine(o.ID), text.OneLine(o.Remedy))
		}
	}
	return nil
}
