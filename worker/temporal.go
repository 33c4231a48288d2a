package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/intake"
	"github.com/holdfastmq/holdfast/internal/lanes"
	"github.com/holdfastmq/holdfast/internal/sagaexpress"
	"github.com/holdfastmq/holdfast/internal/sagareplies"
	"github.com/holdfastmq/holdfast/internal/steps"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
	"github.com/holdfastmq/holdfast/workflows/sagacohort"
	"github.com/holdfastmq/holdfast/workflows/sagas"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// temporalWorkers are the Temporal workers of one process.
type temporalWorkers []sdkworker.Worker

// startTemporal starts the workers of this process's own task queue and, unless it only
// sends, of the group's and of the dead letters'.
func (w *Worker) startTemporal(replies *sagareplies.Replies, fatal func(error)) (temporalWorkers, error) {
	if w.o.Tuning.WorkflowCache > 0 { // the first worker that is made fixes it
		sdkworker.SetStickyWorkflowCacheSize(w.o.Tuning.WorkflowCache)
	}
	steps := w.steps()
	publisher := w.trace.Publisher(steps)
	ofTransactions := &activities.Transactions{Halves: publisher, Publish: publisher,
		Ops: steps, Locals: steps, Truth: steps, Alerts: w.observer, Patience: w.patience, Databases: steps, Trace: w.trace,
		CheckedBack: w.metrics.CheckedBack}
	// A saga's task may read megabytes of states, and a busy machine may give it no processor. Temporal's
	// SDK takes a task that computes for a second for a deadlock, and gives it up, each time again.
	options := sdkworker.Options{WorkerStopTimeout: closeTimeout,
		OnFatalError: fatal, DeadlockDetectionTimeout: max(w.o.Timeouts.Task, time.Minute)}

	own := options
	own.DisableWorkflowWorker, own.MaxConcurrentActivityTaskPollers = true, 2
	instance := sdkworker.New(w.temporal, workflows.InstanceQueue(w.o.Prefix, w.o.Group, w.o.process), own)
	ofTransactions.RegisterInstance(instance)

	starting := temporalWorkers{instance}
	if !w.o.SendOnly {
		ofDead := &activities.DeadLetters{Redeliver: steps, Notify: steps,
			Compensations: steps, Halves: steps, Alerts: w.observer, Trace: w.trace}
		starting = append(starting, w.groupWorker(options, replies, ofTransactions, ofDead),
			w.lettersWorker(options, ofDead))
	}
	for i, tw := range starting {
		if err := tw.Start(); err != nil {
			starting[:i].stop()
			return nil, temporalerr.Unavailable("start the worker", err)
		}
	}
	return starting, nil
}

// groupWorker is the worker of the group's task queue.
func (w *Worker) groupWorker(options sdkworker.Options, replies *sagareplies.Replies,
	ofTransactions *activities.Transactions, ofDead *activities.DeadLetters) sdkworker.Worker {
	ofSagas := &activities.Sagas{Runner: w.sagaRunner(replies), Alerts: w.observer, StepNames: w.stepNames}
	if w.o.DB != nil {
		ofSagas.Own = sagaexpress.Owner{DB: w.o.DB, Database: w.databases.Own(), OtherDatabase: w.databases.TellOther}.Own
		ofSagas.OwnFirst = w.o.RollingUpgrade
	}
	group := sdkworker.New(w.temporal, workflows.TaskQueue(w.o.Prefix, w.o.Group), options)
	group.RegisterWorkflowWithOptions(transactions.Transaction, workflow.RegisterOptions{Name: transactions.Name})
	group.RegisterWorkflowWithOptions(transactions.Recovery, workflow.RegisterOptions{Name: transactions.RecoveryName})
	// Also without sagas: a step that comes here is answered, and goes elsewhere.
	group.RegisterWorkflowWithOptions(sagas.Observed(w.sagaEnded), workflow.RegisterOptions{Name: sagas.Name})
	group.RegisterWorkflowWithOptions(sagacohort.SagaCohort, workflow.RegisterOptions{Name: sagacohort.Name})
	ofCohorts := &activities.SagaCohorts{}
	if w.sagas.express != nil && w.o.DB != nil {
		ofCohorts.Runner = w.sagas.handles
	}
	ofCohorts.Register(group)
	ofTransactions.Register(group)
	ofSagas.Register(group)
	ofDead.RegisterGroup(group)
	for name, f := range w.activities {
		group.RegisterActivityWithOptions(w.box.Activity(f), activity.RegisterOptions{Name: name})
	}
	return group
}

// lettersWorker is the worker of the dead letters' task queue, which all groups share.
func (w *Worker) lettersWorker(options sdkworker.Options, ofDead *activities.DeadLetters) sdkworker.Worker {
	// It is rarely busy, and then much.
	options.WorkflowTaskPollerBehavior = sdkworker.NewPollerBehaviorAutoscaling(
		sdkworker.PollerBehaviorAutoscalingOptions{InitialNumberOfPollers: 2, MaximumNumberOfPollers: 20})
	options.MaxConcurrentActivityTaskPollers = 2
	letters := sdkworker.New(w.temporal, workflows.DeadLetterQueue(w.o.Prefix), options)
	letters.RegisterWorkflowWithOptions(deadletters.DeadLetter, workflow.RegisterOptions{Name: deadletters.Name})
	ofDead.Register(letters)
	return letters
}

// steps are the ports of the activities, filled.
func (w *Worker) steps() *steps.Steps {
	s := &steps.Steps{Group: w.o.Group, Process: w.o.process, Broker: w.broker, Letters: w.broker, DB: w.o.DB,
		Databases: w.databases,
		Callers:   blocked{w.lanes}, Answers: &w.answers, MaxBody: w.o.Tuning.MaxBody, LockTimeout: w.o.Timeouts.Lock,
		Handlers: w.handlers, Checkers: w.checkers, Compensations: w.compensations, Box: w.box,
		DeadLetterID: w.deadLetterID, Recovered: w.metrics.Recovered}
	if w.o.RemoteCheck {
		s.Remote = w.broker
	}
	return s
}

// intake gives dead letters their workflows.
func (w *Worker) intake() *intake.Intake {
	return intake.New(intake.Options{Prefix: w.o.Prefix, Broker: w.broker, Temporal: w.o.Temporal,
		Answers: &w.answers, Logger: w.o.Logger})
}

// blocked are the callers of the lanes.
type blocked struct{ lanes *lanes.Lanes }

func (b blocked) Waiting(txID string) steps.Caller {
	if p := b.lanes.Waiting(txID); p != nil {
		return p
	}
	return nil
}

func (ws temporalWorkers) stop() {
	var stopping sync.WaitGroup
	for _, w := range ws {
		stopping.Go(w.Stop)
	}
	stopping.Wait()
}

// namespace returns the client's namespace, and refuses another one in the options:
// the process would look after one namespace, and send in the other.
func (w *Worker) namespace(ctx context.Context) (string, error) {
	// A request without a namespace gets the client's, which nothing else tells.
	ask := &workflowservice.CountWorkflowExecutionsRequest{Query: "WorkflowId = 'holdfast'"}
	_, _ = w.o.Temporal.CountWorkflow(ctx, ask) // whatever comes of it
	switch {
	case ask.Namespace == "" || ask.Namespace == w.o.Namespace:
		return w.o.Namespace, nil
	case w.o.namespaceGiven:
		return "", fmt.Errorf("%w: Options.Namespace is %q, and the client in Options.Temporal is for %q: "+
			"leave Options.Namespace empty, or give both the same", holdfast.ErrInvalid, w.o.Namespace, ask.Namespace)
	}
	return ask.Namespace, nil
}

// SearchAttributes are the search attributes that Holdfast's workflows use, by
// name.
func SearchAttributes() map[string]enumspb.IndexedValueType {
	return map[string]enumspb.IndexedValueType{
		workflows.AttributeState: enumspb.INDEXED_VALUE_TYPE_KEYWORD,
		workflows.AttributeTopic: enumspb.INDEXED_VALUE_TYPE_KEYWORD,
		workflows.AttributeKey:   enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST,
	}
}

// EnsureSearchAttributes creates the search attributes that the namespace does
// not have yet. Where that is not allowed, the error says which to create.
func EnsureSearchAttributes(ctx context.Context, c client.Client, namespace string) error {
	missing, err := MissingSearchAttributes(ctx, c, namespace)
	if unlisted(err) {
		return nil // a hosted namespace may keep its list to itself: the first Send would tell
	}
	if err != nil || len(missing) == 0 {
		return err
	}
	wanted := maps.Clone(missing)
	_, err = c.OperatorService().AddSearchAttributes(ctx,
		&operatorservice.AddSearchAttributesRequest{SearchAttributes: wanted, Namespace: namespace})
	var exists *serviceerror.AlreadyExists
	if err == nil || errors.As(err, &exists) {
		return awaitSearchAttributes(ctx, c, namespace)
	}
	var names []string
	for name, kind := range missing {
		names = append(names, fmt.Sprintf("--name %s --type %s", name, kind))
	}
	return fmt.Errorf("holdfast: namespace %s has no search attributes for Holdfast and they cannot be created: "+
		"%w; ask its administrator for: temporal operator search-attribute create --namespace %s %s",
		namespace, err, namespace, strings.Join(names, " "))
}

// unlisted reports whether the server does not let us see its search attributes.
func unlisted(err error) bool {
	var denied *serviceerror.PermissionDenied
	var unimplemented *serviceerror.Unimplemented
	return errors.As(err, &denied) || errors.As(err, &unimplemented)
}

// MissingSearchAttributes returns those of [SearchAttributes] that the namespace
// does not have. One of another type is an error.
func MissingSearchAttributes(ctx context.Context, c client.Client,
	namespace string) (map[string]enumspb.IndexedValueType, error) {
	list, err := c.OperatorService().ListSearchAttributes(ctx,
		&operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return nil, fmt.Errorf("holdfast: list the search attributes of namespace %s: %w", namespace, err)
	}
	missing := SearchAttributes()
	for name, kind := range list.GetCustomAttributes() {
		want, ours := missing[name]
		if ours && want != kind {
			return nil, fmt.Errorf("holdfast: search attribute %s of namespace %s is a %s, but Holdfast needs a %s: "+
				"remove it with temporal operator search-attribute remove --name %s", name, namespace, kind, want, name)
		}
		delete(missing, name)
	}
	return missing, nil
}

// awaitSearchAttributes waits until the server knows what was just created.
func awaitSearchAttributes(ctx context.Context, c client.Client, namespace string) error {
	for {
		missing, err := MissingSearchAttributes(ctx, c, namespace)
		if err != nil || len(missing) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("holdfast: the search attributes of namespace %s were created but do not appear: %w",
				namespace, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}
