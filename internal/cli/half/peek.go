package half

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// HeldHalf is an undecided half message, and who holds it.
type HeldHalf struct {
	Tx          string        `json:"tx"`
	Lane        holdfast.Lane `json:"lane"`
	Queue       int           `json:"queue"`
	Keeper      string        `json:"keeper"`
	Messages    int           `json:"messages"`
	Topics      []string      `json:"topics,omitempty"`
	Age         float64       `json:"age"` // seconds
	Tries       int           `json:"tries"`
	HandingOver bool          `json:"handing_over"`
	Bytes       int           `json:"bytes"`
}

func newHalfPeekCommand(a *frame.App) *cobra.Command {
	var asJSON bool
	var n int
	c := &cobra.Command{
		Use:   "peek GROUP",
		Short: "Show the oldest half messages that a group's Keepers hold",
		Long: `Show the oldest undecided half messages that the Keepers of a group hold,
without bodies and business keys: Keepers tell them to whoever may ask. Most are
settled a moment later; what stays is handed over to Temporal, where
holdfast tx show TX finds the rest.

JSON: an array of tx, lane, queue, keeper, messages (how many), topics (the
first few), age (seconds, as its Keeper sees it), tries (hand-overs that
failed), handing_over, bytes.`,
		Example: "  holdfast half peek orders\n  holdfast half peek orders -n 100 --json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if n < 1 || n > broker.MaxPeek {
				return text.Usagef("-n %d: want 1 to %d", n, broker.MaxPeek)
			}
			if err := holdfast.ValidateName("group", args[0]); err != nil {
				return text.Usage(err)
			}
			return a.WithBroker(cmd.Context(), func(ctx context.Context, b *broker.Broker) error {
				answers, err := b.Peek(ctx, args[0], n, 0)
				if err != nil {
					return err
				}
				if !slices.Contains(processes.KeptGroups(answers), args[0]) {
					return text.WithRemedy(fmt.Errorf("no Keeper of group %s answers", args[0]),
						"start a process of the group; check its name and --prefix; %s says what "+
							"waits", a.Suggester().Code("half stats", args[0]))
				}
				halves := heldHalves(args[0], answers, n)
				if asJSON {
					return text.JSON(a.Out, halves)
				}
				return printHalves(a.Out, halves)
			})
		},
	}
	c.Flags().IntVarP(&n, "number", "n", 20, "how many at most")
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

// heldHalves are the n oldest half messages of all that the group's Keepers told.
func heldHalves(group string, answers []broker.ProcessStatus, n int) []HeldHalf {
	all := []HeldHalf{}
	for _, p := range answers {
		for _, k := range p.Keepers {
			for _, h := range k.Oldest {
				if k.Group == group {
					all = append(all, HeldHalf{Tx: h.Tx, Lane: cmp.Or(h.Lane, holdfast.Traced), Queue: max(k.Queue, 1),
						Keeper: text.OrDash(p.Instance), Messages: h.Messages,
						Topics: h.Topics, Age: h.Age.Seconds(), Tries: h.Tries, HandingOver: h.HandingOver, Bytes: h.Bytes})
				}
			}
		}
	}
	slices.SortStableFunc(all, func(x, y HeldHalf) int { return cmp.Compare(y.Age, x.Age) })
	return all[:min(n, len(all))]
}

func printHalves(w io.Writer, halves []HeldHalf) error {
	if len(halves) == 0 {
		text.Printf(w, "No undecided half message is held.\n")
		return nil
	}
	t := text.NewTable(w, "TX", "LANE", "TOPIC", "AGE", "TRIES", "BYTES", "QUEUE", "KEEPER")
	for _, h := range halves {
		tries := strconv.Itoa(h.Tries)
		if h.HandingOver {
			tries += ", now"
		}
		t.Row(h.Tx, string(h.Lane), text.Few(h.Topics), text.Age(processes.Seconds(h.Age)), tries, strconv.Itoa(h.Bytes),
			strconv.Itoa(h.Queue), h.Keeper)
	}
	return t.Flush()
}
