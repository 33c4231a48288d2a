package sagas

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/golden"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/saga/core"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// noon is when the sagas of these tests are looked at.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// errand is a plan with every kind of step.
func errand(t *testing.T) core.Plan {
	t.Helper()
	p, err := core.Plan{Name: "errand", Version: 3, Steps: []core.Step{
		{Name: "create", Kind: core.Local, Undo: true},
		{Name: "reserve", Kind: core.Parallel, Steps: []core.Step{
			{Name: "stock", Kind: core.Message, Topic: "stock.reserve", UndoTopic: "stock.release", Undo: true},
			{Name: "van", Kind: core.Sequence, Steps: []core.Step{
				{Name: "find-van", Kind: core.Activity, Type: "FindVan", UndoType: "FreeVan", Undo: true},
				{Name: "find-driver", Kind: core.Activity, Type: "FindDriver", NoUndo: true},
			}},
		}},
		{Name: "approve", Kind: core.Wait, Conditional: true},
		{Name: "how", Kind: core.Choice, Steps: []core.Step{
			{Name: "how.case.card", Kind: core.Sequence, Case: "card", Steps: []core.Step{
				{Name: "charge", Kind: core.Message, Topic: "payment.charge", UndoTopic: "payment.refund", Undo: true}}},
			{Name: "how.otherwise", Kind: core.Sequence, Steps: []core.Step{{Name: "invoice", Kind: core.Local, Undo: true}}},
		}},
		{Name: "confirm", Kind: core.Local, Pivot: true, NoUndo: true},
		{Name: "ship", Kind: core.Saga, Saga: &core.Plan{Name: "shipping", Steps: []core.Step{{Name: "go", Kind: core.Local, NoUndo: true}}}, Undo: true},
	}}.Complete()
	require.NoError(t, err)
	return p
}

// play plays events on a machine, each a minute after the one before.
func play(t *testing.T, p core.Plan, events ...core.Event) sagaflow.Status {
	t.Helper()
	m := core.New(&p, json.RawMessage(`{"number":"A-1007"}`))
	at := noon.Add(-time.Hour)
	m.Begin(at)
	for _, e := range events {
		at = at.Add(time.Minute)
		e.At = at
		_, err := m.Apply(e)
		require.NoError(t, err)
	}
	step, is := m.Troubled()
	return sagaflow.Status{ID: "saga/orders/errand/A-1007", Group: "orders", Name: "errand", Version: 3, Key: "A-1007", State: m.Standing(),
		Step: step, Reason: is.Error, Plan: p, Core: *m.State()}
}

func did(step string) core.Event { return ended(step, core.Outcome{Kind: core.OutcomeDone}) }

func ended(step string, o core.Outcome) core.Event {
	return core.Event{Kind: core.DoEnded, Step: step, Outcome: o}
}

func undid(step string, o core.Outcome) core.Event {
	return core.Event{Kind: core.UndoEnded, Step: step, Outcome: o}
}

func chose(label string) core.Event {
	return ended("how", core.Outcome{Kind: core.OutcomeDone, Case: label})
}

func failed(class holdfast.ErrorClass, text string) core.Outcome {
	return core.Outcome{Kind: core.OutcomeFailed, Class: class, Error: text}
}

// scenes are the sagas that are drawn.
func scenes(t *testing.T) map[string]shownSaga {
	p := errand(t)
	reserved := []core.Event{did("create"), did("stock"), did("find-van"), did("find-driver")}
	charging := append(reserved, ended("approve", core.Outcome{Kind: core.OutcomeSkipped}), chose("card"))
	refused := append(charging, ended("charge", core.Outcome{Kind: core.OutcomeRefused, Error: "card declined"}))
	scene := func(status enumspb.WorkflowExecutionStatus, s sagaflow.Status, actions ...string) shownSaga {
		s.Actions = actions
		r := Row{ID: s.ID, Group: s.Group, Name: s.Name, Key: s.Key, Version: s.Version, State: s.State, Step: s.Step, Reason: s.Reason,
			Started: noon.Add(-time.Hour), WorkflowID: s.ID, RunID: "run", status: status}
		return shownSaga{Detail: Detail{Row: r, Status: &s, Next: whatNext(s, noon), Commands: r.possible(text.Suggester{}, s)}}
	}
	const running, completed = enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
	all := map[string]shownSaga{
		"running": scene(running, play(t, p, did("create"), did("find-van"), ended("find-driver", failed(holdfast.ClassTimeout, "no answer"))),
			"pause", "retry", "skip", "compensate"),
		"waiting": scene(running, play(t, p, reserved...), "pause", "skip", "answer", "compensate"),
		"parked": scene(running, play(t, p, append(append(reserved, did("approve"), chose("cash"), did("invoice"), did("confirm")),
			ended("ship", failed(holdfast.ClassPermanent, "no such address")))...), "pause", "retry", "skip", "compensate"),
		"stuck":       scene(running, play(t, p, append(refused, undid("find-van", failed(holdfast.ClassPermanent, "the van has left")), undid("stock", core.Outcome{Kind: core.OutcomeDone}), undid("create", core.Outcome{Kind: core.OutcomeDone}))...), "retry", "skip"),
		"going back":  scene(running, play(t, p, refused...), "pause"),
		"completed":   scene(completed, play(t, p, append(reserved, did("approve"), chose(""), did("invoice"), did("confirm"), did("ship"))...)),
		"compensated": scene(completed, play(t, p, append(refused, undid("find-van", core.Outcome{Kind: core.OutcomeDone}), undid("stock", core.Outcome{Kind: core.OutcomeDone}), undid("create", core.Outcome{Kind: core.OutcomeDone}))...)),
		"unknown outside": scene(completed, play(t, p, append(charging, ended("charge", failed(holdfast.ClassPermanent, "no such table")),
			undid("charge", core.Outcome{Kind: core.OutcomeBlocked, Error: "its Do has no row in the participant's database: no Undo was run"}),
			undid("find-van", core.Outcome{Kind: core.OutcomeDone}), undid("stock", core.Outcome{Kind: core.OutcomeDone}), undid("create", core.Outcome{Kind: core.OutcomeDone}))...)),
		"no worker": scene(running, play(t, p, did("create"), core.Event{Kind: core.Stranded, Step: "stock"}), "pause", "compensate"),
		"paused":    scene(running, play(t, p, core.Event{Kind: core.Pause}, did("create")), "resume", "compensate"),
	}
	told := all["parked"]
	told.Status.Story = []sagaflow.Event{{At: noon.Add(-time.Minute), What: "parked", Step: "ship", Text: "no such address"},
		{At: noon, What: "retry", Operator: "ann", Text: "it moved"}}
	told.data, told.UI = true, "http://ui.example/x"
	all["parked"] = told
	lost := all["waiting"]
	lost.State, lost.status = "terminated", enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED
	lost.Status, lost.Next, lost.Plan, lost.Unknown = nil, nil, &p, "no process answered"
	lost.Commands = lost.possible(text.Suggester{}, sagaflow.Status{})
	all["silent"] = lost
	return all
}

func TestASagaIsDrawn(t *testing.T) {
	for name, s := range scenes(t) {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			require.NoError(t, s.Print(&out, noon))
			golden.Equal(t, "saga-"+strings.ReplaceAll(name, " ", "-")+".txt", out.String())
		})
	}
}

func TestASagaIsDrawnInColours(t *testing.T) {
	s := scenes(t)["stuck"]
	s.Paint = true
	var out bytes.Buffer
	require.NoError(t, s.Print(&out, noon))
	require.Contains(t, out.String(), text.LevelColours[text.LevelProblem]+"undo failed\x1b[0m")
	require.Contains(t, out.String(), text.LevelColours[text.LevelOK]+"undone\x1b[0m")
}

// TestCommandsAreOffered: those that the saga would take.
func TestCommandsAreOffered(t *testing.T) {
	require.Equal(t, []string{"holdfast saga compensate saga/orders/errand/A-1007 --reason TEXT"}, scenes(t)["completed"].Commands)
	require.Empty(t, scenes(t)["compensated"].Commands)
	require.Equal(t, []string{"holdfast saga retry saga/orders/errand/A-1007 --reason TEXT", "holdfast saga skip saga/orders/errand/A-1007 --step find-van --reason TEXT"},
		scenes(t)["stuck"].Commands)
}
