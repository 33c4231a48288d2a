package dead

import (
	"cmp"
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

func newDeadListCommand(a *frame.App) *cobra.Command {
	var d deadFlags
	var by string
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, or count them",
		Long: `List dead letters: those that are open, unless --state says otherwise, the
latest first. --group-by error, consumer, topic or class counts them instead,
and says how to list each group; errors are grouped without the numbers, IDs
and quoted values that differ between them; codes and names of tables, columns
and constraints count. A dead letter appears here about a second after it
came, and what happened to it about a second later; those that are settled are
found for as long as the Temporal namespace keeps them.

JSON: an array of id, consumer, topic, key, state, class, reason, attempts,
started, closed, workflow_id, run_id; with --group-by an array of by, value,
count, example (a workflow_id), oldest, newest, command.`,
		Example: "  holdfast dead list --consumer payments --older-than 1h\n  holdfast dead list --group-by error\n" +
			"  holdfast dead list --state handled,discarded --newer-than 24h --json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := d.filter(a)
			if err != nil {
				return err
			}
			if err := d.CheckLimit(); err != nil {
				return err
			}
			if by != "" && deadletters.Groupings[by] == nil {
				return text.Usagef("--group-by %s: want error, consumer, topic or class", by)
			}
			return a.WithTemporal(cmd.Context(), func(ctx context.Context, t *server.Temporal) error {
				if by != "" {
					return listGroups(ctx, a, t, f, &d, by, asJSON)
				}
				return listDead(ctx, a, t, f, d.Limit, asJSON)
			})
		},
	}
	d.register(c.Flags(), 20, "how many at most", "only those in these states (default: all open ones): parked, waits, "+
		"redelivering, compensating, handled, compensated, discarded, failed, terminated, canceled, timed-out, all")
	c.Flags().StringVar(&by, "group-by", "", "count them by error, consumer, topic or class")
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

func listDead(ctx context.Context, a *frame.App, t *server.Temporal, f deadletters.Filter, limit int,
	asJSON bool) error {
	rows, more, err := actions.First(limit, func(size int, visit func(deadletters.Row) bool) error {
		return deadletters.Each(ctx, t, f, size, visit)
	})
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		a.NoteConsumer(ctx, t, f.Consumer)
	}
	if more {
		text.Printf(a.Err, "There are more than %d: raise --limit, narrow it down, or use --group-by.\n", limit)
	}
	return frame.Print(a, rows, asJSON, deadletters.PrintRows)
}

// listGroups counts what f means, and prints the largest groups. Where there is no time for all, it
// prints those that were counted, and returns an error that says which.
func listGroups(ctx context.Context, a *frame.App, t *server.Temporal, f deadletters.Filter, d *deadFlags, by string,
	asJSON bool) error {
	var c deadletters.Counter
	f.Scan = math.MaxInt // only the time bounds it
	err := deadletters.Each(ctx, t, f, server.PageLimit, func(r deadletters.Row) bool {
		c.Count(by, r)
		return true
	})
	var partly *server.ScannedError
	if errors.As(err, &partly) {
		err = text.WithRemedy(errors.New(partly.Rest(a.Now())), "raise --timeout to have all counted")
	} else if err != nil {
		return err
	}
	groups := c.Largest()
	if len(groups) == 0 {
		a.NoteConsumer(ctx, t, f.Consumer)
	}
	for i := range groups {
		groups[i].By, groups[i].Command = by, d.command(a.Suggester(), by, groups[i].Value)
	}
	if len(groups) > d.Limit {
		text.Printf(a.Err, "There are %d groups: raise --limit to see more than %d.\n", len(groups), d.Limit)
		groups = groups[:d.Limit]
	}
	if asJSON {
		return cmp.Or(text.JSON(a.Out, groups), err)
	}
	return cmp.Or(deadletters.PrintGroups(a.Out, by, groups, a.Now()), err)
}

// command is the command that lists one group of what the flags mean. Of those without a value
// there is none: no flag means only them.
func (d deadFlags) command(say text.Suggester, by, value string) string {
	if value == "" {
		return ""
	}
	switch by {
	case "error":
		d.errorText = value
	case "consumer":
		d.consumer = value
	case "topic":
		d.topic = value
	case "class":
		d.class = value
	}
	var flags []string
	flag := func(name, value string) {
		if value != "" {
			flags = append(flags, name, value)
		}
	}
	duration := func(d time.Duration) string {
		if d == 0 {
			return ""
		}
		return d.String()
	}
	flag("--consumer", d.consumer)
	flag("--topic", d.topic)
	flag("--key", d.key)
	flag("--class", d.class)
	flag("--error", d.errorText)
	flag("--state", strings.Join(d.States, ","))
	flag("--older-than", duration(d.OlderThan))
	flag("--newer-than", duration(d.NewerThan))
	return say.Command("dead list", "", flags...)
}
