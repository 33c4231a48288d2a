package worker_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
)

// sender runs a process that only sends: what it starts has a workflow.
func (s *site) sender() *running {
	o := s.options()
	sendOnly(&o)
	return s.runWith(o, func(*worker.Worker) {})
}

// slow is a local step that is under way until release is closed, and its start is told.
func slow(name string, began chan<- struct{}, release <-chan struct{}) saga.StepDef {
	return does(name, func(*journey) error {
		tell(began)
		<-release
		return nil
	})
}

func tell(began chan<- struct{}) {
	select {
	case began <- struct{}{}:
	default: // it is told already
	}
}

// A workflow that another process starts takes the saga over from the process that drives
// it: none of the two does what the other does.
func TestWorkflowTakesAnExpressSagaOver(t *testing.T) {
	inBothWays(t, testWorkflowTakesAnExpressSagaOver)
}

func testWorkflowTakesAnExpressSagaOver(t *testing.T, s *site, quickTravel quickly) {
	began, release := make(chan struct{}, 1), make(chan struct{})
	def := quickTravel(local("a"), slow("b", began, release), seat(), local("c"))
	def.OneByOne = true
	w := s.agency(def)
	s.participants(s.seats(nil))
	j := journey{ID: newID()}
	express, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	<-began
	other, err := worker.StartSaga(s.ctx(), s.sender().Worker, def, j)
	require.NoError(t, err)
	require.True(t, s.hasWorkflow(other.ID()))
	close(release)
	for _, h := range []*worker.SagaHandle[journey]{express, other} {
		got, err := h.Wait(s.ctx())
		require.NoError(t, err)
		require.Equal(t, journey{ID: j.ID, Seat: "4a"}, got)
	}
	require.Equal(t, []string{"do a", "do b", "do c"}, s.logged(s.orders, j.ID))
	require.Equal(t, []string{"do seat"}, s.logged(s.effects, j.ID))
	w.stop()
	require.LessOrEqual(t, s.drained(), 0)
}

// One that has completed in the Express lane stays so, whoever starts it again, with
// whatever its steps would come to now.
func TestWorkflowOfACompletedExpressSaga(t *testing.T) {
	inBothWays(t, testWorkflowOfACompletedExpressSaga)
}

func testWorkflowOfACompletedExpressSaga(t *testing.T, s *site, quickTravel quickly) {
	var soldOut atomic.Bool
	steps := []saga.Step[journey]{local("a"), seat(), local("b")}
	w := s.agency(quickTravel(steps...))
	s.participants(s.seats(func(journey) error {
		if soldOut.Load() {
			return saga.Refuse("sold out")
		}
		return nil
	}))
	j, err := s.travels(w, quickTravel(steps...))
	require.NoError(t, err)
	soldOut.Store(true)
	require.NoError(t, s.effects.Exec("DELETE FROM holdfast_steps WHERE owner LIKE '%'||?", j.ID).Error)

	h, err := worker.StartSaga(s.ctx(), s.sender().Worker, quickTravel(steps...), journey{ID: j.ID})
	require.NoError(t, err)
	got, err := h.Wait(s.ctx())
	require.NoError(t, err)
	require.Equal(t, j, got)
	status := s.sagaStatus(h.ID())
	require.Equal(t, 1, status.Core.Steps["a"].Tries)
	require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, j.ID))

	require.NoError(t, h.Compensate(s.ctx(), worker.By{Operator: "ann", Reason: "changed her mind"}))
	stood(t, wait(s, h), holdfast.ErrSagaCompensated)
	row, err := barrier.ReadBegun(t.Context(), s.orders, h.ID())
	require.NoError(t, err)
	require.Equal(t, barrier.HolderWorkflow, row.Holder, "nobody finds it completed any more")
}

// What another start or an operator has made of a saga is what a second start of the key
// finds: it drives nothing.
func TestExpressStartOfASagaThatHasItsWorkflow(t *testing.T) {
	inBothWays(t, testExpressStartOfASagaThatHasItsWorkflow)
}

func testExpressStartOfASagaThatHasItsWorkflow(t *testing.T, s *site, quickTravel quickly) {
	var fails atomic.Bool
	fails.Store(true)
	def := quickTravel(local("a"), does("b", func(*journey) error {
		if fails.Load() {
			return saga.Refuse("no room")
		}
		return nil
	}), local("c"))
	w, other := s.agency(def), s.agency(def)
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	stood(t, wait(s, h), holdfast.ErrSagaCompensated)
	fails.Store(false)
	again, err := worker.StartSaga(s.ctx(), other.Worker, def, j)
	require.NoError(t, err)
	stood(t, wait(s, again), holdfast.ErrSagaCompensated)
	require.Equal(t, []string{"do a", "undo a"}, s.logged(s.orders, j.ID))
}

// Who took the saga for a workflow, and died before it was started: the process that drove
// the saga starts it.
func TestExpressSagaThatWasTakenForNothing(t *testing.T) {
	inBothWays(t, testExpressSagaThatWasTakenForNothing)
}

func testExpressSagaThatWasTakenForNothing(t *testing.T, s *site, quickTravel quickly) {
	began, release := make(chan struct{}, 1), make(chan struct{})
	def := quickTravel(local("a"), saga.Choose("way", saga.Pick(func(journey) string {
		tell(began)
		<-release
		return "up"
	}), saga.Case("up", local("b"))), local("c"))
	w := s.agency(def)
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	<-began
	row, err := barrier.ReadBegun(t.Context(), s.orders, h.ID())
	require.NoError(t, err)
	_, took, err := barrier.TakeSaga(t.Context(), s.orders, h.ID(), "", row, time.Minute)
	require.NoError(t, err)
	require.True(t, took)
	require.False(t, s.hasWorkflow(h.ID()))
	close(release)
	require.NoError(t, wait(s, h))
	require.True(t, s.hasWorkflow(h.ID()))
	require.Equal(t, core.StateCompleted, s.sagaStatus(h.ID()).State)
	require.Equal(t, []string{"do a", "do b", "do c"}, s.logged(s.orders, j.ID))
}

// A key that was used in the Express lane is another saga's for a workflow, too: it ends, and
// nothing of that saga is touched.
func TestWorkflowOfAnotherSagaWithTheKey(t *testing.T) {
	inBothWays(t, testWorkflowOfAnotherSagaWithTheKey)
}

func testWorkflowOfAnotherSagaWithTheKey(t *testing.T, s *site, quickTravel quickly) {
	def := quickTravel(local("a"), local("b"))
	w := s.agency(def)
	j, err := s.travels(w, def)
	require.NoError(t, err)
	h, err := worker.StartSaga(s.ctx(), s.sender().Worker, def, journey{ID: j.ID, Price: 7})
	require.NoError(t, err)
	require.ErrorIs(t, wait(s, h), holdfast.ErrDuplicate)
	require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, j.ID))

	joined := worker.JoinSaga(w.Worker, def, j.ID)
	got, err := joined.Wait(s.ctx())
	require.NoError(t, err)
	require.Equal(t, j, got)
	require.NoError(t, joined.Compensate(s.ctx(), worker.By{Operator: "ann", Reason: "changed her mind"}))
	stood(t, wait(s, joined), holdfast.ErrSagaCompensated)
	require.Equal(t, []string{"do a", "do b", "undo b", "undo a"}, s.logged(s.orders, j.ID))
}

// What has completed by an earlier version stays so.
func TestNextVersionOfACompletedExpressSaga(t *testing.T) {
	inBothWays(t, testNextVersionOfACompletedExpressSaga)
}

func testNextVersionOfACompletedExpressSaga(t *testing.T, s *site, quickTravel quickly) {
	first := quickTravel(local("a"), local("b"))
	next := quickTravel(local("a"), does("c", func(*journey) error { return saga.Refuse("no room") }))
	next.Version = 2
	w := s.agency(first, next)
	j, err := s.travels(w, first)
	require.NoError(t, err)
	h, err := worker.StartSaga(s.ctx(), s.sender().Worker, next, journey{ID: j.ID})
	require.NoError(t, err)
	require.NoError(t, wait(s, h))
	require.Equal(t, 1, s.sagaStatus(h.ID()).Version)
	require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, j.ID))
	require.NoError(t, h.Compensate(s.ctx(), worker.By{Operator: "ann", Reason: "no more"}))
	stood(t, wait(s, h), holdfast.ErrSagaCompensated)
	require.Equal(t, []string{"do a", "do b", "undo b", "undo a"}, s.logged(s.orders, j.ID))
}

// A sub-saga whose lane is Express is run by a workflow, which has its begin row.
func TestSubSagaOfTheExpressLane(t *testing.T) { inBothWays(t, testSubSagaOfTheExpressLane) }

func testSubSagaOfTheExpressLane(t *testing.T, s *site, quickTravel quickly) {
	sub := quickTravel(local("b"))
	sub.Name = "leg"
	def := travel(local("a"), saga.Sub("leg", sub),
		does("c", func(*journey) error { return saga.Refuse("no room") }))
	w := s.agency(def)
	id := newID()
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: id})
	require.NoError(t, err)
	stood(t, wait(s, h), holdfast.ErrSagaCompensated)
	require.Equal(t, []string{"do a", "do b", "undo b", "undo a"}, s.logged(s.orders, id))
	var rows int64
	require.NoError(t, s.orders.Raw("SELECT count(*) FROM holdfast_steps WHERE step = '' AND owner LIKE '%leg%'").Scan(&rows).Error)
	require.EqualValues(t, 1, rows)
}

// A process that is held up between two steps, and finds its saga undone when it goes on, does
// nothing more.
func TestExpressSagaThatIsUndoneMeanwhile(t *testing.T) {
	inBothWays(t, testExpressSagaThatIsUndoneMeanwhile)
}

func testExpressSagaThatIsUndoneMeanwhile(t *testing.T, s *site, quickTravel quickly) {
	began, release := make(chan struct{}, 1), make(chan struct{})
	var held atomic.Bool
	def := quickTravel(local("a"), saga.Choose("way", saga.Pick(func(journey) string {
		if held.CompareAndSwap(false, true) {
			tell(began)
			<-release
			return "up"
		}
		return "down"
	}), saga.Otherwise(does("down", func(*journey) error { return saga.Refuse("no way") })), saga.Case("up", saga.Local("b", func(_ context.Context, tx *gorm.DB, j *journey) error {
		return write(tx, j.ID, "do b")
	}, nil).NoUndo())), local("c"))
	w, other := s.agency(def), s.agency(def)
	id := newID()
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: id})
	require.NoError(t, err)
	<-began
	joined := worker.JoinSaga(other.Worker, def, id)
	require.NoError(t, joined.Compensate(s.ctx(), worker.By{Operator: "ann", Reason: "no more"}))
	stood(t, wait(s, joined), holdfast.ErrSagaCompensated)
	close(release)
	stood(t, wait(s, h), holdfast.ErrSagaCompensated)
	require.Equal(t, []string{"do a", "undo a"}, s.logged(s.orders, id))
}

// A workflow that takes a saga over undoes also what it has never begun itself.
func TestWorkflowUndoesWhatTheProcessDid(t *testing.T) {
	inBothWays(t, testWorkflowUndoesWhatTheProcessDid)
}

func testWorkflowUndoesWhatTheProcessDid(t *testing.T, s *site, quickTravel quickly) {
	began, release := make(chan struct{}, 1), make(chan struct{})
	def := quickTravel(local("a"), seat(), local("b"), saga.Choose("held", saga.Pick(func(journey) string {
		tell(began)
		<-release
		return ""
	}), saga.Otherwise(local("c"))))
	w, seats := s.agency(def), s.participants(s.seats(nil))
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	<-began
	seats.stop()
	other, err := worker.StartSaga(s.ctx(), s.sender().Worker, def, j)
	require.NoError(t, err)
	until(t, "the workflow waits for the participant", func() bool {
		at := s.sagaStatus(other.ID()).Core.Steps["seat"]
		return at != nil && at.Tries > 0
	})
	require.NoError(t, other.Compensate(s.ctx(), worker.By{Operator: "ann", Reason: "no more"}))
	s.participants(s.seats(nil))
	stood(t, wait(s, other), holdfast.ErrSagaCompensated)
	close(release)
	stood(t, wait(s, h), holdfast.ErrSagaCompensated)
	require.Equal(t, []string{"do a", "do b", "undo b", "undo a"}, s.logged(s.orders, j.ID))
	require.Equal(t, []string{"do seat", "undo seat"}, s.logged(s.effects, j.ID))
}
