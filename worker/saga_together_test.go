package worker_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
)

// transactions says in how many transactions the rows of a saga's local steps, and its begin
// row, were written last.
func (s *site) transactions(id string) (n int) {
	s.t.Helper()
	require.NoError(s.t, s.orders.Raw("SELECT count(DISTINCT xmin::text) FROM holdfast_steps WHERE owner LIKE '%'||?", id).
		Scan(&n).Error)
	return n
}

// The local steps that a saga begins with share a transaction, and with it that it has
// completed, unless the definition or a step wants one of its own.
func TestFirstStepsShareATransaction(t *testing.T) { inBothWays(t, testFirstStepsShareATransaction) }

func testFirstStepsShareATransaction(t *testing.T, s *site, quickTravel quickly) {
	oneByOne := quickTravel(local("a"), local("b"), local("c"))
	oneByOne.OneByOne = true
	no := saga.If(func(journey) bool { return false })
	yes := saga.If(func(journey) bool { return true })
	all := []string{"do a", "do b", "do c"}
	for name, row := range map[string]struct {
		def          saga.Saga[journey]
		transactions int
		log          []string
	}{
		"three steps":          {quickTravel(local("a"), local("b"), local("c")), 1, all},
		"in a sequence":        {quickTravel(local("a"), saga.Sequence("s", local("b"), local("c"))), 1, all},
		"one by one":           {oneByOne, 4, all},
		"outside the database": {quickTravel(local("a"), local("b").UndoUncertain(), local("c")), 4, all},
		"then a message":       {quickTravel(local("a"), local("b"), seat(), local("c")), 3, all},
		"a condition":          {quickTravel(local("a").When(yes), local("b").When(no), local("c")), 1, []string{"do a", "do c"}},
		"none of the first":    {quickTravel(local("a").When(no), local("b"), local("c")), 1, []string{"do b", "do c"}},
		"nothing at all":       {quickTravel(local("a").When(no)), 1, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			w := s.agency(row.def)
			s.participants(s.seats(nil))
			j, err := s.travels(w, row.def)
			require.NoError(t, err)
			require.Equal(t, row.log, s.logged(s.orders, j.ID))
			require.Equal(t, row.transactions, s.transactions(j.ID))
			w.stop()
			require.Zero(t, s.drained())
		})
	}
}

// Where one of them fails, the others are done again by themselves, and each has its effect once.
func TestFirstStepsThatFailTogether(t *testing.T) { inBothWays(t, testFirstStepsThatFailTogether) }

func testFirstStepsThatFailTogether(t *testing.T, s *site, quickTravel quickly) {
	var tries atomic.Int32
	def := quickTravel(local("a"), does("b", func(*journey) error {
		if tries.Add(1) == 1 {
			panic("oops")
		}
		return nil
	}), local("c"))
	w := s.agency(def)
	id := newID()
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: id})
	require.NoError(t, err)
	require.NoError(t, wait(s, h))
	require.False(t, s.hasWorkflow(h.ID()), "a second try was enough")
	require.Equal(t, []string{"do a", "do b", "do c"}, s.logged(s.orders, id))
	require.Equal(t, 4, s.transactions(id))
	require.NoError(t, h.Compensate(s.ctx(), worker.By{Operator: "ann", Reason: "no more"}))
	stood(t, wait(s, h), holdfast.ErrSagaCompensated)
	require.Equal(t, []string{"do a", "do b", "do c", "undo c", "undo b", "undo a"}, s.logged(s.orders, id))
}

// A step that ends the transaction itself has its effect once, as ever: its row was there before.
func TestFirstStepThatCommits(t *testing.T) { inBothWays(t, testFirstStepThatCommits) }

func testFirstStepThatCommits(t *testing.T, s *site, quickTravel quickly) {
	def := quickTravel(local("a"), saga.Local("b", func(_ context.Context, tx *gorm.DB, j *journey) error {
		if err := write(tx, j.ID, "do b"); err != nil {
			return err
		}
		return tx.Exec("COMMIT").Error
	}, nil).NoUndo(), local("c"))
	w := s.agency(def)
	id := newID()
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: id})
	require.NoError(t, err)
	require.NoError(t, wait(s, h))
	require.Equal(t, []string{"do a", "do b", "do c"}, s.logged(s.orders, id))
}

// What has rows but no begin row, such as a saga of the Traced lane that nobody knows any more, is
// looked at step by step: no step is done again, and other content is refused at once.
func TestFirstStepsOfAKeyThatHasRows(t *testing.T) { inBothWays(t, testFirstStepsOfAKeyThatHasRows) }

func testFirstStepsOfAKeyThatHasRows(t *testing.T, s *site, quickTravel quickly) {
	def := quickTravel(local("a"), local("b"))
	w := s.agency(def)
	j, err := s.travels(w, def)
	require.NoError(t, err)
	require.NoError(t, s.orders.Exec("DELETE FROM holdfast_steps WHERE owner LIKE '%'||? AND step = ''", j.ID).Error)
	_, err = worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: j.ID, Price: 7})
	require.ErrorIs(t, err, holdfast.ErrDuplicate)
	require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, j.ID))
}

// An undo after the end gets what each step was given and answered, as its row keeps it.
func TestUndoOfStepsThatShareATransaction(t *testing.T) {
	inBothWays(t, testUndoOfStepsThatShareATransaction)
}

func testUndoOfStepsThatShareATransaction(t *testing.T, s *site, quickTravel quickly) {
	var undone []journey
	books := func(room string) saga.StepDef {
		return saga.Local("book-"+room, func(_ context.Context, _ *gorm.DB, j *journey) error { j.Room += room; return nil },
			func(_ context.Context, _ *gorm.DB, j *journey) error { undone = append(undone, *j); return nil })
	}
	def := quickTravel(books("1"), books("2"))
	w := s.agency(def)
	j, err := s.travels(w, def)
	require.NoError(t, err)
	require.Equal(t, "12", j.Room)
	h := worker.JoinSaga(w.Worker, def, j.ID)
	require.NoError(t, h.Compensate(s.ctx(), worker.By{Operator: "ann", Reason: "no more"}))
	stood(t, wait(s, h), holdfast.ErrSagaCompensated)
	require.Equal(t, []journey{{ID: j.ID, Room: "12"}, {ID: j.ID, Room: "1"}}, undone)
}

// What an operator asks for while they are under way comes after the step that is: what is done
// of them stays, and no other is begun.
func TestFirstStepsAreSteered(t *testing.T) { inBothWays(t, testFirstStepsAreSteered) }

func testFirstStepsAreSteered(t *testing.T, s *site, quickTravel quickly) {
	began, release := make(chan struct{}, 1), make(chan struct{})
	def := quickTravel(local("a"), slow("b", began, release), local("c"))
	w := s.agency(def)
	id := newID()
	started := make(chan error, 1)
	go func() {
		_, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: id})
		started <- err
	}()
	<-began
	h := worker.JoinSaga(w.Worker, def, id)
	require.Empty(t, s.logged(s.orders, id), "nothing is committed yet")
	asked := make(chan error, 1)
	go func() { asked <- h.Compensate(s.ctx(), worker.By{Operator: "ann", Reason: "no more"}) }()
	until(t, "it is asked for", func() bool {
		stands, err := h.State(s.ctx())
		require.NoError(t, err)
		return stands.State == core.StateRunning
	})
	close(release)
	require.NoError(t, next(t, started))
	if err := next(t, asked); err != nil {
		require.ErrorContains(t, err, "completed")
	}
	stood(t, wait(s, h), holdfast.ErrSagaCompensated)
	log := s.logged(s.orders, id)
	require.Subset(t, log, []string{"do a", "do b", "undo b", "undo a"})
}

// A state that is too large for a saga fails the step that made it, and none comes after it.
func TestFirstStepsWithTooMuchState(t *testing.T) { inBothWays(t, testFirstStepsWithTooMuchState) }

func testFirstStepsWithTooMuchState(t *testing.T, s *site, quickTravel quickly) {
	def := quickTravel(local("a"), does("b", func(j *journey) error {
		j.Room = strings.Repeat("x", core.MaxData)
		return nil
	}), local("c"))
	w := s.agency(def)
	id := newID()
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: id})
	require.NoError(t, err)
	require.Equal(t, "b", stood(t, wait(s, h), holdfast.ErrSagaCompensated).Step)
	require.Equal(t, []string{"do a", "undo a"}, s.logged(s.orders, id))
}
