// Package doctor holds the commands that look at a whole installation: holdfast doctor,
// waiting and retry-now. What they do is in internal/operator/doctor and waits.
package doctor

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/doctor"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// New returns the command holdfast doctor.
func New(a *frame.App) *cobra.Command {
	var e doctor.Examination
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check RabbitMQ, PostgreSQL and Temporal, and say how to mend what is wrong",
		Long: `Check RabbitMQ, PostgreSQL and Temporal: whether they can be reached, have a
version that Holdfast works with, and have what Holdfast needs; for the groups
and consumers that are named, also whether processes of them run, their queues,
and what these processes answer: what the Keeper holds, whether the circuit
breaker is open; what waits for an operator: parked transactions, dead letters,
sagas; and, of all groups, whatever waits for something that is not there: a
participant, a consumer, a process of a group, a reader of a half queue, with
how long and what to start (holdfast waiting lists the rest). Nothing is
changed, except that --fix creates missing search attributes in Temporal.

The exit status is 1 if there is a problem; warnings do not count.

JSON: ok (no problem), findings (part, check, level: ok, warning or problem,
detail, remedy).`,
		Example: "  holdfast doctor --group orders --consumer payments\n  holdfast doctor --skip postgresql --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := e.Validate(); err != nil {
				return text.Usage(err)
			}
			ctx, cancel := a.Bounded(cmd.Context(), doctor.Timeout)
			defer cancel()
			d := doctor.Examine(ctx, &a.Config, e)
			var err error
			if asJSON {
				err = text.JSON(a.Out, d)
			} else {
				err = printDiagnosis(a.Out, d, a.Colours(a.Out))
			}
			if err == nil && !d.OK {
				err = frame.StatusError(frame.ExitError)
			}
			return err
		},
	}
	flags := c.Flags()
	flags.StringSliceVar(&e.Groups, "group", nil, "a producer group that should be running; may be given again")
	flags.StringSliceVar(&e.Consumers, "consumer", nil, "a consumer that should be running; may be given again")
	flags.StringSliceVar(&e.Skip, "skip", nil, "a part that is not to be checked: rabbitmq, postgresql, temporal or "+
		"waiting")
	flags.StringVar(&e.Management, "rabbitmq-management", "", "where RabbitMQ's management API is, such as "+
		"http://host:15672: policies are looked for there")
	flags.BoolVar(&e.Fix, "fix", false, "create missing search attributes in Temporal")
	flags.BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

// printDiagnosis writes the findings for people to read.
func printDiagnosis(w io.Writer, d doctor.Diagnosis, p text.Palette) error {
	t := text.NewTable(w)
	t.Painted("PART", "CHECK", p.Paint("", "STATE"), "DETAIL")
	count := map[text.Level]int{}
	for _, f := range d.Findings {
		count[f.Level]++
		t.Painted(f.Part, f.Check, p.Paint(f.Level, string(f.Level)), f.Detail)
		if f.Remedy != "" {
			t.Painted("", "", p.Paint("", ""), "→ "+f.Remedy)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	said := []string{text.Plural(count[text.LevelProblem], "problem"), text.Plural(count[text.LevelWarning], "warning")}
	text.Printf(w, "\n%s.\n", strings.Join(said, ", "))
	return nil
}
