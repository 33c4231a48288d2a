package worker_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// sent is what one caller got.
type sent struct {
	receipt holdfast.Receipt
	err     error
}

// together sends n transactions at once, as one cohort where that is possible: it
// first occupies what may be in flight, gathers the others behind that, and then
// lets go. Caller i's message and local transaction are make's.
func (s *site) together(w *running, n int, make func(i int) (context.Context, holdfast.Message, worker.Local)) []sent {
	s.t.Helper()
	out := []sent{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	release := w.HoldCohorts()
	for i := range n {
		ctx, m, local := make(i)
		wg.Go(func() {
			receipt, err := w.Send(ctx, m, local)
			mu.Lock()
			defer mu.Unlock()
			out[i] = sent{receipt, err}
		})
		mu.Lock()
		out = append(out, sent{})
		mu.Unlock()
		until(s.t, "a caller gathers", func() bool { return w.Gathered() > i })
	}
	release()
	wg.Wait()
	return out
}

// patient is a producer whose cohorts wait for every local transaction.
func (s *site) patient(change ...func(*worker.Options)) *running {
	s.t.Helper()
	o := s.options()
	for _, c := range change {
		c(&o)
	}
	return s.runWith(o, (*worker.Worker).BePatient)
}

// plain is order i with an ID that Send makes.
func plain(i int) holdfast.Message {
	return holdfast.Message{Topic: placed, Key: fmt.Sprintf("K-%d", i), ContentType: "text/plain", Body: []byte("order")}
}

func inCohort(receipt holdfast.Receipt) bool {
	id, _ := workflows.ParseID(receipt.WorkflowID)
	return id.Kind == workflows.KindCohort
}

// member waits for the end of the workflow that a receipt names, and returns how
// its transaction, or another one, ended there.
func (s *site) member(receipt holdfast.Receipt, txID ...string) transactions.MemberStatus {
	s.t.Helper()
	id := append(txID, receipt.TxID)[0]
	var status transactions.Status
	require.NoError(s.t, s.temporal.GetWorkflow(s.ctx(), receipt.WorkflowID, receipt.RunID).Get(s.ctx(), &status))
	for _, m := range status.Transactions {
		if m.ID == id {
			return m
		}
	}
	require.FailNow(s.t, "not in its workflow", "%+v", receipt)
	return transactions.MemberStatus{}
}

// TestCallersShareCohorts: each caller gets its own answer.
func TestCallersShareCohorts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	w := s.patient()
	got := s.together(w, 64, func(i int) (context.Context, holdfast.Message, worker.Local) {
		m := plain(i)
		if i%4 == 1 {
			m.Topic = "order.paid"
		}
		return s.ctx(), m, func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			if err := insert(ctx, tx, m); err != nil {
				return err
			}
			switch {
			case i%10 == 3:
				return fmt.Errorf("caller %d: %w", i, errOops)
			case i%10 == 7:
				panic(fmt.Sprintf("caller %d overboard", i))
			case i%10 == 9:
				m.Key = fmt.Sprintf("C-%d", i)
			}
			return nil
		}
	})
	cohorts := map[string]int{}
	for i, g := range got {
		cohorts[g.receipt.WorkflowID]++
		require.NotEmpty(t, g.receipt.RunID)
		status := s.member(g.receipt)
		switch i % 10 {
		case 3, 7:
			require.ErrorIs(t, g.err, holdfast.ErrRolledBack)
			require.ErrorContains(t, g.err, fmt.Sprintf("caller %d", i))
			require.Equal(t, workflows.RolledBack, status.State)
			require.Zero(t, s.ordered(g.receipt.TxID))
		default:
			require.NoError(t, g.err)
			require.Equal(t, holdfast.Commit, g.receipt.Resolution)
			require.Equal(t, workflows.Committed, status.State, "%+v", status)
			require.Equal(t, 1, s.ordered(g.receipt.TxID))
			want := fmt.Sprintf("K-%d", i)
			if i%10 == 9 {
				want = fmt.Sprintf("C-%d", i)
			}
			require.Equal(t, want, s.oneEffect(g.receipt.TxID).Key)
			require.Equal(t, want, g.receipt.Messages[0].Key)
		}
	}
	require.LessOrEqual(t, len(cohorts), 3, "%v", cohorts)
	for id := range cohorts {
		require.True(t, strings.HasPrefix(id, workflows.CohortWorkflowID(s.at.Prefix, group, "")), id)
	}
	w.stop()
	s.drained()
}

// TestClosuresThatEndTheirGoroutine: their transactions are rolled back, and their
// callers told.
func TestClosuresThatEndTheirGoroutine(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	o := hurried(s.options())
	o.CheckAfter = 10 * time.Second // longer than the local transactions take
	w := s.runWith(o, (*worker.Worker).BePatient)
	got := s.together(w, 8, func(i int) (context.Context, holdfast.Message, worker.Local) {
		return s.ctx(), plain(i), func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			if err := insert(ctx, tx, m); err != nil {
				return err
			}
			if i%2 == 1 {
				runtime.Goexit() // as t.FailNow does
			}
			return nil
		}
	})
	for i, g := range got {
		if i%2 == 0 {
			require.NoError(t, g.err)
			require.Equal(t, 1, s.ordered(g.receipt.TxID))
			continue
		}
		require.ErrorIs(t, g.err, holdfast.ErrRolledBack)
		require.ErrorContains(t, g.err, "ended its goroutine")
		require.Equal(t, workflows.RolledBack, s.member(g.receipt).State)
		require.Zero(t, s.ordered(g.receipt.TxID))
	}
}

// overboard is a pool whose driver panics when the first transaction begins.
type overboard struct {
	*sql.DB
	once *sync.Once
}

func (p overboard) BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error) {
	p.once.Do(func() { panic("driver overboard") })
	return p.DB.BeginTx(ctx, opts)
}

func (p overboard) GetDBConn() (*sql.DB, error) { return p.DB, nil }

// TestDriverThatPanics: what is not the closure's own does not end the process.
func TestDriverThatPanics(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	o := hurried(s.options())
	o.CheckAfter = 10 * time.Second // so that it is not a check-back that comes to the driver first
	o.DB = openDB(t, s.at.OrdersURL)
	pool, err := o.DB.DB()
	require.NoError(t, err)
	o.DB.Statement.ConnPool = overboard{pool, new(sync.Once)}
	w := s.runWith(o, (*worker.Worker).BePatient)
	receipt, err := w.Send(s.ctx(), plain(0), insert)
	require.ErrorIs(t, err, holdfast.ErrUndecided)
	require.ErrorContains(t, err, "driver overboard")
	require.Equal(t, workflows.RolledBack, s.member(receipt).State)
}

// TestCohortMembersLeave: what is unlike the others disturbs none of them.
func TestCohortMembersLeave(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	w := s.producer()
	release := make(chan struct{})
	slow, quick := make(chan string, 1), make(chan struct{}, 40)
	results := make(chan []sent, 1)
	go func() {
		results <- s.together(w, 30, func(i int) (context.Context, holdfast.Message, worker.Local) {
			m := plain(i)
			switch i {
			case 5:
				return s.ctx(), m, func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
					slow <- m.ID
					<-release
					return insert(ctx, tx, m)
				}
			case 6:
				m.Topic = "parcel.sent" // no queue is bound
			}
			return s.ctx(), m, func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
				defer func() { quick <- struct{}{} }()
				return insert(ctx, tx, m)
			}
		})
	}()
	slowID := next(t, slow)
	for range 29 {
		next(t, quick)
	}
	until(t, "the slow one has a workflow of its own", func() bool {
		_, err := s.temporal.DescribeWorkflowExecution(s.ctx(), workflows.WorkflowID(s.at.Prefix, group, slowID), "")
		return err == nil
	})
	// The others are delivered while it still runs.
	until(t, "28 effects", func() bool { return s.count(s.effects, "SELECT count(*) FROM effects") == 28 })
	close(release)
	for i, g := range next(t, results) {
		own := workflows.WorkflowID(s.at.Prefix, group, g.receipt.TxID)
		switch i {
		case 5:
			require.NoError(t, g.err)
			require.Equal(t, own, g.receipt.WorkflowID)
			require.Equal(t, workflows.Committed, s.ended(slowID).State)
			require.Contains(t, s.scheduled(slowID), activities.LocalTransactionInProcess)
			s.oneEffect(slowID)
		case 6:
			require.ErrorIs(t, g.err, holdfast.ErrDeliveryPending)
			require.ErrorIs(t, g.err, holdfast.ErrUnroutable)
			require.Equal(t, own, g.receipt.WorkflowID)
			until(t, "it is tried there", func() bool {
				_, err := s.temporal.DescribeWorkflowExecution(s.ctx(), own, "")
				return err == nil && s.status(g.receipt.TxID).State != ""
			})
			require.NoError(t, s.temporal.TerminateWorkflow(s.ctx(), own, "", "the test is over"))
		default:
			require.NoError(t, g.err)
			require.Equal(t, workflows.Committed, s.member(g.receipt).State)
		}
	}
}

// TestCohortWithDeadlock: two local transactions of a cohort lock each other out;
// the database ends one of them, and nobody else notices.
func TestCohortWithDeadlock(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	w := s.patient()
	require.NoError(t, s.orders.Exec("CREATE TABLE stock (item text PRIMARY KEY, n int)").Error)
	require.NoError(t, s.orders.Exec("INSERT INTO stock VALUES ('anchor', 0), ('sail', 0)").Error)
	var locked sync.WaitGroup
	locked.Add(2)
	items := []string{"anchor", "sail"}
	got := s.together(w, 8, func(i int) (context.Context, holdfast.Message, worker.Local) {
		return s.ctx(), plain(i), func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			if i >= 2 {
				return insert(ctx, tx, m)
			}
			if err := tx.Exec("UPDATE stock SET n = n + 1 WHERE item = ?", items[i]).Error; err != nil {
				return err
			}
			locked.Done()
			locked.Wait()
			if err := tx.Exec("UPDATE stock SET n = n + 1 WHERE item = ?", items[1-i]).Error; err != nil {
				return err
			}
			return insert(ctx, tx, m)
		}
	})
	for i, g := range got[2:] {
		require.NoError(t, g.err, "caller %d", i)
		require.True(t, inCohort(g.receipt))
	}
	failed := 0
	for _, g := range got[:2] {
		if g.err != nil {
			failed++
			require.ErrorIs(t, g.err, holdfast.ErrRolledBack)
			require.ErrorContains(t, g.err, "deadlock")
			require.Equal(t, workflows.RolledBack, s.member(g.receipt).State)
			require.Zero(t, s.ordered(g.receipt.TxID))
			continue
		}
		s.oneEffect(g.receipt.TxID)
	}
	require.Equal(t, 1, failed)
	require.Equal(t, 2, s.count(s.orders, "SELECT sum(n) FROM stock"))
}

// TestCohortCallersWhoGoAway: one while it gathers, one while its local
// transaction runs.
func TestCohortCallersWhoGoAway(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	w := s.patient()
	gathering, leave := context.WithCancel(s.ctx())
	inside, away := context.WithCancel(s.ctx())
	var early sent
	got := s.together(w, 6, func(i int) (context.Context, holdfast.Message, worker.Local) {
		switch i {
		case 4: // the first of whom one more gathers
			done := make(chan struct{})
			go func() {
				defer close(done)
				early.receipt, early.err = w.Send(gathering, plain(99), func(context.Context, *gorm.DB, *holdfast.Message) error {
					t.Error("the local transaction of a caller who gave up is run")
					return nil
				})
			}()
			until(t, "it gathers", func() bool { return w.Gathered() == 5 })
			leave()
			<-done
			require.Equal(t, 4, w.Gathered())
		case 5:
			return inside, plain(i), func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
				if err := insert(ctx, tx, m); err != nil {
					return err
				}
				away()
				<-ctx.Done()
				return nil
			}
		}
		return s.ctx(), plain(i), insert
	})
	var unavailable *holdfast.UnavailableError
	require.ErrorAs(t, early.err, &unavailable)
	require.ErrorIs(t, early.err, context.Canceled)
	require.Zero(t, s.ordered(early.receipt.TxID))
	for _, g := range got[:5] {
		require.NoError(t, g.err)
		require.True(t, inCohort(g.receipt))
		s.oneEffect(g.receipt.TxID)
	}
	require.Error(t, got[5].err)
	require.NotEqual(t, holdfast.Commit, got[5].receipt.Resolution)
	require.Equal(t, workflows.RolledBack, s.member(got[0].receipt, got[5].receipt.TxID).State)
	require.Zero(t, s.ordered(got[5].receipt.TxID))
}

// TestClosureThatNeverReturns: its cohort ends, and the worker stops.
func TestClosureThatNeverReturns(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	w := s.producer(func(o *worker.Options) { o.Timeouts.Local = 20 * time.Second })
	stuck := make(chan struct{})
	t.Cleanup(func() { close(stuck) })
	got := s.together(w, 5, func(i int) (context.Context, holdfast.Message, worker.Local) {
		if i > 0 {
			return s.ctx(), plain(i), insert
		}
		ctx, cancel := context.WithCancel(s.ctx())
		t.Cleanup(cancel)
		return ctx, plain(i), func(context.Context, *gorm.DB, *holdfast.Message) error {
			cancel() // its caller waits no longer
			<-stuck
			return errOops
		}
	})
	require.ErrorIs(t, got[0].err, holdfast.ErrUndecided)
	for _, g := range got[1:] {
		require.NoError(t, g.err)
		require.Equal(t, workflows.Committed, s.member(g.receipt).State)
	}
	left := map[string]workflows.State{}
	for _, m := range s.cohort().Transactions { // any of them may be slow, and leave it too
		left[m.ID] = m.State
	}
	require.Equal(t, workflows.Left, left[got[0].receipt.TxID], "%v", left)
	until(t, "its own workflow", func() bool {
		_, err := s.temporal.DescribeWorkflowExecution(s.ctx(), workflows.WorkflowID(s.at.Prefix, group, got[0].receipt.TxID), "")
		return err == nil
	})
}

// TestNoCohorts: with MaxCohort 1, and with an ID of the caller's own, a
// transaction has a history of its own, whatever the load.
func TestNoCohorts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	alone, chosen := s.producer(func(o *worker.Options) { o.Tuning.MaxCohort = 1 }), s.producer()
	defer chosen.HoldCohorts()()
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			w, m := alone, plain(i)
			if i%2 == 0 {
				w, m.ID = chosen, newID()
			}
			receipt, err := w.Send(s.ctx(), m, insert)
			if err != nil || receipt.WorkflowID != workflows.WorkflowID(s.at.Prefix, group, receipt.TxID) {
				t.Errorf("%+v, %v", receipt, err)
			}
		})
	}
	wg.Wait()
}

// TestCohortElsewhere: the workflow is run by another process, and the local
// transactions, one of them slow, in the callers'.
func TestCohortElsewhere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	s.producer() // the other one
	lazy := s.dial(&cable{lazy: true})
	w := s.producer(func(o *worker.Options) { o.Temporal = lazy })
	for elsewhere := false; !elsewhere; {
		release := make(chan struct{})
		ran, slow := make(chan struct{}, 20), make(chan string, 1)
		results := make(chan []sent, 1)
		go func() {
			results <- s.together(w, 9, func(i int) (context.Context, holdfast.Message, worker.Local) {
				return s.ctx(), plain(i), func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
					if i == 0 {
						slow <- m.ID
						<-release
					}
					defer func() { ran <- struct{}{} }()
					return insert(ctx, tx, m)
				}
			})
		}()
		for range 8 {
			next(t, ran)
		}
		id := next(t, slow)
		until(t, "the slow one has left", func() bool {
			_, err := s.temporal.DescribeWorkflowExecution(s.ctx(), workflows.WorkflowID(s.at.Prefix, group, id), "")
			return err == nil
		})
		close(release)
		got := next(t, results)
		for _, g := range got {
			require.NoError(t, g.err)
			require.Equal(t, holdfast.Commit, g.receipt.Resolution)
			require.NotEmpty(t, g.receipt.Messages)
			s.oneEffect(g.receipt.TxID)
		}
		require.Equal(t, workflows.WorkflowID(s.at.Prefix, group, got[0].receipt.TxID), got[0].receipt.WorkflowID)
		elsewhere = slices.Contains(s.activitiesOf(got[1].receipt.WorkflowID), activities.LocalTransactionsInProcess)
	}
}

// TestCohortIsNotStarted: every caller learns that nothing was run, and can send
// again; so does one whose time is over while it gathers.
func TestCohortIsNotStarted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	flaky := &cable{}
	w := s.producer(func(o *worker.Options) { o.Temporal = s.dial(flaky) })
	ran := func(context.Context, *gorm.DB, *holdfast.Message) error {
		t.Error("a local transaction is run although nothing was started")
		return nil
	}
	flaky.failNext()
	for _, g := range s.together(w, 5, func(i int) (context.Context, holdfast.Message, worker.Local) { return s.ctx(), plain(i), ran }) {
		var unavailable *holdfast.UnavailableError
		require.ErrorAs(t, g.err, &unavailable)
		require.Equal(t, "Temporal", unavailable.Part)
	}

	release := w.HoldCohorts()
	ctx, cancel := context.WithTimeout(s.ctx(), 50*time.Millisecond)
	defer cancel()
	_, err := w.Send(ctx, plain(0), ran)
	var unavailable *holdfast.UnavailableError
	require.ErrorAs(t, err, &unavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	release()

	_, err = w.Send(s.ctx(), plain(0), insert)
	require.NoError(t, err)

	flaky.loseNext() // the workflow was started, but that is not known
	for _, g := range s.together(w, 5, func(i int) (context.Context, holdfast.Message, worker.Local) { return s.ctx(), plain(i), insert }) {
		if g.err == nil {
			s.oneEffect(g.receipt.TxID)
			continue
		}
		require.ErrorAs(t, g.err, &unavailable)
		until(t, "a check-back rolls it back", func() bool {
			row, err := barrier.Read(s.ctx(), s.orders, g.receipt.TxID)
			return err == nil && row.Resolution == holdfast.Rollback
		})
		require.Zero(t, s.ordered(g.receipt.TxID))
	}
}

// TestShutdownWithGathered: whoever gathers when Run ends still ends well.
func TestShutdownWithGathered(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	w := s.producer()
	release := w.HoldCohorts()
	results := make(chan sent, 8)
	for i := range 8 {
		go func() {
			receipt, err := w.Send(s.ctx(), plain(i), insert)
			results <- sent{receipt, err}
		}()
	}
	until(t, "they gather", func() bool { return w.Gathered() == 8 })
	w.cancel()
	until(t, "nothing new is taken", func() bool {
		_, err := w.Send(s.ctx(), order(newID()), insert)
		return errors.Is(err, holdfast.ErrNotRunning)
	})
	release()
	for range 8 {
		g := next(t, results)
		require.NoError(t, g.err)
		s.oneEffect(g.receipt.TxID)
	}
	require.NoError(t, w.result())
}

// TestMembersAreFoundByTheirIDs: in the Temporal UI by their ends, and by whole ones while
// processes of an earlier version may run.
func TestMembersAreFoundByTheirIDs(t *testing.T) {
	t.Parallel()
	for rolling, part := range map[bool]func(id string) string{true: func(id string) string { return id }, false: func(id string) string { return id[24:] }} {
		s := newSite(t)
		s.consuming(payments(s.effects))
		w := s.patient(func(o *worker.Options) { o.RollingUpgrade = rolling })
		for _, g := range s.together(w, 3, func(i int) (context.Context, holdfast.Message, worker.Local) { return s.ctx(), plain(i), insert }) {
			require.NoError(t, g.err)
			require.True(t, inCohort(g.receipt))
			until(t, "it is listed", func() bool {
				ids, err := s.list(workflows.AttributeKey + " = '" + part(g.receipt.TxID) + "'")
				require.NoError(t, err)
				return slices.Equal(ids, []string{g.receipt.WorkflowID})
			})
		}
	}
}
