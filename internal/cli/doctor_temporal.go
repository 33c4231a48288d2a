package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
)

func (a *app) examineTemporal(ctx context.Context, e examination) []finding {
	f := findings{part: "Temporal"}
	t, err := a.temporal(ctx)
	if err != nil {
		f.unreached(err, "see that it runs, and check TEMPORAL_ADDRESS")
		return f.all
	}
	defer t.Close()
	f.ok("connection", "reached at %s", t.address)
	f.temporalVersion(ctx, t)
	if !f.namespace(ctx, t) {
		return f.all
	}
	if f.attributes(ctx, t, e.fix) {
		f.parked(ctx, t)
		f.lost(ctx, t, a.Prefix)
		f.letters(ctx, t, a.Prefix)
		f.lostLetters(ctx, t, a.Prefix)
		f.sagas(ctx, t, a.Prefix, a.Now())
		f.strandedSagas(ctx, t, a.Prefix, func() ([]broker.SagaDefinition, error) { return a.definitions(ctx) })
		f.lostSagas(ctx, t, a.Prefix)
	}
	for _, g := range e.groups {
		f.pollers(ctx, t, a.Prefix, g)
	}
	return f.all
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
		f.add(levelProblem, check, "run `holdfast doctor --fix`, or start a worker: both create them, where that is allowed", "missing: %s", attributeList(missing))
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
		Query: filter{state: string(workflows.Parked)}.query()})
	switch {
	case err != nil:
		f.add(levelWarning, "parked", "", "unknown: %s", text(err))
	case count.GetCount() > 0:
		f.add(levelWarning, "parked", "`holdfast tx list --state parked` lists them, `holdfast tx show` says why", "%s for an operator",
			plural(int(count.GetCount()), "transaction")+" waiting")
	default:
		f.ok("parked", "no transaction waits for an operator")
	}
}

func (f *findings) pollers(ctx context.Context, t *temporalServer, prefix, group string) {
	queue := workflows.TaskQueue(prefix, group)
	least := -1
	for _, kind := range []enumspb.TaskQueueType{enumspb.TASK_QUEUE_TYPE_WORKFLOW, enumspb.TASK_QUEUE_TYPE_ACTIVITY} {
		n, err := t.pollers(ctx, queue, kind)
		if err != nil {
			f.add(levelWarning, "group "+group, "", "%s", text(err))
			return
		}
		if least < 0 || n < least {
			least = n
		}
	}
	if least == 0 {
		f.add(levelProblem, "group "+group, "start a process of the group; check its name and --prefix", "no process polls task queue %s", queue)
		return
	}
	f.ok("group "+group, "%s polling task queue %s", processes(least), queue)
}

func processes(n int) string {
	if n == 1 {
		return "1 process"
	}
	return fmt.Sprintf("%d processes", n)
}
