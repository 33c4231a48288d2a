package cli

import (
	"io"
	"strings"

	"github.com/spf13/cobra"
)

func newDoctorCommand(a *app) *cobra.Command {
	var e examination
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
			if err := e.validate(); err != nil {
				return usageError{err}
			}
			ctx, cancel := a.bounded(cmd.Context(), doctorTimeout)
			defer cancel()
			d := examine(ctx, &a.config, e)
			var err error
			if asJSON {
				err = printJSON(a.Out, d)
			} else {
				err = printDiagnosis(a.Out, d, a.colours(a.Out))
			}
			if err == nil && !d.OK {
				err = statusError(exitError)
			}
			return err
		},
	}
	flags := c.Flags()
	flags.StringSliceVar(&e.groups, "group", nil, "a producer group that should be running; may be given again")
	flags.StringSliceVar(&e.consumers, "consumer", nil, "a consumer that should be running; may be given again")
	flags.StringSliceVar(&e.skip, "skip", nil, "a part that is not to be checked: rabbitmq, postgresql, temporal or waiting")
	flags.StringVar(&e.management, "rabbitmq-management", "", "where RabbitMQ's management API is, such as http://host:15672: policies are looked for there")
	flags.BoolVar(&e.fix, "fix", false, "create missing search attributes in Temporal")
	flags.BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

// printDiagnosis writes the findings for people to read.
func printDiagnosis(w io.Writer, d diagnosis, p palette) error {
	t := newTable(w)
	t.painted("PART", "CHECK", p.paint("", "STATE"), "DETAIL")
	count := map[level]int{}
	for _, f := range d.Findings {
		count[f.Level]++
		t.painted(f.Part, f.Check, p.paint(f.Level, string(f.Level)), f.Detail)
		if f.Remedy != "" {
			t.painted("", "", p.paint("", ""), "→ "+f.Remedy)
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	said := []string{plural(count[levelProblem], "problem"), plural(count[levelWarning], "warning")}
	printf(w, "\n%s.\n", strings.Join(said, ", "))
	return nil
}
