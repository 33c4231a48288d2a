package cli

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// waitingKinds are the kinds that can be asked for.
var waitingKinds = []string{waitSaga, waitTransaction, waitLetter, waitGroup, waitHalfQueue, waitConsumer, waitRetry}

// waitingList is what `holdfast waiting --json` writes.
type waitingList struct {
	Waiting []*wait  `json:"waiting"`
	Unknown []string `json:"unknown,omitempty"`
}

func newWaitingCommand(a *app) *cobra.Command {
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
			if err := oneOf("kind", waitingKinds, kinds...); err != nil {
				return usageError{err}
			}
			ctx, cancel := a.bounded(cmd.Context(), defaultTimeout)
			defer cancel()
			s := newSurvey(ctx, &a.config)
			if err := surveyAll(ctx, &a.config, s); err != nil {
				return err
			}
			list := waitingList{Waiting: []*wait{}, Unknown: s.unknown}
			for _, w := range s.sorted() {
				if len(kinds) == 0 || slices.Contains(kinds, w.Kind) {
					list.Waiting = append(list.Waiting, w)
				}
			}
			if asJSON {
				return printJSON(a.Out, list)
			}
			for _, u := range s.unknown {
				printf(a.Err, "Unknown: %s\n", u)
			}
			return printWaiting(a.Out, list.Waiting, a.Now())
		},
	}
	c.Flags().StringSliceVar(&kinds, "kind", nil, "only these kinds: "+join(waitingKinds))
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

// printWaiting writes what waits for people to read.
func printWaiting(w io.Writer, all []*wait, now time.Time) error {
	if len(all) == 0 {
		printf(w, "Nothing waits.\n")
		return nil
	}
	t := newTable(w, "WAITING", "FOR", "LONGEST", "NEXT", "DETAIL")
	for _, x := range all {
		oldest, next := "-", orDash(x.Then)
		if !x.Since.IsZero() {
			oldest = age(now.Sub(x.Since))
		}
		if !x.Next.IsZero() {
			next = fmt.Sprintf("in %s: %s", age(x.Next.Sub(now)), x.Then)
		}
		what := x.For
		if x.Missing {
			what += " (missing)"
		}
		detail := x.Detail
		if len(x.Examples) > 0 {
			detail = orDash(detail) + "; such as " + x.Examples[0]
		}
		t.row(x.counted(), what, oldest, next, orDash(detail))
		if x.Remedy != "" {
			t.row("", "→ "+x.Remedy)
		}
	}
	return t.flush()
}
