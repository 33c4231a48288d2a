package worker_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
)

// TestRecordCohorts does for cohorts what TestRecordHistories does for single
// transactions.
func TestRecordCohorts(t *testing.T) {
	r := newRecorder(t, newSiteOn)
	s := r.site
	s.consuming(payments(s.effects))
	o := s.options()
	o.Instance, o.Timeouts.Reach, o.Timeouts.Local = "recorder-1", 10*time.Second, time.Minute
	r.w = s.run(o)

	quick := func(i int) (context.Context, holdfast.Message, worker.Local) {
		m := plain(i)
		if i%2 == 1 {
			m.Topic = "order.paid"
		}
		return s.ctx(), m, insert
	}
	all := r.recordCohort(r.w, "cohort", 5, quick)
	require.NoError(t, all[0].err)

	r.recordCohort(r.w, "cohort-rollback", 5, func(i int) (context.Context, holdfast.Message, worker.Local) {
		ctx, m, local := quick(i)
		switch i {
		case 1:
			return ctx, m, func(context.Context, *gorm.DB, *holdfast.Message) error { return errOops }
		case 2:
			return ctx, m, insertAndPass
		}
		return ctx, m, local
	})

	slow := func(i int) (context.Context, holdfast.Message, worker.Local) {
		ctx, m, local := quick(i)
		if i > 0 {
			return ctx, m, local
		}
		return ctx, m, func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			until(t, "it has left", func() bool {
				_, err := s.temporal.DescribeWorkflowExecution(ctx, workflows.WorkflowID(r.at.Prefix, group, m.ID), "")
				return err == nil
			})
			return insert(ctx, tx, m)
		}
	}
	for saved := false; !saved; {
		got := r.recordCohort(r.w, "cohort-slow", 4, slow)
		r.save("left-running", got[0].receipt.TxID)
		saved = inCohort(got[1].receipt)
	}

	o.Instance, o.Temporal = "recorder-2", r.dial(&cable{lazy: true})
	other := r.run(o)
	for saved := false; !saved; {
		got := r.recordCohort(other, "cohort-elsewhere", 4, slow)
		saved = slices.Contains(r.activitiesOf(got[1].receipt.WorkflowID), activities.LocalTransactionsInProcess)
	}
}

// recordCohort saves the history of a cohort whose second member stays in it.
func (r *recorder) recordCohort(w *running, name string, n int, make func(i int) (context.Context, holdfast.Message, worker.Local)) []sent {
	r.t.Helper()
	got := r.together(w, n, make)
	for _, g := range got {
		r.member(g.receipt)
	}
	r.write(name, r.historyOf(got[1].receipt.WorkflowID))
	return got
}
