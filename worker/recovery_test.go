package worker_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.temporal.io/api/workflowservice/v1"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// hold leaves the local transactions of ids open, in a session that lives, until
// commit is called.
func (s *site) hold(ids ...string) (commit func()) {
	s.t.Helper()
	tx := s.orders.Begin()
	require.NoError(s.t, tx.Error)
	for _, id := range ids {
		_, err := barrier.Insert(s.ctx(), tx, id, s.at.Group)
		require.NoError(s.t, err)
		require.NoError(s.t, tx.Exec("INSERT INTO orders (id) VALUES (?)", id).Error)
	}
	commit = sync.OnceFunc(func() { require.NoError(s.t, tx.Commit().Error) })
	s.t.Cleanup(commit)
	return commit
}

// abandon stores the half messages of ids, as a producer of the Express lane that
// then died.
func (s *site) abandon(ids []string) {
	s.t.Helper()
	b := s.broker()
	require.NoError(s.t, b.DeclareGroup(s.ctx(), s.at.Group))
	slots := make(chan struct{}, 64)
	ctx := s.ctx()
	var wg sync.WaitGroup
	for _, id := range ids {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			assert.NoError(s.t, b.PublishHalf(ctx, holdfast.Half{TxID: id, Group: s.at.Group, At: time.Now(), Lane: holdfast.Express, Messages: []holdfast.Message{order(id)}}))
		})
	}
	wg.Wait()
}

// commit makes the local transactions of ids committed, in one.
func (s *site) commit(ids []string) {
	s.t.Helper()
	require.NoError(s.t, s.orders.Transaction(func(tx *gorm.DB) error {
		list := strings.Join(ids, " ")
		if err := tx.Exec("INSERT INTO orders (id) SELECT unnest(string_to_array(?, ' '))", list).Error; err != nil {
			return err
		}
		return tx.Exec("INSERT INTO holdfast_outcomes (tx_id, producer_group, resolution) SELECT unnest(string_to_array(?, ' ')), ?, 'commit'", list, s.at.Group).Error
	}))
}

func newIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = newID()
	}
	return ids
}

// started waits until a transaction has a workflow of its own.
func (s *site) started(id string) {
	s.t.Helper()
	until(s.t, "a workflow of its own for "+id, func() bool {
		_, err := s.temporal.DescribeWorkflowExecution(s.ctx(), workflows.WorkflowID(s.at.Prefix, group, id), "")
		return err == nil
	})
}

// recoveries are the IDs of the workflows Recovery with an execution status.
func (s *site) recoveries(status string) (ids []string) {
	s.t.Helper()
	res, err := s.temporal.ListWorkflow(s.ctx(), &workflowservice.ListWorkflowExecutionsRequest{Namespace: s.at.Namespace, PageSize: 1000,
		Query: fmt.Sprintf("WorkflowType = '%s' AND TaskQueue = '%s' AND ExecutionStatus = '%s'", transactions.RecoveryName, workflows.TaskQueue(s.at.Prefix, group), status)})
	require.NoError(s.t, err)
	for _, e := range res.GetExecutions() {
		ids = append(ids, e.GetExecution().GetWorkflowId())
	}
	return ids
}

// TestRecovery: one workflow for what a producer of the Express lane left
// undecided in several ways; what stays unknown gets one of its own, and so does
// every half message of the other lane.
func TestRecovery(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	release := make(chan struct{})
	var mute holdfast.CheckerFunc = func(context.Context, holdfast.Message) (holdfast.Resolution, error) {
		<-release // whatever its context says
		return holdfast.Commit, nil
	}
	committed, never, locked, asked, traced := newID(), newID(), newID(), newID(), newID()
	ids := []string{committed, never, locked, asked}
	s.commit([]string{committed})
	commit := s.hold(locked)
	b := s.broker()
	require.NoError(t, b.DeclareGroup(s.ctx(), group))
	for _, id := range ids {
		m := order(id)
		if id == asked {
			m.Topic = "order.mute"
		}
		require.NoError(t, b.PublishHalf(s.ctx(), holdfast.Half{TxID: id, Group: group, At: time.Now(), Lane: holdfast.Express, Messages: []holdfast.Message{m}}))
	}
	s.orphan(laneOf("traced"), traced, true)
	w := s.runWith(laneOf("express").options(s.options()), func(w *worker.Worker) { w.Check("order.mute", mute) })

	s.oneEffect(traced)
	require.Equal(t, workflows.Committed, s.ended(traced).State)
	s.oneEffect(committed)
	until(t, "what was never run is rolled back", func() bool { return s.hasRow(never) })
	s.requireRow(never, false)
	s.started(locked)
	require.Zero(t, s.effected(locked))
	commit() // soon: its check-backs are counted
	s.oneEffect(locked)
	require.Equal(t, workflows.Committed, s.ended(locked).State)
	s.started(asked)
	close(release)
	s.oneEffect(asked)
	require.Equal(t, workflows.Committed, s.ended(asked).State)

	until(t, "the recoveries can be seen", func() bool {
		ended := map[string]workflows.State{}
		for _, id := range s.recoveries("Completed") {
			var status transactions.Status
			require.NoError(t, s.temporal.GetWorkflow(s.ctx(), id, "").Get(s.ctx(), &status))
			require.NotEmpty(t, status.Summary)
			for _, m := range status.Transactions {
				// A sweep whose start was not answered in time is handed over again.
				if ended[m.ID] != workflows.Left {
					ended[m.ID] = m.State
				}
			}
		}
		if len(ended) < len(ids) {
			return false
		}
		require.Equal(t, map[string]workflows.State{committed: workflows.Committed, never: workflows.RolledBack, locked: workflows.Left, asked: workflows.Left}, ended)
		return true
	})
	s.needNone([]string{committed, never})
	w.stop()
	s.drained()
}

// TestRecoveryWithoutDatabase: what is handed over while the database is away waits
// in its Recovery, and ends there.
func TestRecoveryWithoutDatabase(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	postgres := newRelay(t, hostOf(t, s.at.OrdersURL))
	o := laneOf("express").options(s.options())
	o.DB = openDB(t, postgres.through(s.at.OrdersURL))
	o.CheckBack = transactions.Schedule{Delays: []time.Duration{time.Second, 10 * time.Second, 20 * time.Second, time.Minute}}
	w := s.run(o)
	postgres.refuse(true)
	postgres.cut()
	committed, never := newIDs(3), newIDs(3)
	s.commit(committed)
	s.abandon(append(append([]string{}, committed...), never...))
	s.waits()
	postgres.refuse(false)
	for _, id := range committed {
		s.oneEffect(id)
	}
	for _, id := range never {
		until(t, "it is rolled back", func() bool { return s.hasRow(id) })
		s.requireRow(id, false)
	}
	s.needNone(append(committed, never...))
	w.stop()
	s.drained()
}

// waits waits until a Recovery can be seen to wait.
func (s *site) waits() {
	s.t.Helper()
	until(s.t, "a recovery waits", func() bool {
		ids, err := s.list(fmt.Sprintf("WorkflowType = '%s' AND TaskQueue = '%s' AND %s = '%s'", transactions.RecoveryName,
			workflows.TaskQueue(s.at.Prefix, group), workflows.AttributeState, workflows.Checking))
		return err == nil && len(ids) > 0
	})
}

// needNone checks that no transaction has a workflow of its own.
func (s *site) needNone(ids []string) {
	s.t.Helper()
	for _, id := range ids {
		_, err := s.temporal.DescribeWorkflowExecution(s.ctx(), workflows.WorkflowID(s.at.Prefix, group, id), "")
		require.Error(s.t, err, "it needs none of its own")
	}
}

// TestRecoveryAfterTemporal: a dead producer leaves thousands of undecided half
// messages while Temporal is away. Sending goes on; once Temporal is back, all of
// them end right, and once, without a restart.
func TestRecoveryAfterTemporal(t *testing.T) {
	st := stacktest.Private(t)
	s := newSiteOn(t, st)
	s.consuming(payments(s.effects))
	const each = 1500
	committed, never, locked := newIDs(each), newIDs(each), newIDs(3)
	s.commit(committed)
	commit := s.hold(locked...)
	s.abandon(append(append(append([]string{}, locked...), committed...), never...))
	require.NoError(t, st.Temporal.Kill())

	reader := sdk.NewManualReader()
	o := laneOf("express").options(s.options())
	o.Meter = sdk.NewMeterProvider(sdk.WithReader(reader))
	w := s.run(o)
	until(t, "hand-overs fail", func() bool {
		return sum(t, reader, "holdfast.halves.hand_over_failures") > 0 && sum(t, reader, "holdfast.halves.undecided") > 1000
	})
	require.Zero(t, sum(t, reader, "holdfast.halves.handed_over"))
	id := newID()
	_, err := w.Send(s.ctx(), order(id), insert)
	require.NoError(t, err)
	s.oneEffect(id)
	require.False(t, s.hasRow(never[0]), "nothing is decided")

	require.NoError(t, st.Temporal.Start(s.ctx()))
	for _, id := range locked {
		s.started(id)
	}
	commit()
	for _, id := range locked {
		require.Equal(t, workflows.Committed, s.ended(id).State)
	}
	const decided = "SELECT count(*) FROM holdfast_outcomes WHERE resolution = ?"
	until(t, "everything is decided", func() bool { return s.count(s.orders, decided, "rollback") >= each })
	require.Equal(t, each, s.count(s.orders, decided, "rollback"))
	orders := s.strings(s.orders, "SELECT id FROM orders ORDER BY id")
	require.Len(t, orders, each+len(locked)+1)
	until(t, "every effect", func() bool { return s.count(s.effects, "SELECT count(*) FROM effects") >= len(orders) })
	require.Equal(t, orders, s.strings(s.effects, "SELECT message_id FROM effects ORDER BY message_id"))
	until(t, "nothing is held any more", func() bool { return sum(t, reader, "holdfast.halves.undecided") == 0 })
	require.GreaterOrEqual(t, sum(t, reader, "holdfast.halves.handed_over"), int64(2*each))
	require.GreaterOrEqual(t, sum(t, reader, "holdfast.recovery.answers"), int64(2*each))
	n := len(s.recoveries("Completed"))
	t.Logf("%d recoveries", n)
	require.Less(t, n, each/5, "a sweep has one")
	w.stop()
	s.drained()
}

// sum adds up a metric's series.
func sum(t *testing.T, r sdk.Reader, name string) (n int64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, r.Collect(t.Context(), &all))
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != name {
				continue
			}
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					n += p.Value
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					n += p.Value
				}
			}
		}
	}
	return n
}
