package deadletters_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/deadletters"

	"github.com/holdfastmq/holdfast/workflows/internal/workflowtest"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// grave is what the steps of a dead letter under test act on.
type grave struct {
	mu          sync.Mutex
	redelivered []activities.Redelivery
	tried       int // redeliveries and attempts at them
	compensated int
	notified    []holdfast.DeadLetter
	alerts      []holdfast.Alert

	redeliverErr  func(attempt int) error
	compensateErr func(attempt int) error
	notifyErr     func(attempt int) error
	notifies      int
	onRedelivery  func(activities.Redelivery)
	answersAtOnce bool // within the step

	outcome activities.LocalResult // of a half message's transaction
}

func (g *grave) AskHalf(context.Context, holdfast.DeadLetter) activities.LocalResult {
	return g.outcome
}

func (g *grave) Redeliver(_ context.Context, r activities.Redelivery) (out activities.Redelivered, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tried++
	if g.redeliverErr != nil {
		if err := g.redeliverErr(g.tried); err != nil {
			return out, err
		}
	}
	out.Handled = g.answersAtOnce && r.Wait > 0
	g.redelivered = append(g.redelivered, r)
	if g.onRedelivery != nil {
		g.onRedelivery(r)
	}
	return out, nil
}

func (g *grave) PublishCompensated(_ context.Context, d holdfast.DeadLetter) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.notifies++
	if g.notifyErr != nil {
		if err := g.notifyErr(g.notifies); err != nil {
			return err
		}
	}
	g.notified = append(g.notified, d)
	return nil
}

func (g *grave) Compensate(context.Context, activities.Compensation) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.compensated++
	if g.compensateErr != nil {
		if err := g.compensateErr(g.compensated); err != nil {
			return false, err
		}
	}
	return g.compensated > 1, nil
}

func (g *grave) Alert(a holdfast.Alert) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.alerts = append(g.alerts, a)
}

func (g *grave) kinds() (kinds []holdfast.AlertKind) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range g.alerts {
		kinds = append(kinds, a.Kind)
	}
	return kinds
}

// burial is a test of one dead letter.
type burial struct {
	*testsuite.TestWorkflowEnvironment
	*grave
	t  *testing.T
	in deadletters.Input
}

var errDown = errors.New("connection refused")

func letter(policy holdfast.Policy) holdfast.DeadLetter {
	return holdfast.DeadLetter{ID: "m-1", Queue: "holdfast.q.payment", TxID: "m-1", Group: "orders", Policy: policy, Size: 5,
		Message: holdfast.Message{ID: "m-1", Topic: "order.placed", Key: "A-1007", Body: []byte("hello")},
		Failure: holdfast.Failure{Consumer: "payment", Class: holdfast.ClassError, Reason: "card declined", Attempts: 9,
			Log: []holdfast.Attempt{{N: 1, Class: holdfast.ClassError, Error: "card declined"}}}}
}

func bury(t *testing.T, l holdfast.DeadLetter) *burial {
	return buryInput(t, deadletters.Input{Letter: l})
}

func buryInput(t *testing.T, in deadletters.Input) *burial {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	b := &burial{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), grave: &grave{}, t: t, in: in}
	b.SetWorkerOptions(sdkworker.Options{DeadlockDetectionTimeout: workflowtest.Patience}) // a busy machine is slow
	b.RegisterWorkflowWithOptions(deadletters.DeadLetter, workflow.RegisterOptions{Name: deadletters.Name})
	steps := &activities.DeadLetters{Redeliver: b.grave, Notify: b.grave, Compensations: b.grave, Halves: b.grave, Alerts: b.grave}
	steps.Register(b)
	steps.RegisterGroup(b)
	b.SetTestTimeout(time.Minute)
	require.NoError(t, b.SetTypedSearchAttributesOnStart(deadletters.StartOptions(in).TypedSearchAttributes))
	return b
}

// run runs the workflow to its end.
func (b *burial) run() deadletters.Status {
	b.t.Helper()
	b.ExecuteWorkflow(deadletters.Name, b.in)
	require.True(b.t, b.IsWorkflowCompleted())
	require.NoError(b.t, b.GetWorkflowError())
	var s deadletters.Status
	require.NoError(b.t, b.GetWorkflowResult(&s))
	return s
}

// status asks the workflow.
func (b *burial) status() deadletters.Status {
	b.t.Helper()
	v, err := b.QueryWorkflow(workflows.QueryStatus)
	require.NoError(b.t, err)
	var s deadletters.Status
	require.NoError(b.t, v.Get(&s))
	return s
}

// at does something after the time has passed.
func (b *burial) at(after time.Duration, do func()) { b.RegisterDelayedCallback(do, after) }

func (b *burial) signal(after time.Duration, name string, arg any) {
	b.at(after, func() { b.SignalWorkflow(name, arg) })
}

// deadAnswer is what an Update answered.
type deadAnswer struct {
	status   deadletters.Status
	err      error
	rejected error
	answered time.Time // zero: it was not
}

// ask sends an Update.
func (b *burial) ask(after time.Duration, name string, req deadletters.Request) *deadAnswer {
	a := &deadAnswer{}
	b.at(after, func() {
		b.UpdateWorkflow(name, "", &testsuite.TestUpdateCallback{
			OnAccept: func() {},
			OnReject: func(err error) { a.rejected, a.answered = err, b.Now() },
			OnComplete: func(result any, err error) {
				a.err, a.answered = err, b.Now()
				if s, ok := result.(deadletters.Status); ok {
					a.status = s
				}
			},
		}, req)
	})
	return a
}

// discard ends a test whose letter would wait for ever.
func (b *burial) discard(after time.Duration) {
	b.ask(after, deadletters.UpdateDiscard, deadletters.Request{Operator: "the test", Reason: "over", Force: true})
}

func by(operator string) deadletters.Request {
	return deadletters.Request{Operator: operator, Reason: "because"}
}

func died(n int, reason string) holdfast.Failure {
	return holdfast.Failure{Consumer: "payment", Class: holdfast.ClassError, Reason: reason, Attempts: 3, Redelivery: n}
}

// happened are the events of a story, as text.
func happened(s deadletters.Status) (what []string) {
	for _, e := range s.Story {
		what = append(what, e.What)
	}
	return what
}

func event(t *testing.T, s deadletters.Status, what string) deadletters.Event {
	t.Helper()
	i := slices.IndexFunc(s.Story, func(e deadletters.Event) bool { return e.What == what })
	require.GreaterOrEqual(t, i, 0, "no event %q in %v", what, happened(s))
	return s.Story[i]
}
