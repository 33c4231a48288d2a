package worker_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// alarms collects alerts.
type alarms struct {
	mu  sync.Mutex
	all []holdfast.Alert
}

func (a *alarms) take(_ context.Context, al holdfast.Alert) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, al)
}

// says reports whether an alert of this kind says so.
func (a *alarms) says(kind holdfast.AlertKind, text string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, al := range a.all {
		if al.Kind == kind && strings.Contains(al.Reason, text) {
			return true
		}
	}
	return false
}

// stranger runs a process of the group whose database is another one, with the
// same registrations.
func (s *site) stranger(l lane, register ...func(*worker.Worker)) (*running, *alarms) {
	s.t.Helper()
	var told alarms
	o := l.options(s.options())
	o.DB, o.OnAlert = s.effects, told.take
	return s.runWith(o, func(w *worker.Worker) {
		w.Local("place", insertAndPass)
		for _, r := range register {
			r(w)
		}
	}), &told
}

// attempts is how often the activity that a workflow waits for has been tried.
func (s *site) attempts(workflowID string) (most int32) {
	s.t.Helper()
	d, err := s.temporal.DescribeWorkflowExecution(s.ctx(), workflowID, "")
	require.NoError(s.t, err)
	for _, a := range d.GetPendingActivities() {
		most = max(most, a.GetAttempt())
	}
	return most
}

// TestOneGroupTwoDatabases: while the process with the group's database is dead, one
// with another database answers for it: nothing is decided by that, and nothing is
// lost. Once a right process is there, everything goes on by itself, although the
// wrong one still runs.
func TestOneGroupTwoDatabases(t *testing.T) {
	inLanes(t, func(t *testing.T, l lane) {
		s := newSite(t)
		s.consuming(payments(s.effects))
		wrong, told := s.stranger(l)
		id := newID()
		s.child(childConfig{Role: roleProducer, Form: formInline, Fault: fault.CommitBeforePublish, Lane: l.name, Tx: id, Plain: true}).killed()
		require.Equal(t, 1, s.ordered(id)) // committed in the group's database
		until(t, "the wrong process says that it is", func() bool {
			return told.says(holdfast.AlertOtherDatabase, "asked about work that was begun in another database")
		})
		until(t, "it has been asked again and again", func() bool {
			at := s.recoveries("Running")
			if l.traced {
				at = []string{workflows.WorkflowID(s.at.Prefix, group, id)}
			}
			for _, r := range at {
				if s.attempts(r) > 2 {
					return true
				}
			}
			return false
		})
		if l.traced {
			require.Zero(t, s.status(id).Checks, "a wrong process's answers do not count")
		}
		require.Zero(t, s.count(s.effects, "SELECT count(*) FROM holdfast_outcomes"))

		var mine alarms
		o := l.options(s.options())
		o.OnAlert = mine.take
		right := s.runWith(o, func(w *worker.Worker) { w.Local("place", insertAndPass) })
		s.oneEffect(id)
		require.Zero(t, s.count(s.effects, "SELECT count(*) FROM holdfast_outcomes"))
		until(t, "the right process finds the other one", func() bool {
			return mine.says(holdfast.AlertOtherDatabase, "processes of group orders use different databases")
		})
		var has map[string]bool
		s.asked(s.broker(), "both tell their databases", func(all []broker.ProcessStatus) bool {
			has = map[string]bool{}
			for _, p := range all {
				for _, d := range p.Databases {
					if d.Group == group {
						has[d.Identity] = true
					}
				}
			}
			return len(has) > 1
		})
		require.Equal(t, map[string]bool{right.DatabaseIdentity(): true, wrong.DatabaseIdentity(): true}, has)

		// Registered handlers run in the database of whoever began.
		for n := range 4 {
			until(t, "a handler runs before it is checked back", func() bool {
				_, err := right.Start(s.ctx(), "place", holdfast.Message{Topic: placed, Key: fmt.Sprint(n), Body: []byte("x")})
				if err != nil {
					require.ErrorIs(t, err, holdfast.ErrRolledBack)
				}
				return err == nil
			})
		}
		require.Zero(t, s.count(s.effects, "SELECT count(*) FROM holdfast_outcomes"))
	})
}

// TestOperatorDecidesInTheRightDatabase: whichever process an operator's decision
// comes to, it becomes a fact in the transaction's database, or nowhere.
func TestOperatorDecidesInTheRightDatabase(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	wrong, _ := s.stranger(laneOf("traced"))
	o := s.options()
	w := s.run(o)
	for i, action := range []string{transactions.UpdateCommit, transactions.UpdateRollback, transactions.UpdateRecheck, transactions.UpdateCommit} {
		split, err := w.Begin(s.ctx(), time.Hour, holdfast.Message{ID: newID(), Topic: placed, Body: []byte("x")})
		require.NoError(t, err)
		want := holdfast.Rollback
		if action == transactions.UpdateCommit {
			want = holdfast.Commit
		}
		until(t, fmt.Sprintf("%d %s: the right process is asked", i, action), func() bool { // a few are
			status, err := s.ask(split.ID(), action)
			if err != nil {
				require.ErrorContains(t, err, "is not the one that it was begun in")
				return false
			}
			if status.Resolution != holdfast.Unknown {
				require.Equal(t, want, status.Resolution, "%d %s", i, action)
			}
			return status.Resolution == want
		})
		row, err := barrier.Read(s.ctx(), s.orders, split.ID())
		require.NoError(t, err)
		require.Equal(t, want, row.Resolution)
	}
	// No right process: refused, with words; by force it is decided without.
	split, err := w.Begin(s.ctx(), time.Hour, holdfast.Message{ID: newID(), Topic: placed, Body: []byte("x")})
	require.NoError(t, err)
	w.stop()
	_, err = s.ask(split.ID(), transactions.UpdateCommit)
	require.ErrorContains(t, err, "is not the one that it was begun in ("+w.DatabaseIdentity()+")")
	require.ErrorContains(t, err, "("+wrong.DatabaseIdentity()+")")
	status, err := s.ask(split.ID(), transactions.UpdateCommit, func(r *transactions.Request) { r.Force = true })
	require.NoError(t, err)
	require.Equal(t, holdfast.Commit, status.Resolution)
	require.Zero(t, s.count(s.effects, "SELECT count(*) FROM holdfast_outcomes"))
}

// TestSagaStaysInItsDatabase: the local steps of a saga go on where they were begun.
func TestSagaStaysInItsDatabase(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.participants(deadlySeats(s.effects))
	told := func() *alarms {
		_, told := s.stranger(laneOf("traced"), func(w *worker.Worker) { w.Saga(trek) })
		return told
	}()
	id := newID()
	s.child(childConfig{Role: roleTreks, Lane: "traced", Fault: fault.SagaDoAfterCommit, Nth: 2, Tx: id}).killed()
	saga := workflows.SagaID(s.at.Prefix, group, "trek", id)
	until(t, "the wrong process is asked, and says so", func() bool {
		return told.says(holdfast.AlertOtherDatabase, "asked about work") && s.sagaStatus(saga).State == "no-worker"
	})
	require.Contains(t, s.sagaStatus(saga).Reason, "has the saga's database")
	s.runWith(laneOf("traced").options(s.options()), func(w *worker.Worker) { w.Saga(trek) })
	var status sagas.Status
	require.NoError(t, s.temporal.GetWorkflow(s.ctx(), saga, "").Get(s.ctx(), &status))
	require.Equal(t, "completed", status.State)
	did := func(db *gorm.DB) (out []string) {
		for _, what := range s.logged(db, id) {
			out = append(out, strings.Join(strings.Fields(what)[:2], " "))
		}
		return out
	}
	require.Equal(t, []string{"do a", "do b", "do end"}, did(s.orders))
	require.Equal(t, []string{"do seat"}, did(s.effects))
}

// month is longer than any retention here.
const month = 31 * 24 * time.Hour

// aged makes an outcome row and an inbox row of that age by the database's clock,
// and returns how many of the two are left.
func (s *site) aged(id, age string) (left func() int) {
	s.t.Helper()
	require.NoError(s.t, s.orders.Exec("INSERT INTO holdfast_outcomes (tx_id, producer_group, resolution, created_at) VALUES (?, 'orders', 'commit', now() - ?::interval)", id, age).Error)
	require.NoError(s.t, s.orders.Exec("INSERT INTO holdfast_inbox (consumer, message_id, created_at) VALUES ('c', ?, now() - ?::interval)", id, age).Error)
	return func() int {
		return s.count(s.orders, "SELECT (SELECT count(*) FROM holdfast_outcomes WHERE tx_id = ?) + (SELECT count(*) FROM holdfast_inbox WHERE message_id = ?)", id, id)
	}
}

// clockOf is what a process tells of its clock.
func (s *site) clockOf(instance string) (says string) {
	s.t.Helper()
	s.asked(s.broker(), instance+" answers", func(all []broker.ProcessStatus) bool {
		for _, p := range all {
			if p.Instance == instance && len(p.Databases) > 0 {
				says = p.Databases[0].Clock
				return true
			}
		}
		return false
	})
	return says
}

// TestClocks: a process whose clock is wrong deletes nothing, and says so; one whose
// clock is right deletes what is old by the database's, and nothing else.
func TestClocks(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	old, young := s.aged("old", "31 days"), s.aged("young", "29 days")
	for off, says := range map[time.Duration]string{month: "31 days ahead of PostgreSQL's", -month: "31 days behind PostgreSQL's", 2 * time.Minute: "2m0s ahead of PostgreSQL's"} {
		var told alarms
		var asked atomic.Int32
		o := s.options()
		o.OnAlert, o.Instance = told.take, "wrong"
		w := s.runWith(o, func(w *worker.Worker) {
			w.SetClock(func() time.Time {
				asked.Add(1)
				return time.Now().Add(off)
			}, 10*time.Millisecond)
		})
		until(t, "it is told", func() bool { return told.says(holdfast.AlertClock, says) })
		until(t, "rows would have been deleted", func() bool { return asked.Load() > 3 })
		require.Contains(t, s.clockOf("wrong"), says)
		require.Equal(t, 4, old()+young())
		w.stop()
	}
	o := s.options()
	o.Instance = "right"
	s.runWith(o, func(w *worker.Worker) { w.SetClock(time.Now, 10*time.Millisecond) })
	until(t, "what is old is deleted", func() bool { return old() == 0 })
	require.Equal(t, 2, young())
	require.Empty(t, s.clockOf("right"))
}

// TestRowsOfAWrongDatabaseClock: the row of a transaction of a moment ago was written
// while the database's clock was a month behind. It is what the check-back reads.
func TestRowsOfAWrongDatabaseClock(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	ids := []string{newID()}
	s.child(childConfig{Role: roleProducer, Form: formInline, Fault: fault.CommitBeforePublish, Lane: "express", Tx: ids[0], Plain: true}).killed()
	require.NoError(t, s.orders.Exec("UPDATE holdfast_outcomes SET created_at = created_at - interval '31 days'").Error)
	s.run(hurried(s.options()))
	s.oneEffect(ids[0])
}
