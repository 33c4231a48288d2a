package cli

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/pflag"
)

// remedy is what to do about an outcome; code writes a command on the thing that has
// it, such as "saga show".
type remedy func(code func(command string, flags ...string) string) string

// things are what an action is for, in words.
type things struct {
	noun string // one of them
	show string // the command that shows one, such as "saga show"
	// scope is the flag that goes with IDs too.
	scope string
	// columns are those of the table of outcomes, before what came of each; cells
	// are theirs.
	columns []string
	cells   func(outcome) []string
	// remedies are what to do about verdicts, where the outcome does not know.
	remedies map[verdict]remedy
}

// bulk is one action on any number of things, as its flags say.
type bulk struct {
	things
	who
	suggester
	verb             string
	all, dryRun, yes bool
	asJSON           bool
	parallel         int
	// wait is how long to wait for what comes of it; 0: only until it is accepted.
	wait time.Duration
}

// register adds the flags that all actions have.
func (b *bulk) register(flags *pflag.FlagSet) {
	b.who.register(flags)
	flags.BoolVar(&b.all, "all", false, "all of them, where there is no ID and no filter")
	flags.BoolVar(&b.dryRun, "dry-run", false, "list what would be acted on, and do nothing")
	flags.BoolVar(&b.yes, "yes", false, "do not ask for confirmation")
	flags.IntVar(&b.parallel, "parallel", 32, "how many at the same time")
	flags.BoolVar(&b.asJSON, "json", false, "write JSON")
}

// bulkTimeout is how long a command on several things may take.
const bulkTimeout = time.Hour

// limit is how long the command may take, unless told otherwise.
func (b *bulk) limit(ids []string) time.Duration {
	if len(ids) != 1 {
		return bulkTimeout
	}
	return defaultTimeout + b.wait
}

// check says what is wrong with the flags. scoped says that the flag is given that
// goes with IDs too, narrowed that others are, which do not.
func (b *bulk) check(ids []string, scoped, narrowed bool, most int) error {
	switch {
	case len(ids) > 0 && (narrowed || b.all || most != 0):
		return usagef("give IDs or filters, not both; only --%s goes with IDs", b.scope)
	case len(ids) == 0 && !scoped && !narrowed && !b.all:
		return usagef("say which: IDs, filters such as --%s, or --all", b.scope)
	case b.parallel < 1 || b.parallel > 256:
		return usagef("--parallel %d: want 1 to 256", b.parallel)
	case most < 0:
		return usagef("--limit %d: want 0 or more", most)
	case b.wait < 0:
		return usagef("--wait %v: want 0 or more", b.wait)
	case b.dryRun:
		return nil
	}
	return b.who.check()
}

// report prints what became of it all, and ends the command.
func (a *app) report(b *bulk, all []outcome, named bool) error {
	isBad := func(o outcome) bool { return o.bad(b.wait > 0, named) }
	bad := len(all) - len(slices.DeleteFunc(slices.Clone(all), isBad))
	b.advise(all)
	switch {
	case b.asJSON:
		if err := printJSON(a.Out, all); err != nil {
			return err
		}
	case len(all) == 1 && bad == 1:
		return b.failure(all[0])
	case len(all) == 1:
		printf(a.Out, "%s\n", b.sentence(all[0]))
	default:
		if err := b.printOutcomes(a.Out, all, isBad); err != nil {
			return err
		}
	}
	if bad > 0 {
		return statusError(exitError)
	}
	return nil
}

// sentence says what became of one thing.
func (b *bulk) sentence(o outcome) string {
	s := fmt.Sprintf("%s %s: %s", capital(b.noun), o.WorkflowID, o.Outcome)
	if o.Detail != "" {
		s += ", " + o.Detail
	}
	return oneLine(s) + "."
}

// failure is a bad outcome as the command's error.
func (b *bulk) failure(o outcome) error {
	err := fmt.Errorf("%s %s: %s: %s", b.verb, o.WorkflowID, o.Outcome, o.Detail)
	if o.Remedy == "" {
		o.Remedy = b.code(b.show, o.WorkflowID) + " says more"
	}
	return withRemedy(err, "%s", o.Remedy)
}

// advise says what to do about each outcome, where that is not known yet.
func (b *bulk) advise(all []outcome) {
	for i := range all {
		o := &all[i]
		if say := b.remedies[o.Outcome]; say != nil && o.Remedy == "" {
			o.Remedy = say(func(command string, flags ...string) string { return b.code(command, o.WorkflowID, flags...) })
		}
	}
}

// failuresShown is how many failures are listed.
const failuresShown = 20

// printOutcomes writes a line with the counts, what failed, and what to do about it:
// once for each kind of outcome, with the first that has it.
func (b *bulk) printOutcomes(w io.Writer, all []outcome, bad func(outcome) bool) error {
	printf(w, "%s: %s\n", b.verb, summarize(b.noun, all))
	failed := slices.DeleteFunc(slices.Clone(all), func(o outcome) bool { return !bad(o) })
	if len(failed) > 0 {
		printf(w, "\n")
		t := newTable(w, append(slices.Clone(b.columns), "OUTCOME", "DETAIL")...)
		for _, o := range failed[:min(len(failed), failuresShown)] {
			t.row(append(b.cells(o), string(o.Outcome), orDash(cutText(o.Detail, 120)))...)
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	if more := len(failed) - failuresShown; more > 0 {
		printf(w, "… and %d more: --json writes each.\n", more)
	}
	told := map[verdict]bool{}
	for _, o := range append(failed, all...) {
		if o.Remedy != "" && !told[o.Outcome] {
			told[o.Outcome] = true
			printf(w, "\n%s (%s): %s\n", o.Outcome, oneLine(o.ID), oneLine(o.Remedy))
		}
	}
	return nil
}
