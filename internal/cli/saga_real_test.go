package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/doctor"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// troupe has sagas on the shared Temporal, with steps that do what the test says.
type troupe struct {
	t      *testing.T
	c      client.Client
	prefix string
	env    []string
	stop   func() // stops the worker; may be called again

	mu sync.Mutex
	// plays say how a step ends, by "do NAME" or "undo NAME": well by default, else
	// with this outcome.
	plays map[string]core.Outcome
	done  []string // "do NAME" and "undo NAME" in their order
	away  bool     // the process has no definition
}

const troupeGroup = "orders"

var piece = core.Plan{Name: "piece", Version: 2, Steps: []core.Step{
	{Name: "create", Kind: core.Local, Undo: true},
	{Name: "approve", Kind: core.Wait, Conditional: true},
	{Name: "pay", Kind: core.Local, Undo: true, OnFailure: core.Park},
	{Name: "ship", Kind: core.Local, NoUndo: true, OnFailure: core.Park},
}}

func newTroupe(t *testing.T) *troupe {
	s := stacktest.Shared(t)
	g := &troupe{t: t, c: stacktest.TemporalClient(t, s), prefix: stacktest.Prefix(t), plays: map[string]core.Outcome{}}
	g.env = []string{"USER=ann", "HOLDFAST_TIMEOUT=2m", "HOLDFAST_PREFIX=" + g.prefix, "HOLDFAST_GROUP=" + troupeGroup, "TEMPORAL_ADDRESS=" + s.TemporalAddress(),
		"TEMPORAL_NAMESPACE=" + s.Namespace(), "HOLDFAST_TEMPORAL_UI=http://ui.example"}
	require.NoError(t, worker.EnsureSearchAttributes(t.Context(), g.c, s.Namespace()))
	g.work()
	return g
}

func (g *troupe) work() {
	g.t.Helper()
	y := &graveyard{t: g.t, c: g.c}
	g.stop = y.work(workflows.TaskQueue(g.prefix, troupeGroup), func(w sdkworker.Worker) {
		w.RegisterWorkflowWithOptions(sagaflow.Saga, workflow.RegisterOptions{Name: sagaflow.Name})
		(&activities.Sagas{Runner: g, StepNames: func(core.Plan) bool { return true }, Own: owned}).Register(w)
	})
}

// owned has every saga of the Express lane find that its key is another one's.
func owned(context.Context, activities.SagaOwning) (activities.SagaOwned, error) {
	return activities.SagaOwned{Other: "it was started with other content"}, nil
}

// Plan implements activities.SagaRunner.
func (g *troupe) Plan(_ context.Context, name string, _ int) (core.Plan, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.away || name != piece.Name {
		return core.Plan{}, holdfast.ErrNotFound
	}
	return piece.Complete()
}

func (g *troupe) play(what string) activities.SagaResult {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.away {
		return activities.SagaResult{Outcome: core.Outcome{Kind: core.OutcomeNoWorker}}
	}
	o, ok := g.plays[what]
	if !ok {
		o = core.Outcome{Kind: core.OutcomeDone}
		g.done = append(g.done, what)
	}
	return activities.SagaResult{Outcome: o}
}

// Do implements activities.SagaRunner.
func (g *troupe) Do(_ context.Context, s activities.SagaStep) activities.SagaResult {
	r := g.play("do " + s.Step.Name)
	if r.Outcome.Kind == core.OutcomeDone {
		r.Outcome.Patch = json.RawMessage(fmt.Sprintf(`{%q:true}`, s.Step.Name))
	}
	return r
}

// Undo implements activities.SagaRunner.
func (g *troupe) Undo(_ context.Context, s activities.SagaStep) activities.SagaResult {
	return g.play("undo " + s.Step.Name)
}

// Prepare implements activities.SagaRunner: only who asks to wait does.
func (g *troupe) Prepare(_ context.Context, s activities.SagaStep) activities.SagaResult {
	if s.Step.Conditional && !strings.Contains(string(s.Data), "ask") {
		return activities.SagaResult{Outcome: core.Outcome{Kind: core.OutcomeSkipped}}
	}
	return activities.SagaResult{Outcome: core.Outcome{Kind: core.OutcomeDone}}
}

// Receive implements activities.SagaRunner.
func (g *troupe) Receive(context.Context, activities.SagaStep) activities.SagaResult {
	return activities.SagaResult{Outcome: core.Outcome{Kind: core.OutcomeDone}}
}

// set has a step end so; "" is well.
func (g *troupe) set(what string, class holdfast.ErrorClass, text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.plays[what] = (core.Outcome{Kind: core.OutcomeFailed, Class: class, Error: text}); text == "" {
		delete(g.plays, what)
	}
}

func (g *troupe) acts() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.done)
}

func (g *troupe) holdfast(args ...string) result {
	g.t.Helper()
	return runProgram(g.t, g.env, append([]string{"saga"}, args...)...)
}

func (g *troupe) decode(v any, args ...string) result {
	g.t.Helper()
	r := g.holdfast(append(args, "--json")...)
	require.NoError(g.t, json.Unmarshal([]byte(r.out), v), r.err+r.out)
	return r
}

// begin starts a saga, and waits until it is in that state.
func (g *troupe) begin(key, data, state string) string {
	g.t.Helper()
	var got sagas.Started
	g.decode(&got, "start", "piece", "--key", g.prefix+"-"+key, "--data", data)
	g.stands(got.ID, state)
	return got.ID
}

func (g *troupe) show(id string) (d sagas.Detail) {
	g.t.Helper()
	r := g.decode(&d, "show", id)
	require.Equal(g.t, frame.ExitOK, r.status, r.err)
	return d
}

func (g *troupe) stands(id, state string) {
	g.t.Helper()
	eventually(g.t, func() bool { return g.show(id).State == state }, func() string { return id + " is no " + state })
}

// one runs an action on one saga.
func (g *troupe) one(args ...string) (actions.Outcome, result) {
	g.t.Helper()
	var all []actions.Outcome
	r := g.decode(&all, append(args, "--reason", "test")...)
	require.Len(g.t, all, 1)
	return all[0], r
}

// list lists until so many are there: the visibility store is late.
func (g *troupe) list(n int, args ...string) []sagas.Row {
	g.t.Helper()
	var rows []sagas.Row
	eventually(g.t, func() bool {
		rows = nil
		g.decode(&rows, append([]string{"list"}, args...)...)
		return len(rows) == n
	}, func() string { return fmt.Sprint(len(rows), " listed by ", args) })
	return rows
}

func TestStartASaga(t *testing.T) {
	g := newTroupe(t)
	var got sagas.Started
	r := g.decode(&got, "start", "piece", "--data", `{"n":1}`, "--wait", "30s")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	require.Equal(t, "completed", got.State)
	require.Equal(t, []string{"do create", "do pay", "do ship"}, g.acts())
	require.Regexp(t, `^`+g.prefix+`:saga/orders/piece/[0-9a-f-]{36}$`, got.ID)

	g.set("do pay", holdfast.ClassPermanent, "no card")
	key := g.prefix + "-1"
	r = g.holdfast("start", "piece", "--data", `{}`, "--key", key, "--wait", "30s")
	require.Equal(t, frame.ExitError, r.status)
	require.Equal(t, "Saga "+g.prefix+":saga/orders/piece/"+key+" is parked, step pay: no card\n", r.out)
	r = g.holdfast("start", "piece", "--data", `{}`, "--key", key)
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, "is there already; `holdfast saga show "+g.prefix+":saga/orders/piece/"+key+"` says how it stands")

	g.stop()
	r = g.holdfast("start", "piece", "--group", "nobody", "--data", `{}`, "--key", key, "--wait", "1s")
	require.Contains(t, r.err, "no worker of group nobody runs; it goes on as soon as")
}

func TestShowASaga(t *testing.T) {
	t.Parallel()
	g := newTroupe(t)
	g.set("do pay", holdfast.ClassPermanent, "no card")
	id := g.begin("1", `{"secret":7}`, "parked")
	for _, name := range []string{id, "piece/" + g.prefix + "-1", g.prefix + "-1"} {
		require.Equal(t, id, g.show(name).ID, name)
	}
	d := g.show(id)
	require.Equal(t, []any{"pay", "no card", 2}, []any{d.Step, d.Reason, d.Version})
	require.Equal(t, "http://ui.example/namespaces/default/workflows/"+g.prefix+":saga%2Forders%2Fpiece%2F"+g.prefix+"-1/"+d.RunID+"/history", d.UI)
	require.Contains(t, d.Commands, "holdfast saga skip "+id+" --step pay --reason TEXT")
	require.Contains(t, d.Commands, "holdfast saga retry "+id+" --reason TEXT")
	require.Empty(t, d.Steps)

	r := g.holdfast("show", id, "--history")
	for _, want := range []string{`state +parked`, `✓ create +local +done`, `» approve`, `✗ pay +local +failed .*no card`, `· ship +local +not begun`,
		`pay failed: it waits for an operator`, `What happened`, `pay +do pay +failed: no card`} {
		require.Regexp(t, want, r.out)
	}
	require.NotContains(t, r.out+g.holdfast("show", id, "--json").out, "secret", "data is shown only when asked for")
	r = g.holdfast("show", id, "--data")
	require.Contains(t, r.out, `"secret": 7`)
	r = g.holdfast("show", g.prefix+"-nobody")
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, "no saga has the ID or the key")
	r = g.holdfast("show", "piece/a/b")
	require.Contains(t, r.err, "no saga has the ID")

	g.stop()
	r = g.holdfast("show", id)
	require.Equal(t, frame.ExitOK, r.status, r.err)
	for _, want := range []string{`unknown +no process answered: start one of group orders`, `\? pay +local +unknown`, `create +do create +done`} {
		require.Regexp(t, want, r.out)
	}
}

func TestAKeyThatMeansSeveral(t *testing.T) {
	g := newTroupe(t)
	id := g.begin("1", `{}`, "completed")
	in := sagaflow.Input{ID: workflows.SagaID(g.prefix, troupeGroup, "other", g.prefix+"-1"), Group: troupeGroup, Prefix: g.prefix, Name: "other", Key: g.prefix + "-1"}
	_, run, err := sagaflow.Start(t.Context(), g.c, sagaflow.StartConfig{Prefix: g.prefix}, in)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = g.c.TerminateWorkflow(context.WithoutCancel(t.Context()), run.GetID(), "", "the test has ended")
	})
	g.list(2, "--key", g.prefix+"-1")
	r := g.holdfast("show", g.prefix+"-1")
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, "means 2 workflows: "+in.ID+", "+id)
	require.Equal(t, id, g.show("piece/"+g.prefix+"-1").ID)
	require.Equal(t, "no-worker", g.list(1, "--name", "other", "--state", "no-worker")[0].State)
}

func TestSteerASaga(t *testing.T) {
	t.Parallel()
	g := newTroupe(t)
	g.set("do pay", holdfast.ClassPermanent, "no card")
	id := g.begin("1", `{"ask":1}`, "waiting")

	o, r := g.one("pause", id)
	require.Equal(t, actions.Outcome{ID: id, WorkflowID: id, Outcome: actions.Paused, State: "paused", Detail: "it is paused"}, o)
	require.Equal(t, frame.ExitOK, r.status)
	o, r = g.one("pause", id)
	require.Equal(t, []any{actions.Refused, frame.ExitError}, []any{o.Outcome, r.status})
	require.Contains(t, o.Detail, "paused already")
	o, _ = g.one("resume", id)
	require.Equal(t, actions.Resumed, o.Outcome)
	o, _ = g.one("answer", id, "--step", "nothing")
	require.Equal(t, actions.Refused, o.Outcome)
	o, r = g.one("answer", id, "--step", "approve", "--value", `{"by":"ann"}`)
	require.Equal(t, []any{actions.Answered, frame.ExitOK}, []any{o.Outcome, r.status})
	g.stands(id, "parked")

	o, r = g.one("retry", id)
	require.Equal(t, []any{actions.Retried, frame.ExitOK}, []any{o.Outcome, r.status})
	g.stands(id, "parked")
	g.set("do pay", "", "")
	g.set("do ship", holdfast.ClassPermanent, "no van")
	o, _ = g.one("retry", id, "--step", "pay")
	require.Equal(t, actions.Retried, o.Outcome)
	eventually(t, func() bool { return g.show(id).Step == "ship" }, func() string { return "ship is not parked" })
	o, r = g.one("skip", id, "--step", "ship")
	require.Equal(t, []any{actions.Skipped, frame.ExitOK}, []any{o.Outcome, r.status}, o)
	g.stands(id, "completed")
	o, r = g.one("retry", id)
	require.Equal(t, []any{actions.Refused, frame.ExitError}, []any{o.Outcome, r.status})
	require.Contains(t, o.Remedy, "holdfast saga compensate "+id)

	id = g.begin("2", `{"ask":1}`, "waiting")
	o, _ = g.one("answer", id, "--step", "approve", "--refuse")
	require.Equal(t, actions.Answered, o.Outcome)
	g.stands(id, "compensated")
	require.Equal(t, "undo create", g.acts()[len(g.acts())-1])
	r = g.holdfast("pause", id, "--reason", "x")
	require.Contains(t, r.err, "it is compensated: nothing is left to pause")
}

func TestCompensateASagaThatRuns(t *testing.T) {
	t.Parallel()
	g := newTroupe(t)
	g.set("do ship", holdfast.ClassPermanent, "no van")
	g.set("undo create", holdfast.ClassPermanent, "it is shipped")
	id := g.begin("1", `{}`, "parked")
	o, r := g.one("compensate", id)
	require.Equal(t, []any{actions.Stuck, "compensation-failed", frame.ExitError}, []any{o.Outcome, o.State, r.status})
	require.Contains(t, o.Detail, "step create: it is shipped")
	o, r = g.one("compensate", id)
	require.Equal(t, []any{actions.Stuck, frame.ExitError}, []any{o.Outcome, r.status}, "again: it stands as it did")
	r = g.holdfast("compensate", id, "--reason", "x")
	require.Contains(t, r.err, "`holdfast saga retry "+id+" --reason TEXT` tries again")
	g.set("undo create", "", "")
	o, _ = g.one("retry", id)
	require.Equal(t, actions.Retried, o.Outcome)
	g.stands(id, "compensated")
	o, r = g.one("compensate", id)
	require.Equal(t, []any{actions.Compensated, "before: nothing to do", frame.ExitOK}, []any{o.Outcome, o.Detail, r.status})
	require.Equal(t, []string{"do create", "do pay", "undo pay", "undo create"}, g.acts())
}

func TestCompensateASagaThatHasCompleted(t *testing.T) {
	t.Parallel()
	g := newTroupe(t)
	id := g.begin("1", `{}`, "completed")
	ts := &server.Temporal{Client: g.c, Namespace: "default", Data: server.SearchAttributes, Prefix: g.prefix}
	seen, err := sagas.Find(t.Context(), ts, id, "", g.prefix)
	require.NoError(t, err)
	g.set("undo create", holdfast.ClassPermanent, "it is shipped")
	o, r := g.one("compensate", id)
	require.Equal(t, []any{actions.Stuck, id + "/undo", frame.ExitError}, []any{o.Outcome, o.WorkflowID, r.status})
	b := &sagas.Batch{T: ts, Prefix: g.prefix, Act: sagas.Acts[4], Crew: actions.Crew{Parallel: 1, Wait: patience, Answer: actions.AnswerLimit, Tick: func() {}},
		Req: sagaflow.Request{Operator: "bob", Reason: "x"}}
	all, err := b.Run(t.Context(), []sagas.Row{seen})
	require.NoError(t, err)
	require.Equal(t, []any{actions.Stuck, id + "/undo"}, []any{all[0].Outcome, all[0].WorkflowID}, "somebody else was faster")
	d := g.show(id)
	require.Equal(t, []any{"compensation-failed", true, id + "/undo", "create"}, []any{d.State, d.UndoneLater, d.WorkflowID, d.Step})
	require.Contains(t, d.Commands, "holdfast saga retry "+id+" --reason TEXT")
	require.Contains(t, d.Undoes, d.OwnRun)
	g.list(0, "--state", "completed")
	rows := g.list(1, "--state", "compensation-failed")
	require.Equal(t, []any{id, true}, []any{rows[0].ID, rows[0].UndoneLater})

	g.set("undo create", "", "")
	o, _ = g.one("retry", id)
	require.Equal(t, []any{actions.Retried, id + "/undo"}, []any{o.Outcome, o.WorkflowID})
	g.stands(id, "compensated")
	o, r = g.one("compensate", id)
	require.Equal(t, []any{actions.Compensated, frame.ExitOK}, []any{o.Outcome, r.status})
	require.Equal(t, []string{"do create", "do pay", "do ship", "undo pay", "undo create"}, g.acts())
	require.Contains(t, g.holdfast("show", id).out, "compensated (undone later)")
	require.Len(t, g.list(1), 1, "one saga, of two workflows")
}

// TestSagasThatChangedSinceTheyWereFound: between a list, the question at the terminal and the action,
// a saga goes on; one that is not any more what was chosen is left as it is.
func TestSagasThatChangedSinceTheyWereFound(t *testing.T) {
	t.Parallel()
	g := newTroupe(t)
	ts := &server.Temporal{Client: g.c, Namespace: "default", Data: server.SearchAttributes, Prefix: g.prefix}
	found := func(id string) sagas.Row {
		r, err := sagas.Find(t.Context(), ts, id, "", g.prefix)
		require.NoError(t, err)
		return r
	}
	act := func(name string, r sagas.Row, states ...string) actions.Outcome {
		of, _ := sagas.ActNamed(name)
		b := &sagas.Batch{T: ts, Prefix: g.prefix, Act: of, States: states, Req: sagaflow.Request{Operator: "bob", Reason: "x"},
			Crew: actions.Crew{Parallel: 1, Wait: patience, Answer: actions.AnswerLimit, Tick: func() {}}}
		all, err := b.Run(t.Context(), []sagas.Row{r})
		require.NoError(t, err)
		return all[0]
	}
	g.set("do pay", holdfast.ClassPermanent, "no card")
	id := g.begin("1", `{}`, "parked")
	parked := found(id)
	g.set("do pay", "", "")
	g.one("retry", id)
	g.stands(id, "completed")
	o := act("compensate", parked, "parked")
	require.Equal(t, actions.Outcome{ID: id, WorkflowID: id, Outcome: actions.Refused, State: "completed",
		Detail: "it is completed meanwhile: it was left as it is"}, o)
	o = act("compensate", parked) // it was named
	require.Equal(t, []any{actions.Refused, "completed"}, []any{o.Outcome, o.State})
	require.Contains(t, o.Detail, "completed meanwhile: repeat the command")

	id = g.begin("2", `{"ask":1}`, "waiting")
	waiting := found(id)
	g.one("pause", id)
	require.Equal(t, []any{actions.Refused, "paused"}, []any{act("compensate", waiting, "waiting").Outcome, g.show(id).State})
	require.Equal(t, actions.Compensated, act("compensate", waiting, "waiting", "paused").Outcome)
	require.Equal(t, []string{"undo create"}, slices.DeleteFunc(g.acts(), func(a string) bool { return !strings.HasPrefix(a, "undo") }))
}

func TestCompensateASagaThatWasTerminated(t *testing.T) {
	t.Parallel()
	g := newTroupe(t)
	id := g.begin("1", `{"ask":1}`, "waiting")
	require.NoError(t, g.c.TerminateWorkflow(t.Context(), id, "", "an accident"))
	require.Equal(t, id, g.list(1, "--state", "terminated")[0].ID)
	d := g.show(id)
	require.Equal(t, "terminated", d.State)
	require.Equal(t, []string{"holdfast saga compensate " + id + " --reason TEXT"}, d.Commands)
	require.NotNil(t, d.Status, "a process tells from the history")
	var f doctor.Findings
	ts := &server.Temporal{Client: g.c, Namespace: "default", Data: server.SearchAttributes, Prefix: g.prefix}
	f.LostSagas(t.Context(), ts, g.prefix)
	require.Equal(t, text.LevelProblem, f.All[0].Level)
	require.Contains(t, f.All[0].Remedy, "holdfast saga show "+id)

	o, r := g.one("retry", id)
	require.Equal(t, []any{actions.Refused, frame.ExitError}, []any{o.Outcome, r.status})
	row, err := sagas.Find(t.Context(), ts, id, "", g.prefix)
	require.NoError(t, err)
	in, note, err := sagas.UndoInput(t.Context(), ts, row, g.prefix)
	require.NoError(t, err)
	require.Empty(t, note)
	require.Equal(t, core.Done, in.Resumed.Core.Steps["create"].Status)
	require.JSONEq(t, `{"ask":1,"create":true}`, string(in.Resumed.Core.Data))

	g.stop()
	in, note, err = sagas.UndoInput(t.Context(), ts, row, g.prefix)
	require.NoError(t, err)
	require.Contains(t, note, "no process could tell")
	require.Equal(t, []any{2, "ship", `{"ask":1}`, row.RunID}, []any{in.Plan.Version, in.Plan.Steps[3].Name, string(in.Resumed.Core.Data), in.Undo.RunID},
		"the history has the plan")
	require.True(t, in.Undo.Terminated)
	g.work()
	o, r = g.one("compensate", id)
	require.Equal(t, []any{actions.Compensated, frame.ExitOK}, []any{o.Outcome, r.status}, o)
	require.Equal(t, []string{"do create", "undo pay", "undo create"}, g.acts(), "also what may have been done")
	g.list(0, "--state", "terminated")
	f = doctor.Findings{}
	f.LostSagas(t.Context(), ts, g.prefix)
	require.Equal(t, text.LevelOK, f.All[0].Level)
}

// TestASagaThatIsStartedAgain: one whose workflow was terminated, and that runs
// again since, is not lost.
func TestASagaThatIsStartedAgain(t *testing.T) {
	g := newTroupe(t)
	id := g.begin("1", `{"ask":1}`, "waiting")
	require.NoError(t, g.c.TerminateWorkflow(t.Context(), id, "", "an accident"))
	g.list(1, "--state", "terminated")
	require.Equal(t, id, g.begin("1", `{"ask":1}`, "waiting"))
	require.Equal(t, id, g.list(1, "--state", "waiting")[0].ID)
	g.list(0, "--state", "terminated")
	require.Equal(t, "waiting", g.list(1)[0].State)
	o, _ := g.one("compensate", id)
	require.Equal(t, []any{actions.Compensated, id}, []any{o.Outcome, o.WorkflowID})
}

func TestBulkOnSagas(t *testing.T) {
	t.Parallel()
	g := newTroupe(t)
	g.set("do pay", holdfast.ClassPermanent, "no card")
	const n = 12
	for i := range n {
		g.begin(fmt.Sprint(i), `{}`, "parked")
	}
	g.list(n, "--state", "parked", "--limit", "100")
	r := g.holdfast("compensate", "--name", "piece", "--dry-run")
	require.Contains(t, r.err, "To compensate: 12 sagas. Nothing was done.")
	r = g.holdfast("compensate", "--name", "piece", "--reason", "x")
	require.Equal(t, frame.ExitUsage, r.status)
	require.Contains(t, r.err, "this would compensate 12 sagas: add --yes")
	r = g.holdfast("skip", "--state", "parked", "--step", "pay", "--limit", "2", "--reason", "x", "--yes")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	require.Contains(t, r.out, "skip: 2 sagas: 2 skipped")
	g.list(2, "--state", "completed")
	r = g.holdfast("compensate", "--state", "parked,completed", "--reason", "x", "--yes", "--wait", "10m") // a slow machine is no failure
	require.Equal(t, frame.ExitOK, r.status, r.err+r.out)
	require.Contains(t, r.out, "compensate: 12 sagas: 12 compensated")
	require.Len(t, g.list(n, "--state", "compensated", "--limit", "100"), n)
	r = g.holdfast("retry", "--all", "--reason", "x")
	require.Equal(t, "No sagas to retry.\n", r.out)
}

func TestASagaWithoutAWorker(t *testing.T) {
	t.Parallel()
	g := newTroupe(t)
	id := g.begin("1", `{"ask":1}`, "waiting")
	g.mu.Lock()
	g.away = true
	g.mu.Unlock()
	_, _ = g.one("answer", id, "--step", "approve")
	g.stands(id, "no-worker")
	g.list(1, "--state", "no-worker")
	var f doctor.Findings
	ts := &server.Temporal{Client: g.c, Namespace: "default", Data: server.SearchAttributes, Prefix: g.prefix}
	f.StrandedSagas(t.Context(), ts, g.prefix, nobodyHas)
	require.Contains(t, f.All[0].Detail, "1 saga waiting for a worker of group orders with piece version 2; no running process")
	require.Contains(t, g.show(id).Next[0], "pay waits for a process of group orders that has version 2 of piece")
	o, r := g.one("compensate", id, "--wait", "1s")
	require.Equal(t, []any{actions.Undoing, frame.ExitError}, []any{o.Outcome, r.status})
	g.mu.Lock()
	g.away = false
	g.mu.Unlock()
	o, r = g.one("compensate", id, "--wait", "1m")
	require.Equal(t, []any{actions.Compensated, frame.ExitOK}, []any{o.Outcome, r.status}, "asking again waits for it")
}

func TestDiagramOfASagaInTemporal(t *testing.T) {
	g := newTroupe(t)
	id := g.begin("1", `{}`, "completed")
	g.list(1)
	r := g.holdfast("diagram", "piece")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	require.Contains(t, r.err, "version 2 is from saga "+id)
	require.Contains(t, r.out, `completed(["completed"])`)
	r = g.holdfast("diagram", "piece", "--version", "7")
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, "cannot be asked")
	r = g.holdfast("diagram", "nope")
	require.Equal(t, frame.ExitError, r.status)
}

// TestASagaThatEndsMeanwhile: what was seen of a saga may be old when its turn
// comes.
func TestASagaThatEndsMeanwhile(t *testing.T) {
	g := newTroupe(t)
	id := g.begin("1", `{"ask":1}`, "waiting")
	ts := &server.Temporal{Client: g.c, Namespace: "default", Data: server.SearchAttributes, Prefix: g.prefix}
	seen, err := sagas.Find(t.Context(), ts, id, "", g.prefix)
	require.NoError(t, err)
	_, _ = g.one("answer", id, "--step", "approve")
	g.stands(id, "completed")
	b := &sagas.Batch{T: ts, Prefix: g.prefix, Act: sagas.Acts[0], Crew: actions.Crew{Parallel: 1, Answer: actions.AnswerLimit, Tick: func() {}},
		Req: sagaflow.Request{Operator: "ann", Reason: "x"}}
	all, err := b.Run(t.Context(), []sagas.Row{seen})
	require.NoError(t, err)
	require.Equal(t, []any{actions.Refused, "it is completed: nothing is left to pause"}, []any{all[0].Outcome, all[0].Detail})

	b.Act, b.Wait = sagas.Acts[4], patience
	all, err = b.Run(t.Context(), []sagas.Row{seen})
	require.NoError(t, err)
	require.Equal(t, []any{actions.Refused, id}, []any{all[0].Outcome, all[0].WorkflowID}, "who saw it wait did not mean one that went well")
	seen, err = sagas.Find(t.Context(), ts, id, "", g.prefix)
	require.NoError(t, err)
	all, err = b.Run(t.Context(), []sagas.Row{seen, seen}) // two operators at once
	require.NoError(t, err)
	for _, o := range all {
		require.Equal(t, []any{actions.Compensated, id + "/undo"}, []any{o.Outcome, o.WorkflowID})
	}
}

// TestTheProcessesAreAskedForASaga: which group has it, and how it looks.
func TestTheProcessesAreAskedForASaga(t *testing.T) {
	t.Parallel()
	q := newQuiet(t)
	plan, err := json.Marshal(core.Plan{Name: "errand", Version: 3, Steps: []core.Step{{Name: "pay", Kind: core.Local}}})
	require.NoError(t, err)
	q.answer(broker.ProcessStatus{V: 1, Instance: "a", Sagas: []broker.SagaDefinition{{Group: "orders", Name: "errand", Version: 3, Plan: plan},
		{Group: "orders", Name: "twice", Version: 1}, {Group: "shop", Name: "twice", Version: 1}}})
	ok := func(r result) bool { return r.status == frame.ExitOK }
	r := q.answered(ok, "saga", "diagram", "errand")
	require.Contains(t, r.out, `completed(["completed"])`)
	require.Empty(t, r.err)
	q.answered(complains("no running process has version 2 of saga errand: there is version 3 in group orders"),
		"saga", "diagram", "errand", "--version", "2")

	var got sagas.Started
	r = q.answered(ok, "saga", "start", "errand", "--data", "{}", "--json")
	require.NoError(t, json.Unmarshal([]byte(r.out), &got), r.out)
	q.t.Cleanup(func() {
		_ = q.c.TerminateWorkflow(context.WithoutCancel(t.Context()), got.ID, "", "the test has ended")
	})
	require.Equal(t, []string{"orders", got.Key}, []string{got.Group, strings.TrimPrefix(got.ID, workflows.SagaID(q.prefix, "orders", "errand", ""))})
	r = q.answered(complains("saga twice is in 2 groups: orders, shop; say which with --group"), "saga", "start", "twice", "--data", "{}")
	require.Equal(t, frame.ExitError, r.status)
	q.answered(complains("no running process has a saga nope"), "saga", "start", "nope", "--data", "{}")
	r = q.holdfast("saga", "pause", got.ID, "--reason", "x", "--operator", "ann")
	require.Contains(t, r.err, "not sent: no worker of group orders runs; start a process of the group")
}

// nobodyHas is the answer where no process has a saga.
func nobodyHas() ([]broker.SagaDefinition, error) { return nil, nil }

// TestASagaOfTheExpressLane: one that ended there has no workflow until somebody asks for
// it, who has the database of its group.
func TestASagaOfTheExpressLane(t *testing.T) {
	g := newTroupe(t)
	url := stacktest.Database(t, stacktest.Shared(t))
	db, err := gorm.Open(postgres.Open(url), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	require.NoError(t, barrier.Migrate(t.Context(), db))
	ids := []string{workflows.SagaID(g.prefix, troupeGroup, "piece", "1"), workflows.SagaID(g.prefix, troupeGroup, "piece", "2")}
	plan, err := piece.Complete()
	require.NoError(t, err)
	m := core.New(&plan, json.RawMessage(`{}`))
	for effects := m.Begin(time.Now()); len(effects) > 0; {
		done := core.Event{Kind: core.DoEnded, At: time.Now(), Step: effects[0].Step.Name, Outcome: core.Outcome{Kind: core.OutcomeDone}}
		effects, err = m.Apply(done)
		require.NoError(t, err)
	}
	last, err := json.Marshal(m.State())
	require.NoError(t, err)
	ids = append(ids, workflows.SagaID(g.prefix, troupeGroup, "piece", "3"))
	for i, id := range ids {
		data := json.RawMessage(`{}`)
		row := barrier.BegunSaga{Content: sagaflow.ContentOf(data), Holder: "one",
			SagaStart: holdfast.SagaStart{Name: "piece", Version: 2, Key: strconv.Itoa(i + 1), State: data}}
		_, err := barrier.BeginSaga(t.Context(), db, id, row)
		require.NoError(t, err)
		if i < 2 {
			require.NoError(t, barrier.EndSaga(t.Context(), db, id, row, last))
		}
	}

	r := g.holdfast("show", "1")
	require.Equal(t, frame.ExitError, r.status, r.err)
	require.Contains(t, r.err, "name it in full, saga/GROUP/NAME/KEY")
	r = g.holdfast("show", "piece/1", "--group", troupeGroup)
	require.Equal(t, frame.ExitError, r.status, r.err)
	require.Contains(t, r.err, "set DATABASE_URL to the database of its group")

	g.env = append(g.env, "DATABASE_URL="+url)
	r = g.holdfast("show", "piece/3", "--group", troupeGroup)
	require.Equal(t, frame.ExitError, r.status, r.err)
	require.Contains(t, r.err, "is driven by a process of its group: ask again in a moment")
	r = g.holdfast("show", "piece/4", "--group", troupeGroup)
	require.Equal(t, frame.ExitError, r.status, r.err)
	require.Contains(t, r.err, "nor has the database a begin row of it")
	r = g.holdfast("show", "piece/1", "--group", troupeGroup)
	require.Equal(t, frame.ExitOK, r.status, r.err)
	require.Contains(t, r.out, "completed")
	o, r := g.one("compensate", ids[1], "--wait", "1m")
	require.Equal(t, []any{actions.Compensated, frame.ExitOK}, []any{o.Outcome, r.status}, r.err+r.out)

	// A workflow that did nothing, since its key is another saga's, is none of that, nor lost.
	plan.Express = true
	for _, key := range []string{"3", "6"} {
		in := sagaflow.Input{ID: workflows.SagaID(g.prefix, troupeGroup, "piece", key), Group: troupeGroup, Prefix: g.prefix,
			Name: "piece", Key: key, Plan: &plan, Version: 2, Data: json.RawMessage(`{"other":true}`)}
		_, run, err := sagaflow.Start(t.Context(), g.c, sagaflow.StartConfig{Prefix: g.prefix}, in)
		require.NoError(t, err)
		require.ErrorContains(t, run.Get(t.Context(), nil), "it was started with other content")
	}
	g.list(2, "--state", "failed")
	row, err := barrier.ReadBegun(t.Context(), db, ids[2])
	require.NoError(t, err)
	require.NoError(t, barrier.EndSaga(t.Context(), db, ids[2], row, last))
	var f doctor.Findings
	ts := &server.Temporal{Client: g.c, Namespace: "default", Data: server.SearchAttributes, Prefix: g.prefix}
	f.LostSagas(t.Context(), ts, g.prefix)
	require.Equal(t, text.LevelOK, f.All[0].Level, f.All[0].Detail)
	o, _ = g.one("compensate", workflows.SagaID(g.prefix, troupeGroup, "piece", "6"))
	require.Equal(t, "it did nothing: its key is another saga's", o.Detail)
	r = g.holdfast("show", "piece/3", "--group", troupeGroup)
	require.Equal(t, frame.ExitOK, r.status, r.err)
	require.Contains(t, r.out, "completed")
}
