package worker_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

func TestSagaGoesForwardAfterThePivot(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	var tries atomic.Int32
	def := travel(local("a").AsPivot(), does("b", func(*journey) error {
		if tries.Add(1) <= 7 { // more than a step before the pivot would be tried
			return errOops
		}
		return nil
	}).Retry(saga.Retry{First: time.Millisecond, Max: time.Millisecond}))
	w := s.agency(def)
	j, err := s.travels(w, def)
	require.NoError(t, err)
	require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, j.ID))
}

func TestSagaStepThatFailsOnce(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	var tries atomic.Int32
	def := travel(does("a", func(*journey) error {
		if tries.Add(1) == 1 {
			panic("slipped")
		}
		return nil
	}).Retry(saga.Retry{First: time.Millisecond}))
	w := s.agency(def)
	j, err := s.travels(w, def)
	require.NoError(t, err)
	require.Equal(t, []string{"do a"}, s.logged(s.orders, j.ID))
}

func TestSagaInParallelAndByChoice(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(
		saga.Parallel("both", does("a", func(j *journey) error { j.Room = "12"; return nil }), seat(), saga.Sequence("then", local("b"), local("c"))),
		saga.Choose("how", saga.Pick(func(j journey) string { return j.By }),
			saga.Case("train", local("train")), saga.Otherwise(local("walk"))),
		local("late").When(saga.If(func(j journey) bool { return j.Price > 100 })),
		local("end"),
	)
	w := s.agency(def)
	s.participants(s.seats(nil))
	j, err := s.travels(w, def, func(j *journey) { j.By = "train" })
	require.NoError(t, err)
	require.Equal(t, "12 4a", j.Room+" "+j.Seat)
	log := s.logged(s.orders, j.ID)
	slices.Sort(log[:3])
	require.Equal(t, []string{"do a", "do b", "do c", "do train", "do end"}, log)

	j, err = s.travels(w, def, func(j *journey) { j.By, j.Price = "mule", 200 })
	require.NoError(t, err)
	require.Equal(t, []string{"do walk", "do late", "do end"}, s.logged(s.orders, j.ID)[3:])
}

// An activity of the user's runs in the group's own workers.
func TestSagaRunsAnActivity(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), saga.Activity("book", "BookCar", "").NoUndo().Receive(saga.Into(func(j *journey, car string) error {
		j.By = car
		return nil
	})), local("b"))
	w := s.runWith(s.options(), func(w *worker.Worker) {
		w.Saga(def)
		w.Activity("BookCar", func(_ context.Context, in saga.ActivityInput) (string, error) { return in.Step + " a car", nil })
	})
	j, err := s.travels(w, def)
	require.NoError(t, err)
	require.Equal(t, "book a car", j.By)
	id := workflows.SagaID(s.at.Prefix, group, def.Name, j.ID)
	require.NoError(t, s.temporal.GetWorkflow(s.ctx(), id, "").Get(s.ctx(), nil), "it is recorded")
	require.Equal(t, []string{"SagaOwn", "a", "input of book", "result of book", "b"}, slices.Compact(s.localsOf(id)), "as Temporal's UI shows them")
	require.Equal(t, []string{"BookCar"}, slices.Compact(s.activitiesOf(id)), "as often as it had to be tried")
}

// While processes of an earlier version run, and where an activity of the user's has a
// step's name, a saga's activities have the names that every process knows.
func TestSagaNamesOfSteps(t *testing.T) {
	t.Parallel()
	plan := core.Plan{Name: "travel", Steps: []core.Step{{Name: "a", Kind: core.Local}, {Name: "ok", Kind: core.Wait}}}
	for name, c := range map[string]struct {
		rolling  bool
		activity string
		want     bool
	}{
		"as it is":                   {false, "BookCar", true},
		"a rolling upgrade":          {true, "BookCar", false},
		"an activity called a":       {false, "a", false},
		"an activity called as wait": {false, "ok", true},
	} {
		w, err := worker.New(worker.Options{Group: group, AMQPURL: "amqp://127.0.0.1:1", RollingUpgrade: c.rolling})
		require.NoError(t, err)
		w.Activity(c.activity, func() error { return nil })
		require.Equal(t, c.want, w.NamesSteps(plan), name)
	}
}

func TestSagaWaitsForAnAnswer(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), saga.Wait("approve", 0).Receive(saga.Into(func(j *journey, price int) error {
		j.Price = price
		return nil
	})), local("b"))
	w := s.agency(def)
	start := func() (*worker.SagaHandle[journey], string) {
		id := newID()
		h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: id})
		require.NoError(t, err)
		return h, id
	}

	h, id := start()
	require.NoError(t, h.Approve(s.ctx(), "approve", 42, worker.By{Operator: "ann", Reason: "fair"}))
	j, err := h.Wait(s.ctx())
	require.NoError(t, err)
	require.Equal(t, 42, j.Price)
	require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, id))
	require.ErrorIs(t, h.Approve(s.ctx(), "approve", 43, worker.By{Operator: "ann", Reason: "again"}), holdfast.ErrAnswered)

	h, id = start()
	require.ErrorIs(t, h.Approve(s.ctx(), "b", nil, worker.By{Operator: "ann", Reason: "fair"}), holdfast.ErrInvalid, "that is no wait")
	require.ErrorIs(t, h.Approve(s.ctx(), "approve", nil, worker.By{Operator: "", Reason: ""}), holdfast.ErrInvalid, "who and why?")
	require.ErrorIs(t, h.Approve(s.ctx(), "approve", func() {}, worker.By{Operator: "ann", Reason: "fair"}), holdfast.ErrInvalid)
	require.NoError(t, h.Refuse(s.ctx(), "approve", worker.By{Operator: "ann", Reason: "too dear"}))
	_, err = h.Wait(s.ctx())
	e := stood(t, err, holdfast.ErrSagaCompensated)
	require.True(t, e.Refused)
	require.Equal(t, "approve", e.Step)
	require.Contains(t, e.Reason, "too dear")
	require.Equal(t, []string{"do a", "undo a"}, s.logged(s.orders, id))
	require.ErrorIs(t, worker.JoinSaga(w.Worker, def, "nobody").Approve(s.ctx(), "approve", 1, worker.By{Operator: "ann", Reason: "fair"}), holdfast.ErrNotFound)
}

func TestSagaWaitsTooLong(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), saga.Wait("approve", time.Second))
	w := s.agency(def)
	j, err := s.travels(w, def)
	e := stood(t, err, holdfast.ErrSagaCompensated)
	require.False(t, e.Refused)
	require.Equal(t, "approve", e.Step)
	require.Equal(t, []string{"do a", "undo a"}, s.logged(s.orders, j.ID))
}

func TestSagaInASaga(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	var closed atomic.Bool
	inner := saga.Saga[journey]{Name: "stay", Steps: []saga.Step[journey]{local("in"), does("out", func(j *journey) error {
		j.Room = "12"
		return nil
	})}}
	def := travel(local("a"), saga.Sub("stay", inner).Receive(saga.Into(func(j *journey, in journey) error {
		j.Room = in.Room
		return nil
	})), does("b", func(*journey) error {
		if closed.Load() {
			return saga.Refuse("closed")
		}
		return nil
	}))
	w := s.agency(def)
	j, err := s.travels(w, def)
	require.NoError(t, err)
	require.Equal(t, "12", j.Room)
	require.Equal(t, []string{"do a", "do in", "do out", "do b"}, s.logged(s.orders, j.ID))

	closed.Store(true)
	j, err = s.travels(w, def)
	stood(t, err, holdfast.ErrSagaCompensated)
	require.Equal(t, []string{"do a", "do in", "do out", "undo out", "undo in", "undo a"}, s.logged(s.orders, j.ID))
}

func TestSagaSteered(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), saga.Wait("approve", 0), does("b", func(*journey) error { return saga.Refuse("never") }).Park(), local("c"))
	w := s.agency(def)
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	status, err := s.steer(h.ID(), sagas.UpdatePause)
	require.NoError(t, err)
	require.Equal(t, core.StatePaused, status.State)
	require.NoError(t, h.Approve(s.ctx(), "approve", nil, worker.By{Operator: "ann", Reason: "fair"}))
	_, err = s.steer(h.ID(), sagas.UpdatePause)
	require.ErrorContains(t, err, "paused already")
	require.Equal(t, []string{"do a"}, s.logged(s.orders, j.ID))
	_, err = s.steer(h.ID(), sagas.UpdateResume)
	require.NoError(t, err)
	_, err = h.Wait(s.ctx())
	require.Equal(t, "b", stood(t, err, holdfast.ErrSagaParked).Step)
	_, err = s.steer(h.ID(), sagas.UpdateSkip, func(r *sagas.Request) { r.Step = "b" })
	require.NoError(t, err)
	_, err = h.Wait(s.ctx())
	require.NoError(t, err)
	require.Equal(t, []string{"do a", "do c"}, s.logged(s.orders, j.ID))
}

// TestSagaOnItsHappyPathShowsNothing in a search attribute, each of which costs: not
// for a wait that is not needed, either.
func TestSagaOnItsHappyPathShowsNothing(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), seat(), saga.Wait("approve", 0).When(saga.If(func(j journey) bool { return j.Price > 0 })), local("b"))
	w := s.agency(def)
	s.participants(s.seats(nil))
	upserts := func(id string) (n int) {
		for _, e := range s.historyOf(id).Events {
			if e.GetUpsertWorkflowSearchAttributesEventAttributes() != nil {
				n++
			}
		}
		return n
	}
	for price, want := range map[int]int{0: 0, 7: 3} { // waiting, running, completed
		j := journey{ID: newID(), Price: price}
		h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
		require.NoError(t, err)
		if price > 0 {
			s.awaitStanding(h.ID(), core.StateWaiting)
			require.NoError(t, h.Approve(s.ctx(), "approve", nil, worker.By{Operator: "ann", Reason: "fair"}))
		}
		_, err = h.Wait(s.ctx())
		require.NoError(t, err)
		s.completed(h.ID())
		require.Equal(t, want, upserts(h.ID()), "price %d", price)
		require.Equal(t, []string{"do a", "do seat", "do b"}, s.chronicle(j.ID))
	}
}
