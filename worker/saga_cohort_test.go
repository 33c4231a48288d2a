package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagacohort"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// quickly makes a saga of these steps that is run by a process for as long as all goes well.
type quickly func(steps ...saga.Step[journey]) saga.Saga[journey]

// inBothWays tests what is true of a saga that a process runs, alone in the Express lane or in a
// cohort of the Traced lane.
func inBothWays(t *testing.T, test func(t *testing.T, s *site, quickTravel quickly)) {
	t.Parallel()
	t.Run("express", func(t *testing.T) {
		t.Parallel()
		test(t, sagaSite(t), quickTravel)
	})
	t.Run("cohort", func(t *testing.T) {
		t.Parallel()
		s := sagaSite(t)
		s.cohorts = true
		test(t, s, travel)
	})
}

// shareWorkflow starts sagas of w that share a workflow, and returns their handles, each with why
// it was not started, and that workflow's ID.
func (s *site) shareWorkflow(w *running, def saga.Saga[journey], all ...journey) (
	hs []*worker.SagaHandle[journey], errs []error, workflow string) {
	s.t.Helper()
	release := w.HoldSagas()
	hs, errs = make([]*worker.SagaHandle[journey], len(all)), make([]error, len(all))
	var started sync.WaitGroup
	for i, j := range all {
		started.Go(func() { hs[i], errs[i] = worker.StartSaga(s.ctx(), w.Worker, def, j) })
		until(s.t, "it gathers", func() bool { return w.GatheredSagas() > i })
	}
	release()
	started.Wait()
	until(s.t, "the visibility store has the cohort", func() bool {
		found, err := s.temporal.ListWorkflow(s.ctx(), &workflowservice.ListWorkflowExecutionsRequest{Query: `WorkflowType = "SagaCohort" ` +
			`AND TaskQueue = "` + workflows.TaskQueue(s.at.Prefix, group) + `" AND HoldfastKey = "` + all[0].ID + `"`})
		require.NoError(s.t, err)
		for _, x := range found.GetExecutions() {
			workflow = x.GetExecution().GetWorkflowId()
		}
		return workflow != ""
	})
	return hs, errs, workflow
}

// cohortResult waits for the end of a cohort.
func (s *site) cohortResult(workflow string) (r sagacohort.Result) {
	s.t.Helper()
	require.NoError(s.t, s.temporal.GetWorkflow(s.ctx(), workflow, "").Get(s.ctx(), &r))
	return r
}

// rounds are what the rounds of a cohort told, as its history has it.
func (s *site) rounds(workflow string) (all []activities.SagaMemberEnds) {
	s.t.Helper()
	it := s.temporal.GetWorkflowHistory(s.ctx(), workflow, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for it.HasNext() {
		e, err := it.Next()
		require.NoError(s.t, err)
		if result := e.GetMarkerRecordedEventAttributes().GetDetails()["result"]; result != nil {
			var told activities.SagaMemberEnds
			require.NoError(s.t, converter.GetDefaultDataConverter().FromPayloads(result, &told))
			all = append(all, told)
		}
	}
	return all
}

// patientAgency is agency for a process whose sagas wait for each other.
func (s *site) patientAgency(defs ...saga.Definition) *running {
	s.t.Helper()
	return s.runWith(s.options(), func(w *worker.Worker) {
		w.AwaitSagas()
		for _, def := range defs {
			w.Saga(def)
		}
	})
}

// Each member of a cohort ends as it would alone; the history shows every step of every one, and
// those that do not end well at once go on in workflows of their own.
func TestSagasShareAWorkflow(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	def := travel(local("a"), seat(), does("b", func(j *journey) error {
		switch j.By {
		case "nobody":
			return saga.Refuse("no guide")
		case "broke":
			return holdfast.Permanent(errOops)
		}
		return nil
	}), saga.Wait("approve", time.Minute).When(saga.If(func(j journey) bool { return j.By == "asks" })), local("c"))
	w := s.patientAgency(def)
	s.participants(s.seats(nil))
	var all []journey
	for _, by := range []string{"ann", "nobody", "broke", "asks"} {
		all = append(all, journey{ID: newID(), By: by})
	}
	hs, errs, workflow := s.shareWorkflow(w, def, all...)
	require.NoError(t, errors.Join(errs...))
	for _, i := range []int{1, 2} {
		stood(t, wait(s, hs[i]), holdfast.ErrSagaCompensated)
		require.Equal(t, []string{"do a", "undo a"}, s.logged(s.orders, all[i].ID))
		require.Equal(t, []string{"do seat", "undo seat"}, s.logged(s.effects, all[i].ID))
	}
	require.NoError(t, hs[3].Approve(s.ctx(), "approve", nil, worker.By{Operator: "ann", Reason: "fair"}))
	for _, i := range []int{0, 3} {
		got, err := hs[i].Wait(s.ctx())
		require.NoError(t, err)
		require.Equal(t, journey{ID: all[i].ID, By: all[i].By, Seat: "4a"}, got)
		require.Equal(t, []string{"do a", "do b", "do c"}, s.logged(s.orders, all[i].ID))
	}
	require.Equal(t, map[string]string{"ann": activities.MemberLeft, "nobody": activities.MemberLeft, "broke": activities.MemberLeft,
		"asks": activities.MemberLeft}, s.membersOf(workflow, all), "a wait is a workflow's, also one that may be skipped")
	require.Equal(t, []string{"1 a done", "2 seat done", "3 b done"}, s.stepsOf(workflow, hs[0].ID()))
	require.Equal(t, []string{"1 a done", "2 seat done", "3 b refused"}, s.stepsOf(workflow, hs[1].ID()))
	require.Contains(t, s.sagaStatus(hs[1].ID()).Story[0].Text, "ran it in workflow "+workflow)
}

// membersOf says how each of these sagas ended in its cohort, by its By.
func (s *site) membersOf(workflow string, all []journey) map[string]string {
	s.t.Helper()
	result, states := s.cohortResult(workflow), map[string]string{}
	for _, j := range all {
		end, ok := result.Of(workflows.SagaID(s.at.Prefix, group, "travel", j.ID))
		require.True(s.t, ok)
		states[j.By] = end.State
	}
	return states
}

// stepsOf are the steps of a saga that a cohort's history tells of, each with its round.
func (s *site) stepsOf(workflow, id string) (steps []string) {
	s.t.Helper()
	for n, told := range s.rounds(workflow) {
		for _, m := range told.Members {
			for _, step := range m.Steps {
				if m.ID == id {
					steps = append(steps, fmt.Sprintf("%d %s %s", n+1, step.Step, step.Outcome))
				}
			}
		}
	}
	return steps
}

// Nobody waits for a member that is slow: it goes on in a workflow of its own after the step that
// is under way.
func TestSlowMemberLeavesItsCohort(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	began, release := make(chan struct{}, 1), make(chan struct{})
	def := travel(local("a"), does("b", func(j *journey) error {
		if j.By == "slow" {
			tell(began)
			<-release
		}
		return nil
	}), local("c"))
	w := s.agency(def)
	all := []journey{{ID: newID(), By: "ann"}, {ID: newID(), By: "slow"}}
	var hs []*worker.SagaHandle[journey]
	var workflow string
	shared := make(chan struct{})
	go func() {
		defer close(shared)
		hs, _, workflow = s.shareWorkflow(w, def, all...)
	}()
	<-began
	require.Empty(t, s.logged(s.orders, all[1].ID)) // the transaction is open that a and b share
	require.NoError(t, wait(s, worker.JoinSaga(w.Worker, def, all[0].ID)))
	<-shared
	// Still nothing, or, once it has left, a by itself: its own workflow does one step after the other.
	require.Subset(t, []string{"do a"}, s.logged(s.orders, all[1].ID))
	close(release)
	require.NoError(t, wait(s, hs[1]))
	require.Equal(t, []string{"do a", "do b", "do c"}, s.logged(s.orders, all[1].ID))
	require.Contains(t, []string{activities.MemberLeft, activities.MemberCompleted}, s.membersOf(workflow, all)["slow"])
}

// A key that is used twice at once is one saga, in one process or in two, in both lanes, and
// whoever of them is quicker; other content is refused.
func TestKeyOfACohortUsedTwice(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	def := travel(local("a"), local("b"))
	express := quickTravel(local("a"), local("b"))
	w, other, third := s.agency(def), s.agency(def), s.agency(express)
	for range 4 {
		j := journey{ID: newID()}
		ended := make(chan error, 9)
		for range 3 {
			for _, at := range []struct {
				w   *running
				def saga.Saga[journey]
			}{{w, def}, {other, def}, {third, express}} {
				go func() {
					h, err := worker.StartSaga(s.ctx(), at.w.Worker, at.def, j)
					if err == nil {
						_, err = h.Wait(s.ctx())
					}
					ended <- err
				}()
			}
		}
		for range 9 {
			require.NoError(t, next(t, ended))
		}
		require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, j.ID))
		for _, at := range []*running{w, other} {
			h, err := worker.StartSaga(s.ctx(), at.Worker, def, journey{ID: j.ID, Price: 7})
			if err == nil { // its cohort runs in another process, which has not come to it yet
				err = wait(s, h)
			}
			require.ErrorIs(t, err, holdfast.ErrDuplicate)
		}
	}
}

// A cohort that a process runs which did not start it: its callers are told, and a saga that this
// process does not have is run by one that has it.
func TestCohortThatAnotherProcessRuns(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	def := travel(local("a"), local("b"))
	only := travel(local("c"), local("d"))
	only.Name = "only"
	o := s.options()
	o.Temporal = s.dial(&cable{lazy: true})
	s.agency(def) // its polls come first
	w := s.runWith(o, func(w *worker.Worker) { w.Saga(def); w.Saga(only) })
	for range 20 {
		for _, def := range []saga.Saga[journey]{def, only} {
			j, err := s.travels(w, def)
			require.NoError(t, err)
			require.Len(t, s.logged(s.orders, j.ID), 2)
			until(t, "none is left here", func() bool { return w.SagasHere() == 0 })
			stands, err := worker.JoinSaga(w.Worker, def, j.ID).State(s.ctx())
			require.NoError(t, err)
			require.Equal(t, core.StateCompleted, stands.State)
		}
	}
}

// States that are together more than Temporal takes.
func TestCohortOfLargeStates(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	def := travel(does("a", func(j *journey) error { j.Room += strings.Repeat("x", 100<<10); return nil }),
		does("b", func(j *journey) error { j.Room += strings.Repeat("y", 50<<10); return nil }))
	w, other := s.patientAgency(def), s.agency(def)
	for _, first := range []int{1, 60 << 10} {
		var all []journey
		for range 12 {
			all = append(all, journey{ID: newID(), Room: strings.Repeat("z", first)})
		}
		hs, errs, _ := s.shareWorkflow(w, def, all...)
		require.NoError(t, errors.Join(errs...))
		for i, h := range hs {
			for _, h := range []*worker.SagaHandle[journey]{h, worker.JoinSaga(other.Worker, def, all[i].ID)} {
				got, err := h.Wait(s.ctx())
				require.NoError(t, err)
				require.Len(t, got.Room, first+150<<10)
			}
			require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, all[i].ID))
		}
	}
}

// A cohort whose workflow was ended from outside leaves no saga without a driver: who starts,
// waits for or undoes one has it go on in its own workflow.
func TestTerminatedCohort(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	began, held := make(chan struct{}, 3), make(chan struct{})
	var hold atomic.Bool
	hold.Store(true)
	def := travel(local("a"), saga.Choose("way", saga.Pick(func(journey) string {
		if hold.Load() {
			began <- struct{}{}
			<-held
		}
		return "up"
	}), saga.Case("up", local("b"))), local("c"))
	w, other := s.patientAgency(def), s.agency(def)
	all := []journey{{ID: newID()}, {ID: newID()}, {ID: newID()}}
	_, errs, workflow := s.shareWorkflow(w, def, all...)
	require.NoError(t, errors.Join(errs...))
	for range all {
		<-began
	}
	hold.Store(false)
	require.NoError(t, s.temporal.TerminateWorkflow(s.ctx(), workflow, "", "for a test"))
	again, err := worker.StartSaga(s.ctx(), other.Worker, def, all[0])
	require.NoError(t, err)
	require.NoError(t, wait(s, again))
	require.NoError(t, wait(s, worker.JoinSaga(other.Worker, def, all[1].ID)))
	third := worker.JoinSaga(other.Worker, def, all[2].ID)
	require.NoError(t, third.Compensate(s.ctx(), worker.By{Operator: "ann", Reason: "no more"}))
	stood(t, wait(s, third), holdfast.ErrSagaCompensated)
	close(held)
	for _, j := range all[:2] {
		require.Equal(t, []string{"do a", "do b", "do c"}, s.logged(s.orders, j.ID))
	}
	require.Subset(t, s.logged(s.orders, all[2].ID), []string{"do a", "undo a"})
}

// A process that Temporal takes for dead, since it is cut off, goes on with a member after another
// process has come to it: only one of them drives it.
func TestLostAttemptOfACohort(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	began, release := make(chan struct{}, 1), make(chan struct{})
	again, goOn := make(chan struct{}, 1), make(chan struct{})
	var held atomic.Bool
	def := travel(local("a"), saga.Choose("way", saga.Pick(func(journey) string {
		if held.CompareAndSwap(false, true) {
			tell(began)
			<-release
			return "up"
		}
		return "down"
	}), saga.Case("up", local("b")), saga.Otherwise(local("d"))), saga.Choose("hold", saga.Pick(func(journey) string {
		tell(again)
		<-goOn
		return ""
	}), saga.Otherwise(local("c"))))
	link := newRelay(t, s.at.Temporal)
	o := hurried(s.options())
	o.Temporal = dialTemporal(t, link.address(), s.at.Namespace, nil)
	w := s.runWith(o, func(w *worker.Worker) { w.AwaitSagas(); w.Saga(def) })
	id := newID()
	go func() { _, _ = worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: id}) }()
	<-began
	link.refuse(true)
	other := s.runWith(hurried(s.options()), func(w *worker.Worker) { w.AwaitSagas(); w.Saga(def) })
	<-again // the other process is where this one does not know of
	close(release)
	until(t, "the process that was cut off finds that it does not drive the saga", func() bool {
		return w.SagasHere() == 0 || len(s.logged(s.orders, id)) > 2
	})
	require.Equal(t, []string{"do a", "do d"}, s.logged(s.orders, id))
	close(goOn)
	link.refuse(false)
	require.NoError(t, wait(s, worker.JoinSaga(other.Worker, def, id)))
	require.Equal(t, []string{"do a", "do d", "do c"}, s.logged(s.orders, id))
}

// A saga whose cohort is gone, and whose process died, goes on for whoever starts it again, waits
// for it or steers it.
func TestSagaOfACohortThatIsGone(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	def := travel(local("a"), local("b"))
	w := s.agency(def)
	for name, ask := range map[string]func(j journey) error{
		"started again": func(j journey) error {
			h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
			require.NoError(t, err)
			return wait(s, h)
		},
		"waited for": func(j journey) error { return wait(s, worker.JoinSaga(w.Worker, def, j.ID)) },
	} {
		j := s.lostMember()
		require.NoError(t, ask(j), name)
		require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, j.ID), name)
	}
}

// lostMember is a travel that has begun in a cohort which is gone.
func (s *site) lostMember() journey {
	s.t.Helper()
	j, _ := s.begunTravel("cohort/"+newID()+"/0a1b2c3d", time.Time{})
	return j
}

// begunTravel is a travel that has begun, as its begin row says.
func (s *site) begunTravel(holder string, taken time.Time) (journey, barrier.BegunSaga) {
	s.t.Helper()
	j := journey{ID: newID()}
	state, err := json.Marshal(j)
	require.NoError(s.t, err)
	row := barrier.BegunSaga{SagaStart: holdfast.SagaStart{Name: "travel", Version: 1, Key: j.ID, State: state, Tokens: true},
		Content: sagas.ContentOf(state), Holder: holder, Taken: taken}
	_, err = barrier.BeginSaga(s.ctx(), s.orders, workflows.SagaID(s.at.Prefix, group, "travel", j.ID), row)
	require.NoError(s.t, err)
	return j, row
}

// A saga whose process died after it had taken it for a workflow, and before it had started that,
// goes on for whoever waits for it. Who only looks does not have it go on.
func TestTakenSagaOfADeadProcess(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	def := travel(local("a"), local("b"))
	w := s.agency(def)
	j, _ := s.begunTravel(barrier.HolderWorkflow, time.Now().Add(-time.Minute))
	h := worker.JoinSaga(w.Worker, def, j.ID)
	stands, err := h.State(s.ctx())
	require.NoError(t, err)
	require.Equal(t, core.StateRunning, stands.State)
	require.False(t, s.hasWorkflow(h.ID()))
	require.NoError(t, wait(s, h))
	require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, j.ID))
}

// A saga that ends, and its cohort with it, while it is looked at was not ended from outside.
func TestSagaThatEndsWhileItIsLookedAt(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	def := travel(local("a"))
	cohort := newID()
	j, row := s.begunTravel("cohort/"+cohort+"/0a1b2c3d", time.Time{})
	last, err := json.Marshal(core.State{Phase: core.Completed, Data: row.State,
		Steps: map[string]*core.StepState{"a": {Status: core.Done}}})
	require.NoError(t, err)
	var once sync.Once
	o := s.options()
	o.Temporal = s.dial(&cable{before: func(req any) {
		if d, is := req.(*workflowservice.DescribeWorkflowExecutionRequest); is && strings.HasSuffix(d.GetExecution().GetWorkflowId(), cohort) {
			once.Do(func() {
				require.NoError(t, barrier.EndSaga(s.ctx(), s.orders, workflows.SagaID(s.at.Prefix, group, "travel", j.ID), row, last))
			})
		}
	}})
	w := s.runWith(o, func(w *worker.Worker) { w.Saga(def) })
	stands, err := worker.JoinSaga(w.Worker, def, j.ID).State(s.ctx())
	require.NoError(t, err)
	require.Equal(t, core.StateCompleted, stands.State)
}

// While processes of the version before may run a saga's workflow, what is asked for is not done
// with its start: they do not know that.
func TestSagaOfALostCohortIsSteeredInARollingUpgrade(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), saga.Wait("approve", time.Hour))
	o := s.options()
	o.RollingUpgrade = true
	w := s.runWith(o, func(w *worker.Worker) { w.Saga(def) })
	ann := worker.By{Operator: "ann", Reason: "looked at the books"}
	for _, steer := range []func(h *worker.SagaHandle[journey]) error{
		func(h *worker.SagaHandle[journey]) error { return h.Pause(s.ctx(), ann) },
		func(h *worker.SagaHandle[journey]) error { return h.Compensate(s.ctx(), ann) },
	} {
		j, _ := s.begunTravel("cohort/"+newID()+"/0a1b2c3d", time.Time{})
		h := worker.JoinSaga(w.Worker, def, j.ID)
		require.NoError(t, steer(h))
		e, err := s.temporal.GetWorkflowHistory(s.ctx(), h.ID(), "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT).Next()
		require.NoError(t, err)
		var in sagas.Input
		require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(e.GetWorkflowExecutionStartedEventAttributes().GetInput(), &in))
		require.Equal(t, j.ID, in.Key)
		require.Nil(t, in.Asked)
		require.NotEqual(t, core.StateRunning, s.sagaStatus(h.ID()).State)
	}
}

// What an operator asks of a saga whose cohort is gone comes before its next step. What is not
// possible is refused, and looking at it changes nothing: neither has it go on.
func TestSagaOfALostCohortIsSteered(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	def := travel(local("a"), saga.Wait("approve", time.Hour), local("b"))
	w := s.agency(def)
	ann := worker.By{Operator: "ann", Reason: "looked at the books"}
	lost := func() (*worker.SagaHandle[journey], func() []string) {
		j := s.lostMember()
		return worker.JoinSaga(w.Worker, def, j.ID), func() []string { return s.logged(s.orders, j.ID) }
	}

	h, did := lost()
	require.NoError(t, h.Pause(s.ctx(), ann))
	require.Equal(t, core.StatePaused, s.sagaStatus(h.ID()).State)
	require.Empty(t, did())
	require.NoError(t, h.Resume(s.ctx(), ann))
	s.awaitStanding(h.ID(), core.StateWaiting)
	require.Equal(t, []string{"do a"}, did())

	h, did = lost()
	require.NoError(t, h.Skip(s.ctx(), "a", ann))
	require.NoError(t, h.Approve(s.ctx(), "approve", nil, ann))
	require.NoError(t, wait(s, h))
	require.Equal(t, []string{"do b"}, did())

	h, did = lost()
	require.NoError(t, h.Approve(s.ctx(), "approve", nil, ann))
	require.NoError(t, wait(s, h))
	require.Equal(t, []string{"do a", "do b"}, did())

	h, _ = lost()
	require.NoError(t, h.Refuse(s.ctx(), "approve", ann))
	stood(t, wait(s, h), holdfast.ErrSagaCompensated)

	h, did = lost()
	for why, do := range map[string]func(context.Context) error{
		"nothing to resume":    func(ctx context.Context) error { return h.Resume(ctx, ann) },
		"nothing to retry":     func(ctx context.Context) error { return h.Retry(ctx, "", ann) },
		"there is no step x":   func(ctx context.Context) error { return h.Retry(ctx, "x", ann) },
		`there is no step "x"`: func(ctx context.Context) error { return h.Skip(ctx, "x", ann) },
		`there is no wait "b"`: func(ctx context.Context) error { return h.Approve(ctx, "b", nil, ann) },
	} {
		err := do(s.ctx())
		require.ErrorIs(t, err, holdfast.ErrInvalid, why)
		require.ErrorContains(t, err, why)
	}
	stands, err := h.State(s.ctx())
	require.NoError(t, err)
	require.Equal(t, "terminated", stands.State)
	require.Contains(t, stands.Reason, "nobody drives it")
	ctx, cancel := context.WithCancel(s.ctx())
	cancel()
	_, err = h.Wait(ctx)
	require.ErrorIs(t, err, holdfast.ErrSagaPending)
	require.False(t, s.hasWorkflow(h.ID()))
	require.Empty(t, did())
	_, err = barrier.DoStep(s.ctx(), s.orders, h.ID(), "a", false, func(context.Context, *gorm.DB) ([]byte, error) { return []byte(`{}`), nil })
	require.NoError(t, err)
	require.ErrorContains(t, h.Skip(s.ctx(), "a", ann), "it is done")
	require.False(t, s.hasWorkflow(h.ID()))
}

// Who does not wait any more until a saga shares a workflow has not started it.
func TestSagaIsWithdrawnFromACohort(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	def := travel(local("a"))
	w := s.agency(def)
	release := w.HoldSagas()
	ctx, cancel := context.WithCancel(s.ctx())
	j, ended := journey{ID: newID()}, make(chan error, 1)
	go func() {
		_, err := worker.StartSaga(ctx, w.Worker, def, j)
		ended <- err
	}()
	until(t, "it gathers", func() bool { return w.GatheredSagas() == 1 })
	cancel()
	require.ErrorIs(t, next(t, ended), holdfast.ErrNotStored)
	require.Zero(t, w.GatheredSagas())
	require.Zero(t, w.SagasHere())
	release()
	require.Empty(t, s.logged(s.orders, j.ID))
}

// slowly is a travel whose step b waits for release where it is By slow, and tells began before.
func slowly(began chan struct{}, release <-chan struct{}) saga.Saga[journey] {
	return travel(local("a"), does("b", func(j *journey) error {
		if j.By == "slow" {
			tell(began)
			<-release
		}
		return nil
	}), local("c"))
}

// A slow member does not hold up those that start after it, nor the callers of the others, where
// another process runs their cohort.
func TestSlowMemberCostsTheOthersNothing(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	began, release := make(chan struct{}, 1), make(chan struct{})
	defer close(release)
	def := slowly(began, release)
	o := s.options()
	o.Temporal, o.Tuning.CohortsInFlight = s.dial(&cable{lazy: true}), 1
	patient := func(w *worker.Worker) { w.AwaitSagas(); w.CountSlowCohorts(time.Hour); w.Saga(def) } // no member leaves
	w := s.runWith(o, patient)
	o = s.options()
	o.Tuning.CohortsInFlight = 1
	other := s.runWith(o, patient)

	hs, errs, workflow := s.shareWorkflow(w, def, journey{ID: newID(), By: "ann"}, journey{ID: newID(), By: "slow"})
	require.NoError(t, errors.Join(errs...))
	<-began
	require.NoError(t, wait(s, hs[0]))
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: newID()})
	require.NoError(t, err)
	require.NoError(t, wait(s, h))
	require.True(t, s.running(workflow))

	hs, errs, workflow = s.shareWorkflow(other, def, journey{ID: newID(), By: "ann"}, journey{ID: newID(), By: "slow"})
	require.NoError(t, errors.Join(errs...))
	<-began
	require.NoError(t, wait(s, hs[0]))
	h, err = worker.StartSaga(s.ctx(), other.Worker, def, journey{ID: newID()})
	require.NoError(t, err)
	require.NoError(t, wait(s, h))
	require.True(t, s.running(workflow))
}

// running reports whether a workflow has not ended.
func (s *site) running(workflow string) bool {
	s.t.Helper()
	d, err := s.temporal.DescribeWorkflow(s.ctx(), workflow, "")
	require.NoError(s.t, err)
	return d.Status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
}

// A process runs no more sagas than it may: who starts another waits, and is told by which limit.
func TestMaxSagas(t *testing.T) {
	inBothWays(t, func(t *testing.T, s *site, quickTravel quickly) {
		began, release := make(chan struct{}, 1), make(chan struct{})
		def := slowly(began, release)
		def.Lane = quickTravel(local("a")).Lane
		o := s.options()
		o.Tuning.MaxSagas = 2
		w := s.runWith(o, func(w *worker.Worker) { w.AwaitSagas(); w.Saga(def) })
		var slow []*worker.SagaHandle[journey]
		for range 2 {
			j := journey{ID: newID(), By: "slow"}
			go func() { _, _ = worker.StartSaga(s.ctx(), w.Worker, def, j) }()
			<-began
			slow = append(slow, worker.JoinSaga(w.Worker, def, j.ID))
		}
		ctx, cancel := context.WithTimeout(s.ctx(), 50*time.Millisecond)
		defer cancel()
		late := journey{ID: newID()}
		_, err := worker.StartSaga(ctx, w.Worker, def, late)
		require.ErrorIs(t, err, holdfast.ErrNotStored)
		require.ErrorContains(t, err, "Tuning.MaxSagas")
		ended := make(chan error, 1)
		go func() {
			h, err := worker.StartSaga(s.ctx(), w.Worker, def, late)
			if err == nil {
				_, err = h.Wait(s.ctx())
			}
			ended <- err
		}()
		require.Equal(t, 2, w.SagasHere())
		close(release)
		require.NoError(t, next(t, ended))
		for _, h := range slow {
			require.NoError(t, wait(s, h))
		}
		until(t, "all have given their room back", func() bool { return w.SagaRoom() == 2 })
	})
}

// Who has joined a start that was given up while it gathered starts the saga then.
func TestStartOfACohortThatIsJoinedIsWithdrawn(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	def := travel(local("a"))
	w := s.agency(def)
	release := w.HoldSagas()
	ctx, cancel := context.WithCancel(s.ctx())
	j, ended := journey{ID: newID()}, make(chan error, 2)
	start := func(ctx context.Context) {
		_, err := worker.StartSaga(ctx, w.Worker, def, j)
		ended <- err
	}
	go start(ctx)
	until(t, "it gathers", func() bool { return w.GatheredSagas() == 1 })
	go start(s.ctx())
	until(t, "another caller joins it", func() bool { return w.SagaCallers(workflows.SagaID(s.at.Prefix, group, "travel", j.ID)) == 2 })
	cancel()
	require.ErrorIs(t, next(t, ended), holdfast.ErrNotStored)
	until(t, "it gathers again", func() bool { return w.GatheredSagas() == 1 })
	release()
	require.NoError(t, next(t, ended))
	require.NoError(t, wait(s, worker.JoinSaga(w.Worker, def, j.ID)))
	require.Equal(t, []string{"do a"}, s.logged(s.orders, j.ID))
}

// A process that ends in the middle of a round leaves its members to another one.
func TestProcessOfACohortEnds(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	began, release := make(chan struct{}, 1), make(chan struct{})
	def := slowly(began, release)
	w := s.agency(def)
	all := []journey{{ID: newID(), By: "ann"}, {ID: newID(), By: "slow"}, {ID: newID(), By: "eve"}}
	_, errs, _ := s.shareWorkflow(w, def, all...)
	require.NoError(t, errors.Join(errs...))
	<-began
	stopped := make(chan error, 1)
	go func() { w.stop(); stopped <- nil }()
	until(t, "it stops", func() bool {
		ctx, cancel := context.WithTimeout(s.ctx(), time.Second)
		defer cancel()
		_, err := worker.StartSaga(ctx, w.Worker, def, journey{ID: newID()})
		return errors.Is(err, holdfast.ErrNotRunning)
	})
	close(release)
	require.NoError(t, next(t, stopped))
	other := s.agency(def)
	for _, j := range all {
		require.NoError(t, wait(s, worker.JoinSaga(other.Worker, def, j.ID)))
		require.Equal(t, []string{"do a", "do b", "do c"}, s.logged(s.orders, j.ID))
	}
}

// Two processes that are not of one mind, one of which gives each saga its own workflow, take one
// key for one saga: each step is done once.
func TestKeyInACohortAndInAWorkflow(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	def := travel(local("a"), local("b"), local("c"))
	w := s.agency(def)
	s.cohorts = false
	other := s.agency(def)
	for range 5 {
		j := journey{ID: newID()}
		ended := make(chan error, 2)
		for _, at := range []*running{w, other} {
			go func() {
				h, err := worker.StartSaga(s.ctx(), at.Worker, def, j)
				if err == nil {
					_, err = h.Wait(s.ctx())
				}
				ended <- err
			}()
		}
		require.NoError(t, errors.Join(next(t, ended), next(t, ended)))
		require.ElementsMatch(t, []string{"do a", "do b", "do c"}, s.logged(s.orders, j.ID))
	}
}
