package half

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

func newHalfStatsCommand(a *frame.App) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "stats [GROUP...]",
		Short: "Show each half queue, its Keeper, and what that holds",
		Long: `Show the half queues of the groups that are named, or of all whose processes
answer: who keeps each, what waits in it, what its Keeper holds, for how long,
and what became of what it had. The counts begin with that process's Keeper.

JSON: an array of group, queue (its number, from 1), name, exists, waiting
(records that no Keeper has got yet), readers, keeper (the active one),
standbys, held, handing_over, undecided, oldest_age and check_after (seconds),
matched, handed_over, failed (tries), orphaned, malformed, failing_since and
last_error (of hand-overs).`,
		Example: "  holdfast half stats\n  holdfast half stats orders --json",
		RunE: func(cmd *cobra.Command, groups []string) error {
			for _, g := range groups {
				if err := holdfast.ValidateName("group", g); err != nil {
					return text.Usage(err)
				}
			}
			return a.WithBroker(cmd.Context(), func(ctx context.Context, b *broker.Broker) error {
				answers, err := b.Ask(ctx, 0)
				if err != nil {
					return err
				}
				if len(groups) == 0 {
					groups = processes.KeptGroups(answers)
				}
				queues, err := processes.KeptQueues(ctx, b, groups, answers)
				if err != nil {
					return err
				}
				if asJSON {
					return text.JSON(a.Out, append([]processes.KeptQueue{}, queues...))
				}
				return printHalfStats(a.Out, queues, a.Now())
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

// printHalfStats writes half queues as a table, and below what is wrong with them.
func printHalfStats(w io.Writer, queues []processes.KeptQueue, now time.Time) error {
	if len(queues) == 0 {
		text.Printf(w, "No Keeper answers. Name a group to see its half queues nevertheless.\n")
		return nil
	}
	t := text.NewTable(w, "GROUP", "QUEUE", "KEEPER", "STANDBYS", "WAITING", "HELD", "UNDECIDED", "OLDEST", "HANDED OVER",
		"FAILED", "MATCHED", "MALFORMED")
	var notes []string
	for _, k := range queues {
		oldest := "-"
		if k.OldestAge > 0 {
			oldest = text.Age(processes.Seconds(k.OldestAge))
		}
		t.Row(k.Group, strconv.Itoa(k.Queue), text.OrDash(k.Keeper), text.Few(k.Standbys), strconv.Itoa(k.Waiting),
			strconv.Itoa(k.Held), strconv.Itoa(k.Undecided),
			oldest, fmt.Sprint(k.HandedOver), fmt.Sprint(k.Failed), fmt.Sprint(k.Matched), fmt.Sprint(k.Malformed))
		notes = append(notes, k.Notes(now)...)
	}
	if err := t.Flush(); err != nil || len(notes) == 0 {
		return err
	}
	text.Printf(w, "\n")
	for _, n := range notes {
		text.Printf(w, "%s\n", text.OneLine(n))
	}
	return nil
}
