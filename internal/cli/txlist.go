package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newTxListCommand(a *app) *cobra.Command {
	var f filter
	var since time.Duration
	var limit int
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List transactions",
		Long: `List transactions: those that are open first, then those that ended last. What
a transaction became is in its workflow's result, which is read for each one. A
transaction appears here about a second after it began; those that ended are
found for as long as the Temporal namespace keeps them. Each has one row, also
where several share a workflow; one that left its workflow is listed where it
goes on, and where it left only with --state left. In the Express lane, only
what was handed over is listed.

JSON: an array of tx, group, state, reason, topics, keys, started, closed,
workflow_id, run_id.`,
		Example: "  holdfast tx list --group orders --state parked\n  holdfast tx list --key A-1007 --json\n  holdfast tx list --since 1h --topic order.placed",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.validate(); err != nil {
				return usageError{err}
			}
			if limit < 1 {
				return usagef("--limit %d: want 1 or more", limit)
			}
			if since > 0 {
				f.since = a.Now().Add(-since)
			}
			return a.withTemporal(cmd.Context(), func(ctx context.Context, t *temporalServer) error {
				rows, more, err := t.list(ctx, f, limit)
				if err != nil {
					return err
				}
				if more != "" {
					printf(a.Err, "%s\n", more)
				}
				if asJSON {
					return printJSON(a.Out, rows)
				}
				return printRows(a.Out, rows, a.Now())
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.group, "group", "", "only this producer group's")
	flags.StringVar(&f.state, "state", "", "only those in this state: "+strings.Join(states, ", "))
	flags.StringVar(&f.topic, "topic", "", "only those whose first message has this topic; any message's, where a workflow is shared")
	flags.StringVar(&f.key, "key", "", "only those with this business key")
	flags.DurationVar(&since, "since", 0, "only those that began within this time, such as 1h")
	flags.IntVar(&limit, "limit", 20, "how many at most")
	flags.BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

// printRows writes transactions as a table.
func printRows(w io.Writer, rows []row, now time.Time) error {
	if len(rows) == 0 {
		printf(w, "No transactions.\n")
		return nil
	}
	t := newTable(w, "TX", "STATE", "TOPIC", "KEY", "STARTED", "AGE", "WORKFLOW")
	for _, r := range rows {
		t.row(orDash(r.Tx), r.State, few(r.Topics), few(r.Keys),
			r.Started.In(now.Location()).Format(dateTime), age(now.Sub(r.Started)), r.WorkflowID)
	}
	return t.flush()
}

// few names the first of several, and how many there are more.
func few(names []string) string {
	switch len(names) {
	case 0:
		return "-"
	case 1:
		return names[0]
	}
	return fmt.Sprintf("%s +%d", names[0], len(names)-1)
}
