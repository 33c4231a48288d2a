package worker_test

import (
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// fork is a saga of which two drivers would go two ways: nothing but who drives it decides how often
// pick is asked. The first to be asked waits for release.
type fork struct {
	began, release chan struct{}
	asked          atomic.Int32
}

func newFork() *fork { return &fork{began: make(chan struct{}, 1), release: make(chan struct{})} }

func (f *fork) saga(first ...saga.Step[journey]) saga.Saga[journey] {
	return travel(append(first, saga.Choose("way", saga.Pick(func(journey) string {
		if f.asked.Add(1) == 1 {
			tell(f.began)
			<-f.release
			return "up"
		}
		return "down"
	}), saga.Case("up", local("b")), saga.Otherwise(local("d"))), local("c"))...)
}

// startOld starts the workflow of a saga as an earlier version did, which knew no begin row.
func (s *site) startOld(def saga.Saga[journey], j journey) string {
	s.t.Helper()
	c, err := def.Compile()
	require.NoError(s.t, err)
	data, err := json.Marshal(j)
	require.NoError(s.t, err)
	id := workflows.SagaID(s.at.Prefix, group, def.Name, j.ID)
	in := sagas.Input{ID: id, Group: group, Prefix: s.at.Prefix, Name: def.Name, Key: j.ID, Plan: &c.Plan, Version: 1,
		Data: data, Tokens: true}
	_, _, err = sagas.Start(s.ctx(), s.temporal, sagas.StartConfig{Prefix: s.at.Prefix, Fresh: true}, in)
	require.NoError(s.t, err)
	return id
}

// A saga that an earlier version has begun knows no begin row. Who starts it again joins it, while it
// is open and after its end, and is refused where it means another saga.
func TestSagaThatAnEarlierVersionBegan(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	f := newFork()
	def := f.saga(local("a"))
	w, other := s.patientAgency(def), s.patientAgency(def)
	j := journey{ID: newID()}
	id := s.startOld(def, j)
	<-f.began
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	require.Equal(t, id, h.ID())
	_, err = worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: j.ID, Price: 7})
	require.ErrorIs(t, err, holdfast.ErrDuplicate)
	close(f.release)
	require.NoError(t, wait(s, h))
	again, err := worker.StartSaga(s.ctx(), other.Worker, def, j)
	require.NoError(t, err)
	require.NoError(t, wait(s, again))
	require.EqualValues(t, 1, f.asked.Load())
	require.Equal(t, []string{"do a", "do b", "do c"}, s.logged(s.orders, j.ID))
	_, err = barrier.ReadBegun(s.ctx(), s.orders, id)
	require.ErrorIs(t, err, holdfast.ErrNotFound)
}

// A workflow that is started after the saga was looked for, and before it begins in its cohort: by a
// process that gives each saga its own, and by one beside which an earlier version runs.
func TestWorkflowThatStartsWhileASagaGathers(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*worker.Options){
		"MaxSagaCohort 1": func(o *worker.Options) { o.Tuning.MaxSagaCohort = 1 },
		"RollingUpgrade":  func(o *worker.Options) { o.RollingUpgrade = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sagaSite(t)
			s.cohorts = true
			f := newFork()
			def := f.saga() // no local step comes first: its row would tell
			o := s.options()
			patiently := func(w *worker.Worker) { w.AwaitSagas(); w.Saga(def) }
			w := s.runWith(o, patiently)
			change(&o)
			other := s.runWith(o, patiently)
			j := journey{ID: newID()}
			release := w.HoldSagas()
			ended := make(chan error, 1)
			go func() {
				h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
				if err == nil {
					err = wait(s, h)
				}
				ended <- err
			}()
			until(t, "it gathers", func() bool { return w.GatheredSagas() == 1 })
			h, err := worker.StartSaga(s.ctx(), other.Worker, def, j)
			require.NoError(t, err)
			<-f.began
			release()
			until(t, "the member finds the workflow", func() bool { return w.SagasHere() == 0 })
			require.Empty(t, s.logged(s.orders, j.ID))
			close(f.release)
			require.NoError(t, errors.Join(wait(s, h), next(t, ended)))
			require.EqualValues(t, 1, f.asked.Load())
			require.Equal(t, []string{"do b", "do c"}, s.logged(s.orders, j.ID))
		})
	}
}

// A workflow that is started after its saga has begun in a cohort takes it over, whatever
// MaxSagaCohort its process has.
func TestWorkflowThatStartsAfterASagaBegan(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	f := newFork()
	def := f.saga(local("a"))
	w := s.patientAgency(def)
	s.cohorts = false
	other := s.patientAgency(def)
	j := journey{ID: newID()}
	first, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	<-f.began
	second, err := worker.StartSaga(s.ctx(), other.Worker, def, j)
	require.NoError(t, err)
	require.NoError(t, wait(s, second))
	close(f.release)
	require.NoError(t, wait(s, first))
	require.Equal(t, []string{"do a", "do d", "do c"}, s.logged(s.orders, j.ID))
}

// Where Temporal does not say whether the saga has a workflow, nothing is begun.
func TestSagaThatCannotBeLookedFor(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	def := travel(local("a"))
	var cut atomic.Bool
	o := s.options()
	o.Temporal = s.dial(&cable{refuse: func(req any) bool {
		_, looks := req.(*workflowservice.DescribeWorkflowExecutionRequest)
		return looks && cut.Load()
	}})
	w := s.runWith(o, func(w *worker.Worker) { w.Saga(def) })
	cut.Store(true)
	j := journey{ID: newID()}
	_, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.ErrorIs(t, err, holdfast.ErrNotStored)
	require.Zero(t, w.SagasHere())
	require.Zero(t, w.GatheredSagas())
	_, err = barrier.ReadBegun(s.ctx(), s.orders, workflows.SagaID(s.at.Prefix, group, "travel", j.ID))
	require.ErrorIs(t, err, holdfast.ErrNotFound)
	cut.Store(false)
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	require.NoError(t, wait(s, h))
	require.Equal(t, []string{"do a"}, s.logged(s.orders, j.ID))
}

// Unless somebody says otherwise, sagas share workflows that have a local step. Others do not: a process of
// the group may have them, and no database.
func TestSagasShareWorkflowsByDefault(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def, calls := travel(local("a"), seat()), travel(seat())
	calls.Name = "calls"
	o := s.options()
	o.Tuning.MaxSagaCohort = 0
	w := s.runWith(o, func(w *worker.Worker) { w.AwaitSagas(); w.Saga(def); w.Saga(calls) })
	s.participants(s.seats(nil))
	for _, x := range []struct {
		def saga.Saga[journey]
		own bool
	}{{def, false}, {calls, true}} {
		h, err := worker.StartSaga(s.ctx(), w.Worker, x.def, journey{ID: newID()})
		require.NoError(t, err)
		require.NoError(t, wait(s, h))
		require.Equal(t, x.own, s.hasWorkflow(h.ID()), x.def.Name)
	}
}

// A process that has no begin rows, as one that only sends, finds a saga that has run in a cohort by
// that.
func TestSagaOfACohortForASender(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	def := travel(local("a"), local("b"))
	w := s.patientAgency(def)
	sender := s.sender()
	all := []journey{{ID: newID()}, {ID: newID()}}
	hs, errs, workflow := s.shareWorkflow(w, def, all...)
	require.NoError(t, errors.Join(errs...))
	s.cohortResult(workflow)
	for i, h := range hs {
		require.NoError(t, wait(s, h))
		joined := worker.JoinSaga(sender.Worker, def, all[i].ID)
		require.False(t, s.hasWorkflow(joined.ID()))
		got, err := joined.Wait(s.ctx())
		require.NoError(t, err)
		require.Equal(t, all[i], got)
		stands, err := joined.State(s.ctx())
		require.NoError(t, err)
		require.Equal(t, holdfast.SagaCompleted, stands.State)
	}
	last := worker.JoinSaga(sender.Worker, def, all[1].ID)
	require.NoError(t, last.Compensate(s.ctx(), worker.By{Operator: "ann", Reason: "no more"}))
	stood(t, wait(s, last), holdfast.ErrSagaCompensated)
	require.Equal(t, []string{"do a", "do b", "undo b", "undo a"}, s.logged(s.orders, all[1].ID))
	require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, all[0].ID))
	require.ErrorIs(t, wait(s, worker.JoinSaga(sender.Worker, def, newID())), holdfast.ErrNotFound)
}

// With TrustBeginRows no saga is looked for in Temporal. Its begin row tells of what was begun in a
// cohort, and of what a workflow of its own has taken.
func TestTrustBeginRows(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	f := newFork()
	def := f.saga(local("a"))
	var looks atomic.Int32
	o := s.options()
	o.TrustBeginRows = true
	o.Temporal = s.dial(&cable{before: func(req any) {
		look, _ := req.(*workflowservice.DescribeWorkflowExecutionRequest)
		id := look.GetExecution().GetWorkflowId()
		known, _ := workflows.ParseID(id)
		if known.Undo || known.Kind != workflows.KindSaga {
			return
		}
		if _, err := barrier.ReadBegun(s.ctx(), s.orders, id); errors.Is(err, holdfast.ErrNotFound) {
			looks.Add(1)
		}
	}})
	register := func(w *worker.Worker) { w.AwaitSagas(); w.Saga(def) }
	w, other := s.runWith(o, register), s.runWith(o, register)
	s.cohorts = false
	own := s.patientAgency(def)
	for _, first := range []*running{other, own} {
		f.asked.Store(0)
		j := journey{ID: newID()}
		started, err := worker.StartSaga(s.ctx(), first.Worker, def, j)
		require.NoError(t, err)
		<-f.began
		id := workflows.SagaID(s.at.Prefix, group, "travel", j.ID)
		_, err = barrier.ReadBegun(s.ctx(), s.orders, id)
		require.NoError(t, err)
		joined, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
		require.NoError(t, err)
		f.release <- struct{}{}
		require.NoError(t, errors.Join(wait(s, started), wait(s, joined)))
		require.Equal(t, []string{"do a", "do b", "do c"}, s.logged(s.orders, j.ID))
		_, err = worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: j.ID, Price: 7})
		require.ErrorIs(t, err, holdfast.ErrDuplicate)
	}
	require.Zero(t, looks.Load())
	s.asked(s.broker(), "two that trust, and one that does not", func(answers []broker.ProcessStatus) bool {
		trusting := 0
		for _, p := range answers {
			if len(p.Sagas) > 0 && p.Sagas[0].TrustsRows {
				trusting++
			}
		}
		return len(answers) == 3 && trusting == 2
	})

	o.RollingUpgrade = true
	_, err := worker.New(o)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.ErrorContains(t, err, "unset TrustBeginRows")
}
