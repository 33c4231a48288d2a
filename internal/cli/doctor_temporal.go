package cli

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
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
)

func examineTemporal(ctx context.Context, c *config, e examination) []finding {
	f := findings{suggester: c.suggester(), part: "Temporal"}
	t, err := c.temporal(ctx)
	switch {
	case err != nil && !c.temporalAddressed():
		f.noTemporal(e.asked)
		return f.all
	case err != nil:
		f.unreached(err, "see that it runs, and check TEMPORAL_ADDRESS; where no process uses Temporal: --skip temporal")
		return f.all
	}
	defer t.Close()
	f.ok("connection", "reached at %s", t.address)
	f.temporalVersion(ctx, t)
	if !f.namespace(ctx, t) {
		return f.all
	}
	f.temporalClock(ctx, t, c.Prefix, c.clock)
	if f.attributes(ctx, t, e.fix) {
		f.parked(ctx, t)
		f.lost(ctx, t, c.Prefix)
		f.letters(ctx, t, c.Prefix)
		f.lostLetters(ctx, t, c.Prefix)
		f.sagas(ctx, t, c.Prefix, c.clock())
		f.strandedSagas(ctx, t, c.Prefix, func() ([]broker.SagaDefinition, error) { return c.definitions(ctx) })
		f.lostSagas(ctx, t, c.Prefix)
		f.unknownSagas(ctx, t, c.Prefix, c.clock())
	}
	for _, g := range e.groups {
		f.pollers(ctx, t, c.Prefix, g, e.asked, c.clock())
	}
	return f.all
}

// noTemporal judges that Temporal's address is not known, and that nothing is at the one
// that stands for it then. That is well where the processes say that they go without,
// those that send among them; where nobody says so, it is a check that could not be
// made.
func (f *findings) noTemporal(ask asked) {
	answers, err := ask()
	uses := func(p broker.ProcessStatus) bool { return !p.NoTemporal }
	sends := func(p broker.ProcessStatus) bool { return len(p.Keepers) > 0 }
	if err == nil && !slices.ContainsFunc(answers, uses) && slices.ContainsFunc(answers, sends) {
		f.ok("connection", "not checked: TEMPORAL_ADDRESS is not set, and no process that answers (%d) uses Temporal", len(answers))
		return
	}
	f.add(levelProblem, "connection", "set TEMPORAL_ADDRESS; where no process uses Temporal: --skip temporal",
		"not checked: TEMPORAL_ADDRESS is not set, and no Temporal is at %s", client.DefaultHostPort)
}

func (f *findings) temporalVersion(ctx context.Context, t *temporalServer) {
	info, err := t.WorkflowService().GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{})
	if err != nil {
		f.add(levelWarning, "version", "", "unknown: %s", text(err))
		return
	}
	f.all = append(f.all, temporalVersionFinding(info.GetServerVersion()))
}

// temporalVersionFinding judges the server's version. Workflow Updates are
// complete from 1.25, eager start is on by default from 1.29.
func temporalVersionFinding(version string) finding {
	f := finding{Part: "Temporal", Check: "version", Level: levelOK, Detail: version}
	major, minor, ok := majorMinor(version)
	switch {
	case !ok || major > 1:
	case major < 1 || minor < 25:
		f.Level, f.Remedy = levelProblem, "upgrade to Temporal 1.25 or later: Updates need it"
	case minor < 29:
		f.Level, f.Remedy = levelWarning, "set system.enableEagerWorkflowStart, or upgrade to 1.29 or later: transactions are faster with it"
	}
	return f
}

func (f *findings) namespace(ctx context.Context, t *temporalServer) bool {
	d, err := t.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: t.namespace})
	var missing *serviceerror.NamespaceNotFound
	switch {
	case errors.As(err, &missing):
		f.add(levelProblem, "namespace", "create it with: temporal operator namespace create --namespace "+t.namespace+"; or check TEMPORAL_NAMESPACE", "%s does not exist", t.namespace)
		return false
	case err != nil:
		f.add(levelProblem, "namespace", "check TEMPORAL_NAMESPACE, and what this client may do", "%s: %s", t.namespace, text(err))
		return false
	}
	f.ok("namespace", "%s keeps ended workflows for %s", t.namespace, age(d.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration()))
	return true
}

// attributes checks the search attributes, after making them where fix says so.
func (f *findings) attributes(ctx context.Context, t *temporalServer, fix bool) bool {
	const check = "search attributes"
	if fix {
		if err := worker.EnsureSearchAttributes(ctx, t, t.namespace); err != nil {
			f.add(levelProblem, check, "", "%s", text(err))
			return false
		}
	}
	missing, err := worker.MissingSearchAttributes(ctx, t, t.namespace)
	switch {
	case err != nil:
		f.add(levelProblem, check, "", "%s", text(err))
	case len(missing) > 0:
		f.add(levelProblem, check, "run "+f.code("doctor", "", "--fix")+", or start a worker: both create them, where that is allowed", "missing: %s", attributeList(missing))
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
func (f *findings) parked(ctx context.Context, t *temporalServer) {
	count, err := t.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: t.namespace,
		Query: filter{prefix: t.prefix, states: []string{string(workflows.Parked)}}.query()})
	switch {
	case err != nil:
		f.add(levelWarning, "parked", "", "unknown: %s", text(err))
	case count.GetCount() > 0:
		f.add(levelWarning, "parked", f.code("tx list", "", "--state", "parked")+" lists them with the reasons, "+f.code("tx show", "ID")+" says what can be done", "%s for an operator",
			plural(int(count.GetCount()), "transaction")+" waiting")
	default:
		f.ok("parked", "no transaction waits for an operator")
	}
}

// pollers says whether processes of a group take work from Temporal. One that has just
// gone is listed for a while yet: then it counts that no process of the group answers.
func (f *findings) pollers(ctx context.Context, t *temporalServer, prefix, group string, ask asked, now time.Time) {
	queue := workflows.TaskQueue(prefix, group)
	p, err := t.polled(ctx, queue, now)
	if err != nil {
		f.add(levelWarning, "group "+group, "", "%s", text(err))
		return
	}
	const remedy = "start a process of the group; check its name and --prefix"
	if p.fresh == 0 {
		f.add(levelProblem, "group "+group, remedy, "no process polls task queue %s", queue)
		return
	}
	if answers, unasked := ask(); unasked == nil && !groupAnswers(answers, group) {
		f.add(levelWarning, "group "+group, remedy+"; if one runs, run doctor again",
			"%s polled task queue %s, the last %s ago, but no process of the group answers: it has just gone", processCount(p.fresh), queue, age(now.Sub(p.last)))
		return
	}
	f.ok("group "+group, "%s polling task queue %s", processCount(p.fresh), queue)
}
