package sagas_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/sagas"

	"github.com/holdfastmq/holdfast/workflows/internal/workflowtest"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// stage is what the steps of a saga under test act on: a runner that notes what it
// is asked for, and answers as the test wants.
type stage struct {
	mu     sync.Mutex
	calls  []string // "do a", "undo b", in their order
	steps  []activities.SagaStep
	local  []bool // of each call: it was a local activity
	alerts []holdfast.Alert
	tried  map[string]int

	// outcome is how the nth try of "do a" ends; nil, or a zero outcome: done.
	outcome map[string]func(n int) core.Outcome
	waits   map[string]func(n int) *activities.SagaWaits // what the participant of a call says of itself, where it is asked
	first   map[string]bool                              // what the step rows of these say: it was not done before
	plans   map[string]core.Plan
	absent  func(n int) bool // the process that is asked the nth time does not have the saga
	asked   int
	onCall  func(call string, s activities.SagaStep)
	hang    func(ctx context.Context, call string, n int) // may not return
}

func (g *stage) call(ctx context.Context, what string, s activities.SagaStep) core.Outcome {
	g.mu.Lock()
	defer g.mu.Unlock()
	call := what + " " + s.Step.Name
	g.asked++
	if g.absent != nil && g.absent(g.asked) {
		return core.Outcome{Kind: core.OutcomeNoWorker}
	}
	if g.tried == nil {
		g.tried = map[string]int{}
	}
	g.tried[call]++
	g.calls, g.steps, g.local = append(g.calls, call), append(g.steps, s), append(g.local, activity.GetInfo(ctx).IsLocalActivity)
	if g.onCall != nil {
		g.onCall(call, s)
	}
	if hang, n := g.hang, g.tried[call]; hang != nil {
		g.mu.Unlock()
		defer g.mu.Lock() // before the Unlock above
		hang(ctx, call, n)
		g.mu.Lock()
		defer g.mu.Unlock()
	}
	if f := g.outcome[call]; f != nil {
		if o := f(g.tried[call]); o.Kind != "" {
			return o
		}
	}
	o := core.Outcome{Kind: core.OutcomeDone}
	if what == "do" && s.Step.Kind == core.Local {
		o.Patch = json.RawMessage(fmt.Sprintf(`{%q:%d}`, s.Step.Name, g.tried[call]))
	}
	return o
}

func (g *stage) Plan(_ context.Context, name string, version int) (core.Plan, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	p, there := g.plans[name]
	if !there || g.absent != nil && g.absent(g.asked) {
		return p, fmt.Errorf("%w: %s version %d", holdfast.ErrNotFound, name, version)
	}
	return p, nil
}

func (g *stage) Do(ctx context.Context, s activities.SagaStep) activities.SagaResult {
	o := g.call(ctx, "do", s)
	return activities.SagaResult{Outcome: o, First: g.first[s.Step.Name], Waits: g.look("do", s)}
}

func (g *stage) Undo(ctx context.Context, s activities.SagaStep) activities.SagaResult {
	return activities.SagaResult{Outcome: g.call(ctx, "undo", s), Waits: g.look("undo", s)}
}

// look is what the participant says of itself.
func (g *stage) look(what string, s activities.SagaStep) *activities.SagaWaits {
	g.mu.Lock()
	defer g.mu.Unlock()
	call := what + " " + s.Step.Name
	if f := g.waits[call]; f != nil && s.Look {
		return f(g.tried[call])
	}
	return nil
}

func (g *stage) Prepare(ctx context.Context, s activities.SagaStep) activities.SagaResult {
	return activities.SagaResult{Outcome: g.call(ctx, "prepare", s), Input: s.Data}
}

func (g *stage) Receive(ctx context.Context, s activities.SagaStep) activities.SagaResult {
	o := g.call(ctx, "receive", s)
	if o.Kind == core.OutcomeDone && len(s.Result) > 0 {
		o.Patch = json.RawMessage(fmt.Sprintf(`{%q:%s}`, s.Step.Name, s.Result))
	}
	return activities.SagaResult{Outcome: o}
}

func (g *stage) Alert(a holdfast.Alert) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.alerts = append(g.alerts, a)
}

// called are the calls until now.
func (g *stage) called() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.calls)
}

// on has a call end with the outcomes given, one after the other; the last repeats.
func (g *stage) on(call string, outcomes ...core.Outcome) {
	if g.outcome == nil {
		g.outcome = map[string]func(int) core.Outcome{}
	}
	g.outcome[call] = func(n int) core.Outcome { return outcomes[min(n, len(outcomes))-1] }
}

var (
	wellDone = core.Outcome{Kind: core.OutcomeDone}
	noReply  = core.Outcome{Kind: core.OutcomePending}
	refusal  = core.Outcome{Kind: core.OutcomeRefused, Error: "out of stock"}
	oops     = core.Outcome{Kind: core.OutcomeFailed, Class: holdfast.ClassError, Error: "oops"}
	forGood  = core.Outcome{Kind: core.OutcomeFailed, Class: holdfast.ClassPermanent, Error: "never"}
)

// play is a saga under test.
type play struct {
	*testsuite.TestWorkflowEnvironment
	*stage
	t  *testing.T
	in sagas.Input
}

func localStep(name string) core.Step {
	return core.Step{Name: name, Kind: core.Local, Undo: true}
}

func messageStep(name string) core.Step {
	return core.Step{Name: name, Kind: core.Message, Topic: name + ".do", UndoTopic: name + ".undo", Undo: true}
}

func waitStep(name string) core.Step { return core.Step{Name: name, Kind: core.Wait} }

// order is the input of a saga of these steps.
func sagaOf(steps ...core.Step) sagas.Input {
	plan := core.Plan{Name: "order", Version: 1, Steps: steps}
	return sagas.Input{ID: workflows.SagaID("", "shop", "order", "A-1"), Group: "shop", Name: "order", Key: "A-1", Plan: &plan,
		Data: json.RawMessage(`{"amount":5}`)}
}

func stageOf(t *testing.T, in sagas.Input) *play {
	t.Helper()
	return stagedOf(t, in, nil)
}

// stagedOf is stageOf, in a process that says whether it names activities after steps.
func stagedOf(t *testing.T, in sagas.Input, names func(core.Plan) bool) *play {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	p := &play{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), stage: &stage{}, t: t, in: in}
	p.SetWorkerOptions(sdkworker.Options{DeadlockDetectionTimeout: workflowtest.Patience})
	p.RegisterWorkflowWithOptions(sagas.Saga, workflow.RegisterOptions{Name: sagas.Name})
	(&activities.Sagas{Runner: p.stage, Alerts: p.stage, StepNames: names}).Register(p)
	p.SetTestTimeout(time.Minute)
	p.SetStartWorkflowOptions(sagas.StartOptions("", in))
	require.NoError(t, p.SetTypedSearchAttributesOnStart(sagas.StartOptions("", in).TypedSearchAttributes))
	return p
}

func (p *play) run() sagas.Status {
	p.t.Helper()
	p.ExecuteWorkflow(sagas.Name, p.in)
	require.True(p.t, p.IsWorkflowCompleted())
	require.NoError(p.t, p.GetWorkflowError())
	var s sagas.Status
	require.NoError(p.t, p.GetWorkflowResult(&s))
	return s
}

// status asks the workflow.
func (p *play) status() sagas.Status {
	p.t.Helper()
	v, err := p.QueryWorkflow(workflows.QueryStatus)
	require.NoError(p.t, err)
	var s sagas.Status
	require.NoError(p.t, v.Get(&s))
	return s
}

// at does something after the time has passed.
func (p *play) at(after time.Duration, do func()) { p.RegisterDelayedCallback(do, after) }

func (p *play) signal(after time.Duration, name string, arg any) {
	p.at(after, func() { p.SignalWorkflow(name, arg) })
}

func (p *play) reply(after time.Duration, step string, outcome core.OutcomeKind) {
	p.signal(after, sagas.SignalReply, sagas.Reply{Step: step, Outcome: outcome, Reason: "says " + step})
}

// sagaAnswer is what an Update answered.
type sagaAnswer struct {
	status   sagas.Status
	err      error
	rejected error
	answered time.Time // zero: it was not
}

// ask sends an Update.
func (p *play) ask(after time.Duration, name string, req sagas.Request) *sagaAnswer {
	a := &sagaAnswer{}
	p.at(after, func() {
		p.UpdateWorkflow(name, "", &testsuite.TestUpdateCallback{
			OnAccept: func() {},
			OnReject: func(err error) { a.rejected, a.answered = err, p.Now() },
			OnComplete: func(result any, err error) {
				a.err, a.answered = err, p.Now()
				if s, ok := result.(sagas.Status); ok {
					a.status = s
				}
			},
		}, req)
	})
	return a
}

// ann asks for something.
func ann(step string) sagas.Request {
	return sagas.Request{Operator: "ann", Reason: "because", Step: step}
}

// sagaStory are the lines of a story: what, and the step.
func sagaStory(s sagas.Status) (lines []string) {
	for _, e := range s.Story {
		line := e.What
		if e.Step != "" {
			line += " " + e.Step
		}
		lines = append(lines, line)
	}
	return lines
}

// testAny stands for any argument of an activity.
const testAny = mock.Anything

// longData is more than a saga's state may be.
var longData = json.RawMessage(`"` + strings.Repeat("x", core.MaxData) + `"`)
