package worker_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
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

// plain is order i with an ID that Send makes.
func plain(i int) holdfast.Message {
	return holdfast.Message{Topic: placed, Key: fmt.Sprintf("K-%d", i), ContentType: "text/plain", Body: []byte("order")}
}

func inCohort(receipt holdfast.Receipt) bool { return strings.HasPrefix(receipt.WorkflowID, "cohort/") }

// member waits for the end of the workflow that a receipt names, and returns how
// the transaction ended there.
func (s *site) member(receipt holdfast.Receipt) workflows.MemberStatus {
	s.t.Helper()
	var status workflows.Status
	require.NoError(s.t, s.temporal.GetWorkflow(s.ctx(), receipt.WorkflowID, receipt.RunID).Get(s.ctx(), &status))
	for _, m := range status.Transactions {
		if m.ID == receipt.TxID {
			return m
		}
	}
	require.FailNow(s.t, "not in its workflow", "%+v", receipt)
	return workflows.MemberStatus{}
}

// TestCallersShareCohorts: each caller gets its own answer.
func TestCallersShareCohorts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	w := s.producer()
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
		require.True(t, strings.HasPrefix(id, "cohort/"+group+"/"), id)
	}
	w.stop()
	s.drained()
}

// TestCohortOfAll: what is unlike the others disturbs none of them.
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
		_, err := s.temporal.DescribeWorkflowExecution(s.ctx(), workflows.WorkflowID(group, slowID), "")
		return err == nil
	})
	// The others are delivered while it still runs.
	until(t, "28 effects", func() bool { return s.count(s.effects, "SELECT count(*) FROM effects") == 28 })
	close(release)
	for i, g := range next(t, results) {
		own := workflows.WorkflowID(group, g.receipt.TxID)
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
			require.True(t, inCohort(g.receipt), g.receipt.WorkflowID)
			require.Equal(t, workflows.Committed, s.member(g.receipt).State)
		}
	}
}

var _ = time.Second
