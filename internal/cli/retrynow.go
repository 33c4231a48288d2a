package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/workflows"
)

// retryNowFlags are the flags of retry-now.
type retryNowFlags struct {
	who
	group, what    string
	dryRun, asJSON bool
}

func newRetryNowCommand(a *app) *cobra.Command {
	var f retryNowFlags
	c := &cobra.Command{
		Use:   "retry-now",
		Short: "Have what waits for a timer try again at once",
		Long: `Have everything that would try again by itself do so now: sagas that wait for a
participant's reply ask again, and those whose step failed try it again;
transactions are published again, or checked back. It is harmless: what is not
there yet is not there afterwards, and they wait as before, for the same times.
What waits for an operator's decision, parked for another reason, is left alone.

Messages in the delays of the retry ladder go back into their consumer's queue,
those of other consumers stay; open breakers try a message. A try is a try: a
message that fails again is one step further on its ladder, and after the last
one a dead letter. So mend first. Without Temporal this alone is done; with
--group it is not, since it belongs to no group.

--for takes a part of what "holdfast waiting" shows under FOR.

JSON: an array of id (of the workflow, or the consumer's name), for, count,
at_least.`,
		Example: "  holdfast retry-now --reason \"the stock service runs\"\n  holdfast retry-now --for stock.reserve --dry-run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.complete(a)
			if err := f.check(); err != nil && !f.dryRun {
				return err
			}
			ctx, cancel := a.bounded(cmd.Context(), defaultTimeout)
			defer cancel()
			return retryNow(ctx, a, f)
		},
	}
	flags := c.Flags()
	f.register(flags)
	flags.StringVar(&f.group, "group", "", "only what this producer group sent or runs")
	flags.StringVar(&f.what, "for", "", "only what waits for something with this in its name, such as a topic")
	flags.BoolVar(&f.dryRun, "dry-run", false, "only say what would be tried")
	flags.BoolVar(&f.asJSON, "json", false, "write JSON")
	return c
}

// means reports whether what waits is among what the flags say.
func (f retryNowFlags) means(n nudge) bool {
	id, _ := workflows.ParseID(n.ID)
	group := id.Owner
	if n.signal == "" {
		group = "" // it is of none
	}
	return strings.Contains(n.For, f.what) && (f.group == "" || f.group == group)
}

func retryNow(ctx context.Context, a *app, f retryNowFlags) error {
	s := newSurvey(ctx, &a.config)
	s.nudging, s.operator, s.reason = true, f.operator, f.reason
	if err := surveyAll(ctx, &a.config, s); err != nil {
		return err
	}
	nudges := []nudge{}
	for _, n := range s.nudges {
		if f.means(n) {
			nudges = append(nudges, n)
		}
	}
	if s.temp == nil && len(nudges) == 0 { // what it is mostly for
		return a.withTemporal(ctx, func(context.Context, *temporalServer) error { return nil })
	}
	for _, u := range s.unknown {
		printf(a.Err, "Unknown: %s\n", u)
	}
	gone, err := 0, error(nil)
	if !f.dryRun {
		gone, err = carryOut(ctx, &a.config, nudges)
	}
	return errors.Join(tellNudges(a, nudges, gone, f), err)
}

func tellNudges(a *app, nudges []nudge, gone int, f retryNowFlags) error {
	if f.asJSON {
		return printJSON(a.Out, nudges)
	}
	if len(nudges) == 0 {
		printf(a.Out, "Nothing waits for a timer.\n")
		return nil
	}
	counts, atLeast := map[string]int{}, map[string]bool{}
	for _, n := range nudges {
		if n.signal != "" {
			n.Count = 1
		}
		counts[n.For] += n.Count
		atLeast[n.For] = atLeast[n.For] || n.AtLeast && f.dryRun
	}
	t := newTable(a.Out, "TRIED", "WAITED FOR")
	for _, what := range sortedKeys(counts) {
		said := fmt.Sprint(counts[what])
		if atLeast[what] {
			said = "at least " + said
		}
		t.row(said, what)
	}
	if err := t.flush(); err != nil {
		return err
	}
	switch {
	case f.dryRun:
		printf(a.Out, "\nNothing was done.\n")
	case gone > 0:
		printf(a.Out, "\n%s had ended meanwhile.\n", plural(gone, "workflow"))
	}
	return nil
}
