package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/waits"
	"github.com/holdfastmq/holdfast/workflows"
)

// retryNowFlags are the flags of retry-now.
type retryNowFlags struct {
	frame.Who
	group, what    string
	dryRun, asJSON bool
}

// NewRetryNow returns the command holdfast retry-now.
func NewRetryNow(a *frame.App) *cobra.Command {
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
		Example: "  holdfast retry-now --reason \"the stock service runs\"\n" +
			"  holdfast retry-now --for stock.reserve --dry-run",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.Complete(a)
			if err := f.Check(); err != nil && !f.dryRun {
				return err
			}
			ctx, cancel := a.Bounded(cmd.Context(), reach.DefaultTimeout)
			defer cancel()
			return retryNow(ctx, a, f)
		},
	}
	flags := c.Flags()
	f.Register(flags)
	flags.StringVar(&f.group, "group", "", "only what this producer group sent or runs")
	flags.StringVar(&f.what, "for", "", "only what waits for something with this in its name, such as a topic")
	flags.BoolVar(&f.dryRun, "dry-run", false, "only say what would be tried")
	flags.BoolVar(&f.asJSON, "json", false, "write JSON")
	return c
}

// means reports whether what waits is among what the flags say.
func (f retryNowFlags) means(n waits.Nudge) bool {
	id, _ := workflows.ParseID(n.ID)
	group := id.Owner
	if n.Signal == "" {
		group = "" // it is of none
	}
	return strings.Contains(n.For, f.what) && (f.group == "" || f.group == group)
}

func retryNow(ctx context.Context, a *frame.App, f retryNowFlags) error {
	s := waits.New(ctx, &a.Config)
	s.Nudging, s.By, s.Why = true, f.Operator, f.Reason
	if err := waits.LookAtAll(ctx, &a.Config, s); err != nil {
		return err
	}
	nudges := []waits.Nudge{}
	for _, n := range s.Nudges {
		if f.means(n) {
			nudges = append(nudges, n)
		}
	}
	if s.Server == nil && len(nudges) == 0 { // what it is mostly for
		return a.WithTemporal(ctx, func(context.Context, *server.Temporal) error { return nil })
	}
	for _, u := range s.Unknown {
		text.Printf(a.Err, "Unknown: %s\n", u)
	}
	if u := s.Unlooked(); u != "" {
		text.Printf(a.Err, "%s: run it again once these have been tried.\n", u)
	}
	gone, err := 0, error(nil)
	if !f.dryRun {
		gone, err = waits.CarryOut(ctx, &a.Config, nudges)
	}
	return errors.Join(tellNudges(a, nudges, gone, f), err)
}

func tellNudges(a *frame.App, nudges []waits.Nudge, gone int, f retryNowFlags) error {
	if f.asJSON {
		return text.JSON(a.Out, nudges)
	}
	if len(nudges) == 0 {
		text.Printf(a.Out, "Nothing waits for a timer.\n")
		return nil
	}
	counts, atLeast := map[string]int{}, map[string]bool{}
	for _, n := range nudges {
		if n.Signal != "" {
			n.Count = 1
		}
		counts[n.For] += n.Count
		atLeast[n.For] = atLeast[n.For] || n.AtLeast && f.dryRun
	}
	t := text.NewTable(a.Out, "TRIED", "WAITED FOR")
	for _, what := range text.SortedKeys(counts) {
		said := fmt.Sprint(counts[what])
		if atLeast[what] {
			said = "at least " + said
		}
		t.Row(said, what)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	switch {
	case f.dryRun:
		text.Printf(a.Out, "\nNothing was done.\n")
	case gone > 0:
		text.Printf(a.Out, "\n%s had ended meanwhile.\n", text.Plural(gone, "workflow"))
	}
	return nil
}
