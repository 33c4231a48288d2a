package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	holdfast "github.com/holdfastmq/holdfast"
)

// finding is one thing that was looked at.
type finding struct {
	Part   string `json:"part"`
	Check  string `json:"check"`
	Level  level  `json:"level"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

// findings are those of one part.
type findings struct {
	suggester
	part string
	all  []finding
}

func (f *findings) add(l level, check, remedy, format string, args ...any) {
	f.all = append(f.all, finding{f.part, check, l, fmt.Sprintf(format, args...), remedy})
}

func (f *findings) ok(check, format string, args ...any) { f.add(levelOK, check, "", format, args...) }

// diagnosis is what `holdfast doctor --json` writes.
type diagnosis struct {
	OK       bool      `json:"ok"`
	Findings []finding `json:"findings"`
}

// examination says what to look at.
type examination struct {
	groups, consumers []string
	skip              []string
	fix               bool
	management        string
	asked             asked
}

// doctorTimeout is how long the doctor takes at most, unless told otherwise.
const doctorTimeout = 10 * time.Second

// part is what can be examined.
type part struct {
	name, flag string
	examine    func(context.Context, *config, examination) []finding
}

// parts are what can be examined, in the order of the report.
var parts = []part{
	{"RabbitMQ", "rabbitmq", examineRabbitMQ},
	{"PostgreSQL", "postgresql", examinePostgreSQL},
	{"Temporal", "temporal", examineTemporal},
	{"Waiting", "waiting", examineWaiting},
}

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

func (e examination) validate() error {
	for _, g := range e.groups {
		if err := holdfast.ValidateName("group", g); err != nil {
			return err
		}
	}
	for _, c := range e.consumers {
		if err := holdfast.ValidateName("consumer", c); err != nil {
			return err
		}
	}
	for _, s := range e.skip {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.flag == s }) {
			return fmt.Errorf("--skip %s: want rabbitmq, postgresql, temporal or waiting", s)
		}
	}
	return nil
}

// examine looks at all parts at once.
func examine(ctx context.Context, c *config, e examination) diagnosis {
	e.asked = c.askOnce(ctx, e.skip)
	found := make([][]finding, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts {
		if !slices.Contains(e.skip, p.flag) {
			wg.Go(func() { found[i] = p.examine(ctx, c, e) })
		}
	}
	wg.Wait()
	d := diagnosis{OK: true, Findings: slices.Concat(found...)}
	for i, f := range d.Findings {
		d.OK = d.OK && f.Level != levelProblem
		d.Findings[i].Detail, d.Findings[i].Remedy = oneLine(f.Detail), oneLine(f.Remedy)
	}
	return d
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
