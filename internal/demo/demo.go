package demo

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/holdfastmq/holdfast/internal/stack"
)

// Options configure a run of the demo.
type Options struct {
	// Out receives the story and the table. Required.
	Out io.Writer
	// Dir is the data folder of the stack; empty means a temporary one.
	Dir string
	// Keep leaves everything up after the table, until the context is done.
	Keep bool
}

// result is how one scenario ended.
type result struct {
	expected, found string
	workflows       []workflowRef
	err             error
}

type workflowRef struct{ id, runID string }

func (r result) ok() bool { return r.err == nil && r.expected == r.found }

// scenarioTimeout bounds one scenario. RabbitMQ looks again after three minutes, and after
// three more, for room in a queue that was still full when it looked first.
const scenarioTimeout = 15 * time.Minute

// Run runs all scenarios and reports whether each ended as expected. The last
// line that it writes says how many did.
func Run(ctx context.Context, o Options) (allAsExpected bool, err error) {
	s, err := stack.Start(ctx, stack.Options{Dir: o.Dir, Out: o.Out})
	if err != nil {
		return false, err
	}
	defer func() { _ = s.Close() }()
	st, err := newStage(ctx, o.Out, s)
	if err != nil {
		return false, err
	}
	defer st.close()

	list := slices.Concat(scenarios(), sagaScenarios())
	if s.RabbitMQ != nil {
		list = append(list, ownBrokerScenarios()...)
	} else {
		fmt.Fprintln(o.Out, "Left out, since AMQP_URL names a RabbitMQ that is not the demo's own: a full queue.")
	}
	results := make([]result, len(list))
	good := 0
	for i, sc := range list {
		fmt.Fprintf(o.Out, "\n%d. %s\n", i+1, sc.title)
		st.number = i + 1
		results[i] = st.play(ctx, sc)
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if results[i].ok() {
			good++
		} else {
			fmt.Fprintf(o.Out, "   NOT AS EXPECTED: expected %s, found %s %s\n",
				results[i].expected, results[i].found, errorText(results[i].err))
			st.showLogs()
		}
	}
	writeTable(o.Out, list, results)
	if err := st.audit(ctx); err != nil {
		fmt.Fprintln(o.Out, "audit of the four databases:", err)
		good = min(good, len(list)-1)
	}
	if o.Keep {
		st.links(results)
		fmt.Fprintln(o.Out, "\nThe stack stays up; Ctrl-C ends it.")
		defer st.console(ctx)()
	}
	fmt.Fprintf(o.Out, "demo: %d of %d scenarios ended as expected\n", good, len(list))
	return good == len(list), nil
}

func (s *stage) play(ctx context.Context, sc scenario) result {
	ctx, cancel := context.WithTimeout(ctx, scenarioTimeout)
	defer cancel()
	s.refs = nil
	expected := sc.expected
	found, err := sc.run(ctx, s)
	return result{expected: expected, found: found, workflows: s.refs, err: err}
}

func writeTable(out io.Writer, list []scenario, results []result) {
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "#\tscenario\texpected\tfound in the databases\t")
	for i, r := range results {
		mark := "ok"
		if !r.ok() {
			mark = "NOT AS EXPECTED " + errorText(r.err)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", i+1, list[i].title, r.expected, r.found, mark)
	}
	_ = w.Flush()
	fmt.Fprintln(out)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return "(" + err.Error() + ")"
}
