package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
)

func examineTemporal(ctx context.Context, c *reach.Config, e Examination) []Finding {
	f := Findings{Suggester: c.Suggester(), part: "Temporal"}
	t, err := c.Temporal(ctx)
	switch {
	case err != nil && !c.TemporalAddressed():
		f.noTemporal(e.asked)
		return f.All
	case err != nil:
		f.unreached(err, "see that it runs, and check TEMPORAL_ADDRESS; where no process uses Temporal: --skip temporal")
		return f.All
	}
	defer t.Close()
	f.ok("connection", "reached at %s", t.Address)
	f.temporalVersion(ctx, t)
	if !f.namespace(ctx, t) {
		return f.All
	}
	f.temporalClock(ctx, t, c.Prefix, c.Clock)
	if f.attributes(ctx, t, e.Fix) {
		f.together(
			func(f *Findings) { f.parked(ctx, t) },
			func(f *Findings) { f.lost(ctx, t, c.Prefix) },
			func(f *Findings) { f.letters(ctx, t, c.Prefix) },
			func(f *Findings) { f.lostLetters(ctx, t, c.Prefix) },
			func(f *Findings) { f.sagas(ctx, t, c.Prefix, c.Clock()) },
			func(f *Findings) {
				f.StrandedSagas(ctx, t, c.Prefix, func() ([]broker.SagaDefinition, error) {
					answers, err := e.asked()
					return processes.DefinitionsOf(answers), err
				})
			},
			func(f *Findings) { f.LostSagas(ctx, t, c.Prefix) },
			func(f *Findings) { f.UnknownSagas(ctx, t, c.Prefix, c.Clock()) },
		)
	}
	for _, g := range e.Groups {
		f.pollers(ctx, t, c.Prefix, g, e.asked, c.Clock())
	}
	return f.All
}

// noTemporal judges that Temporal's address is not known, and that nothing is at the one
// that stands for it then. That is well where the processes say that they go without,
// those that send among them; where nobody says so, it is a check that could not be
// made.
func (f *Findings) noTemporal(ask reach.Asked) {
	answers, err := ask()
	uses := func(p broker.ProcessStatus) bool { return !p.NoTemporal }
	sends := func(p broker.ProcessStatus) bool { return len(p.Keepers) > 0 }
	if err == nil && !slices.ContainsFunc(answers, uses) && slices.ContainsFunc(answers, sends) {
		f.ok("connection", "not checked: TEMPORAL_ADDRESS is not set, and no process that answers (%d) uses Temporal",
			len(answers))
		return
	}
	f.add(text.LevelProblem, "connection", "set TEMPORAL_ADDRESS; where no process uses Temporal: --skip temporal",
		"not checked: TEMPORAL_ADDRESS is not set, and no Temporal is at %s", client.DefaultHostPort)
}

func (f *Findings) temporalVersion(ctx context.Context, t *server.Temporal) {
	info, err := t.WorkflowService().GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{})
	if err != nil {
		f.add(text.LevelWarning, "version", "", "unknown: %s", text.Of(err))
		return
	}
	f.All = append(f.All, temporalVersionFinding(info.GetServerVersion()))
}

// temporalVersionFinding judges the server's version. Workflow Updates are
// complete from 1.25, eager start is on by default from 1.29.
func temporalVersionFinding(version string) Finding {
	f := Finding{Part: "Temporal", Check: "version", Level: text.LevelOK, Detail: version}
	major, minor, ok := majorMinor(version)
	switch {
	case !ok || major > 1:
	case major < 1 || minor < 25:
		f.Level, f.Remedy = text.LevelProblem, "upgrade to Temporal 1.25 or later: Updates need it"
	case minor < 29:
		f.Level, f.Remedy = text.LevelWarning, "set system.enableEagerWorkflowStart, or upgrade to 1.29 or later: "+
			"transactions are faster with it"
	}
	return f
}

func (f *Findings) namespace(ctx context.Context, t *server.Temporal) bool {
	d, err := t.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: t.Namespace})
	var missing *serviceerror.NamespaceNotFound
	switch {
	case errors.As(err, &missing):
		f.add(text.LevelProblem, "namespace", "create it with: temporal operator namespace create "+
			"--namespace "+t.Namespace+"; or check TEMPORAL_NAMESPACE", "%s does not exist", t.Namespace)
		return false
	case err != nil:
		f.add(text.LevelProblem, "namespace", "check TEMPORAL_NAMESPACE, and what this client may do", "%s: %s", t.Namespace,
			text.Of(err))
		return false
	}
	f.retention(t.Namespace, d.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration())
	return true
}

// leastRetention is for how long ended workflows should be kept at least: until then a
// key that is used again is found, and what has ended can be looked at and compensated.
const leastRetention = 24 * time.Hour

// retention judges for how long a namespace keeps ended workflows.
func (f *Findings) retention(namespace string, kept time.Duration) {
	if kept > 0 && kept < leastRetention {
		f.add(text.LevelWarning, "namespace", "temporal operator namespace update --namespace "+namespace+
			" --retention 30d; see docs/production.md",
			"%s keeps ended workflows for %s only: after that a saga's key may be used again, and what ended cannot be "+
				"looked at or compensated", namespace, text.Age(kept))
		return
	}
	f.ok("namespace", "%s keeps ended workflows for %s", namespace, text.Age(kept))
}

// attributes checks the search attributes, after making them where fix says so.
func (f *Findings) attributes(ctx context.Context, t *server.Temporal, fix bool) bool {
	const check = "search attributes"
	if fix {
		if err := worker.EnsureSearchAttributes(ctx, t, t.Namespace); err != nil {
			f.add(text.LevelProblem, check, "", "%s", text.Of(err))
			return false
		}
	}
	missing, err := worker.MissingSearchAttributes(ctx, t, t.Namespace)
	switch {
	case err != nil:
		f.add(text.LevelProblem, check, "", "%s", text.Of(err))
	case len(missing) > 0:
		f.add(text.LevelProblem, check, "run "+f.Code("doctor", "",
			"--fix")+", or start a worker: both create them, where that is allowed", "missing: %s", attributeList(missing))
	default:
		f.ok(check, "%s", attributeList(worker.SearchAttributes()))
		return true
	}
	return false
}

func attributeList(attributes map[string]enumspb.IndexedValueType) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		list = append(list, fmt.Sprintf("%s (%s)", name, attributes[name]))
	}
	return strings.Join(list, ", ")
}

// parked counts the transactions that wait for an operator.
func (f *Findings) parked(ctx context.Context, t *server.Temporal) {
	count, err := t.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: t.Namespace,
		Query: transactions.Filter{Prefix: t.Prefix, States: []string{string(workflows.Parked)}}.Query()})
	switch {
	case err != nil:
		f.add(text.LevelWarning, "parked", "", "unknown: %s", text.Of(err))
	case count.GetCount() > 0:
		f.add(text.LevelWarning, "parked", f.Code("tx list", "", "--state",
			"parked")+" lists them with the reasons, "+f.Code("tx show", "ID")+" says what can be done", "%s for an operator",
			text.Plural(int(count.GetCount()), "transaction")+" waiting")
	default:
		f.ok("parked", "no transaction waits for an operator")
	}
}

// pollers says whether processes of a group take work from Temporal. One that has just
// gone is listed for a while yet: then it counts that no process of the group answers.
func (f *Findings) pollers(ctx context.Context, t *server.Temporal, prefix, group string, ask reach.Asked,
	now time.Time) {
	queue := workflows.TaskQueue(prefix, group)
	p, err := t.Polled(ctx, queue, now)
	if err != nil {
		f.add(text.LevelWarning, "group "+group, "", "%s", text.Of(err))
		return
	}
	const remedy = "start a process of the group; check its name and --prefix"
	if p.Fresh == 0 {
		f.add(text.LevelProblem, "group "+group, remedy, "no process polls task queue %s", queue)
		return
	}
	if answers, unasked := ask(); unasked == nil && !processes.GroupAnswers(answers, group) {
		f.add(text.LevelWarning, "group "+group, remedy+"; if one runs, run doctor again",
			"%s polled task queue %s, the last %s ago, but no process of the group answers: it has just "+
				"gone", text.ProcessCount(p.Fresh), queue, text.Age(now.Sub(p.Last)))
		return
	}
	f.ok("group "+group, "%s polling task queue %s", text.ProcessCount(p.Fresh), queue)
}
