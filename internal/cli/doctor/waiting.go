package doctor

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/waits"
)

// waitingKinds are the kinds that can be asked for.
var waitingKinds = []string{waits.WaitSaga, waits.WaitTransaction, waits.WaitLetter, waits.WaitGroup,
	waits.WaitHalfQueue, waits.WaitConsumer, waits.WaitRetry}

// waitingList is what `holdfast waiting --json` writes.
type waitingList struct {
	Waiting []*waits.Wait `json:"waiting"`
	Unknown []string      `json:"unknown,omitempty"`
}

// NewWaiting returns the command holdfast waiting.
func NewWaiting(a *frame.App) *cobra.Command {
	var kinds []string
	var asJSON bool
	c := &cobra.Command{
		Use:   "waiting",
		Short: "List everything that waits, for what, since when, and what happens next",
		Long: `List everything that waits: sagas by the participant, the answer or the next
try that they wait for; transactions by the consumer that is not bound, a
check-back, or an operator; dead letters; what lies behind a circuit breaker or
on a consumer's retry ladder; what waits for a process of a group, a consumer or
a reader of a half queue that is not there. What is missing comes first. Nothing
is changed.

A workflow is asked what it waits for, 500 at most, and 1,000 messages of each
delay of the ladder are looked at; a count with "at least" says that there may
be more.

JSON: waiting (an array of kind, for, count, at_least, since, next, then,
missing, detail, remedy, examples), unknown (what could not be looked at).`,
		Example: "  holdfast waiting\n  holdfast waiting --kind saga,transaction --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := server.OneOf("kind", waitingKinds, kinds...); err != nil {
				return text.Usage(err)
			}
			ctx, cancel := a.Bounded(cmd.Context(), reach.DefaultTimeout)
			defer cancel()
			s := waits.New(ctx, &a.Config)
			if err := waits.LookAtAll(ctx, &a.Config, s); err != nil {
				return err
			}
			list := waitingList{Waiting: []*waits.Wait{}, Unknown: s.Unknown}
			for _, w := range s.Sorted() {
				if len(kinds) == 0 || slices.Contains(kinds, w.Kind) {
					list.Waiting = append(list.Waiting, w)
				}
			}
			if asJSON {
				return text.JSON(a.Out, list)
			}
			for _, u := range s.Unknown {
				text.Printf(a.Err, "Unknown: %s\n", u)
			}
			return printWaiting(a.Out, list.Waiting, a.Now())
		},
	}
	c.Flags().StringSliceVar(&kinds, "kind", nil, "only these kinds: "+text.Join(waitingKinds))
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

// printWaiting writes what waits for people to read.
func printWaiting(w io.Writer, all []*waits.Wait, now time.Time) error {
	if len(all) == 0 {
		text.Printf(w, "Nothing waits.\n")
		return nil
	}
	t := text.NewTable(w, "WAITING", "FOR", "LONGEST", "NEXT", "DETAIL")
	for _, x := range all {
		oldest, next := "-", text.OrDash(x.Then)
		if !x.Since.IsZero() {
			oldest = text.Age(now.Sub(x.Since))
		}
		if !x.Next.IsZero() {
			next = fmt.Sprintf("in %s: %s", text.Age(x.Next.Sub(now)), x.Then)
		}
		what := x.For
		if x.Missing {
			what += " (missing)"
		}
		detail := x.Detail
		if len(x.Examples) > 0 {
			detail = text.OrDash(detail) + "; such as " + x.Examples[0]
		}
		t.Row(x.Counted(), what, oldest, next, text.OrDash(detail))
		if x.Remedy != "" {
			t.Row("", "→ "+x.Remedy)
		}
	}
	return t.Flush()
}
