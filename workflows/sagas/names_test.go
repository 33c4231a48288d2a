package sagas_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/sagas"

	"github.com/holdfastmq/holdfast/workflows/internal/workflowtest"

	"github.com/stretchr/testify/require"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// namedOf is the input of a saga of these steps, whose activities are named after them.
func namedOf(steps ...core.Step) sagas.Input {
	in := sagaOf(steps...)
	in.StepNames = true
	return in
}

// listen has types return the names of all activities that have begun.
func (p *play) listen() (types func() []string) {
	var seen []string
	note := func(info *activity.Info) { seen = append(seen, info.ActivityType.Name) }
	p.SetOnLocalActivityStartedListener(func(info *activity.Info, _ context.Context, _ []any) { note(info) })
	p.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) { note(info) })
	return func() []string { return seen }
}

// TestSagaNames: each activity has the name of its step, of whatever kind that is.
func TestSagaNames(t *testing.T) {
	long := strings.Repeat("l", holdfast.MaxName)
	choice := core.Step{Name: "way", Kind: core.Choice, Steps: []core.Step{{Name: "way.ship", Kind: core.Sequence, Case: "ship", Steps: []core.Step{localStep("sail")}}}}
	asked := waitStep("ok")
	asked.Conditional = true
	pay := localStep("pay")
	pay.Retry = core.Retry{First: time.Millisecond}
	flight := activityStep("flight")
	flight.Receives = true
	same := activityStep("same") // its type is a local step's name
	same.Type, same.UndoType, same.Receives = "taxi", "", true
	for name, c := range map[string]struct {
		steps []core.Step
		want  []string
	}{
		"local, message, a second try": {[]core.Step{localStep("create-order"), messageStep("stock"), pay},
			[]string{"create-order", "stock", "pay", "pay"}},
		"undone": {[]core.Step{localStep("create-order"), messageStep("stock"), localStep("refused")},
			[]string{"create-order", "stock", "refused", "undo stock", "undo create-order"}},
		"an activity, a wait, a choice": {[]core.Step{flight, asked, choice},
			[]string{"input of flight", "book", "result of flight", "whether to wait for ok", "choose way", "sail"}},
		"names of ours":               {[]core.Step{localStep("SagaDo"), localStep("Notify"), localStep("Commit")}, []string{"do SagaDo", "do Notify", "do Commit"}},
		"a name of the user's":        {[]core.Step{localStep("taxi"), same}, []string{"do taxi", "input of same", "taxi", "result of same"}},
		"as long as a name can be":    {[]core.Step{localStep(long), localStep("refused")}, []string{long, "refused", "undo " + long}},
		"letters that need an escape": {[]core.Step{localStep("_.-1"), localStep("undo")}, []string{"_.-1", "undo"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := stageOf(t, namedOf(c.steps...))
			p.on("do refused", refusal)
			p.on("do pay", oops, wellDone)
			p.on("prepare ok", core.Outcome{Kind: core.OutcomeSkipped})
			p.on("prepare way", core.Outcome{Kind: core.OutcomeDone, Case: "ship"})
			for _, kind := range []string{"book", "taxi"} {
				p.RegisterActivityWithOptions(func(context.Context, core.ActivityInput) (string, error) { return "LH1", nil }, activity.RegisterOptions{Name: kind})
			}
			types := p.listen()
			p.run()
			require.Equal(t, c.want, types())
		})
	}
}

// TestSagaNamesAreTaken: our activities are known to recorded histories by these names;
// those that came later have names that no step can have.
func TestSagaNamesAreTaken(t *testing.T) {
	for _, name := range activities.Names {
		if holdfast.ValidateName("step's name", name) != nil {
			continue
		}
		p := stageOf(t, namedOf(localStep(name)))
		types := p.listen()
		require.Equal(t, core.StateCompleted, p.run().State)
		require.Equal(t, []string{"do " + name}, types(), "a new activity of ours needs a name with a space in it")
	}
}

// TestCanNameSteps: where an activity of the user's would be run in a step's place, the
// saga keeps the names that every version knows.
func TestCanNameSteps(t *testing.T) {
	plan := sagaOf(localStep("a"), group(core.Parallel, "all", messageStep("stock"), waitStep("ok")), subStep("send", localStep("pack"))).Plan
	for taken, want := range map[string]bool{"a": false, "stock": false, "pack": false, "ok": true, "all": true, "send": true, "undo a": true} {
		require.Equal(t, want, sagas.CanNameSteps(plan, func(name string) bool { return name == taken }), taken)
	}
}

// TestSagaNamesWithoutPlan: who starts a saga by its name does not know what the
// group's processes can do. The one that runs its first step says so.
func TestSagaNamesWithoutPlan(t *testing.T) {
	for name, c := range map[string]struct {
		absent int // processes that do not have it are asked first
		says   bool
		want   string
	}{
		"it can":                       {0, true, "a"},
		"it cannot":                    {0, false, "SagaDo"},
		"another one says it, and can": {1, true, "SagaDo"}, // who runs the workflow may be of an earlier version
	} {
		t.Run(name, func(t *testing.T) {
			in := sagaOf(localStep("a"))
			plan := *in.Plan
			in.Plan, in.StepNames = nil, true
			p := stagedOf(t, in, func(core.Plan) bool { return c.says })
			p.plans = map[string]core.Plan{"order": plan}
			p.absent = func(n int) bool { return n <= c.absent }
			types := p.listen()
			require.Equal(t, core.StateCompleted, p.run().State)
			require.Equal(t, c.want, types()[len(types())-1])
		})
	}
}

// TestSagaNamesAreInherited by its sub-sagas, their Undo, and the next run.
func TestSagaNamesAreInherited(t *testing.T) {
	p := stageOf(t, namedOf(localStep("a"), subStep("send", localStep("pack")), localStep("refused")))
	p.on("do refused", refusal)
	types := p.listen()
	require.Equal(t, core.StateCompensated, p.run().State)
	require.Equal(t, []string{"a", "input of send", "pack", "result of send", "refused", "undo pack", "undo a"}, types())

	p = stageOf(t, namedOf(localStep("slow"), localStep("b")))
	p.on("do slow", oops)
	p.onCall = func(string, activities.SagaStep) {
		if p.tried["do slow"] == 3 {
			p.SetContinueAsNewSuggested(true)
		}
	}
	require.True(t, p.renewed().in.StepNames)
}

// old registers the steps as earlier versions did, which know no names of steps.
func old(w sdkworker.Worker, g *stage) {
	(&activities.Sagas{Runner: g, Alerts: g}).Register(formerly{w})
}

type formerly struct{ sdkworker.Worker }

func (formerly) RegisterDynamicActivity(any, activity.DynamicRegisterOptions) {}

// types are the names of the activities in a history, in their order.
func types(t *testing.T, events []*historypb.HistoryEvent) (names []string) {
	t.Helper()
	for _, e := range events {
		if a := e.GetActivityTaskScheduledEventAttributes(); a != nil {
			names = append(names, a.GetActivityType().GetName())
		}
		if data := e.GetMarkerRecordedEventAttributes().GetDetails()["data"]; data != nil {
			var marker struct{ ActivityType string }
			require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(data, &marker))
			names = append(names, marker.ActivityType)
		}
	}
	return names
}

// apart runs a saga's workflow, with its local activities, in a worker of this version;
// its other activities in one that is set up by the test.
func (x *theatre) apart(others func(w sdkworker.Worker)) {
	x.t.Helper()
	x.stop()
	queue := workflows.TaskQueue(x.prefix, x.in.Group)
	ours := sdkworker.New(x.c, queue, sdkworker.Options{DeadlockDetectionTimeout: workflowtest.Patience, LocalActivityWorkerOnly: true})
	ours.RegisterWorkflowWithOptions(sagas.Saga, workflow.RegisterOptions{Name: sagas.Name})
	(&activities.Sagas{Runner: x.stage, Alerts: x.stage}).Register(ours)
	theirs := sdkworker.New(x.c, queue, sdkworker.Options{DisableWorkflowWorker: true})
	others(theirs)
	for _, w := range []sdkworker.Worker{ours, theirs} {
		require.NoError(x.t, w.Start())
		x.t.Cleanup(w.Stop)
	}
}

// beside runs a saga in a process that has an activity of the user's under these names.
func (x *theatre) beside(f any, names ...string) {
	x.t.Helper()
	x.stop()
	w := sdkworker.New(x.c, workflows.TaskQueue(x.prefix, x.in.Group), sdkworker.Options{DeadlockDetectionTimeout: workflowtest.Patience})
	w.RegisterWorkflowWithOptions(sagas.Saga, workflow.RegisterOptions{Name: sagas.Name})
	(&activities.Sagas{Runner: x.stage, Alerts: x.stage}).Register(w)
	for _, name := range names {
		w.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: name})
	}
	require.NoError(x.t, w.Start())
	x.t.Cleanup(w.Stop)
}

// TestRealSagaNames: Temporal's UI shows the steps' names; the events are the same.
func TestRealSagaNames(t *testing.T) {
	t.Parallel()
	x := realSaga(t, localStep("create-order"), messageStep("stock"), localStep("refused"))
	x.in.StepNames = true
	x.on("do refused", refusal)
	require.NoError(t, x.start())
	require.Equal(t, core.StateCompensated, x.result(x.in.ID).State)
	require.Equal(t, []string{"create-order", "stock", "refused", "undo stock", "undo create-order"}, types(t, x.history(x.in.ID)))
}

// TestRealSagaNamesAndAnOlderProcess: a process that does not know the names is given
// the step under the name that it knows; no try is counted, and nothing is undone for it.
func TestRealSagaNamesAndAnOlderProcess(t *testing.T) {
	t.Parallel()
	pay := localStep("pay")
	pay.Retry = core.Retry{First: time.Millisecond}
	x := realSaga(t, localStep("a"), pay, localStep("c"))
	x.in.StepNames = true
	x.on("do pay", oops, wellDone)
	x.apart(func(w sdkworker.Worker) { old(w, x.stage) })
	require.NoError(t, x.start())
	s := x.result(x.in.ID)
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, 2, s.Core.Steps["pay"].Tries)
	require.Equal(t, []string{"do a", "do pay", "do pay", "do c"}, x.called())
	require.Equal(t, []string{"a", "pay", "pay", "SagaDo", "SagaDo"}, types(t, x.history(x.in.ID)))
}

// TestRealSagaNamesOfOtherActivities: a process whose own activities have the steps'
// names does not have them run in their place, whatever they make of the input.
func TestRealSagaNamesOfOtherActivities(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]any{
		"of another input": func(context.Context, core.ActivityInput) (string, error) { return "", errors.New("not this one") },
		"of any input":     func(context.Context, any) (string, error) { return "done", nil },
		"that fails":       func(context.Context, json.RawMessage) error { return errors.New("not this one") },
		"without a result": func(context.Context, any) error { return nil },
		"that panics":      func(context.Context, any) error { panic("not this one") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := realSaga(t, localStep("a"), localStep("b"), localStep("refused"))
			x.in.StepNames = true
			x.on("do refused", refusal)
			x.beside(f, "b", "undo a")
			require.NoError(t, x.start())
			s := x.result(x.in.ID)
			require.Equal(t, core.StateCompensated, s.State)
			require.Equal(t, []string{"do a", "do b", "do refused", "undo b", "undo a"}, x.called())
			x.history(x.in.ID)
		})
	}
}

// TestRealSagaNamesOfNobody: an activity that no process has registered fails in words,
// although each process takes activities of all names.
func TestRealSagaNamesOfNobody(t *testing.T) {
	t.Parallel()
	flight := activityStep("flight")
	flight.Retry, flight.Undo, flight.NoUndo = core.Retry{Attempts: 1}, false, true
	x := realSaga(t, flight)
	x.in.StepNames = true
	require.NoError(t, x.start())
	s := x.result(x.in.ID)
	require.Equal(t, core.StateCompensated, s.State)
	require.Contains(t, s.Core.Steps["flight"].Error, "has no activity book: register it with Worker.Activity")
}
