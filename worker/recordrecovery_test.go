package worker_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// TestRecordRecovery records the histories of workflows Recovery, of one that
// waited, and of a transaction that left one, as [TestRecordHistories] does.
func TestRecordRecovery(t *testing.T) {
	r := newRecorder(t, newSiteOn)
	s := r.site
	s.consuming(payments(s.effects))
	for name, open := range map[string][]string{"recovery": nil, "recovery-left": {"recovery-left-open"}} {
		committed, never := []string{name + "-committed-1", name + "-committed-2"}, []string{name + "-never"}
		s.commit(committed)
		commit := s.hold(open...)
		s.abandon(append(append(append([]string{}, committed...), never...), open...))
		w := s.producer(func(o *worker.Options) {
			*o = laneOf("express").options(*o)
			o.Instance, o.Timeouts.Task = "recorder-1", 10*time.Second
		})
		for _, id := range open {
			s.started(id)
		}
		commit()
		for _, id := range open {
			require.Equal(t, workflows.Committed, s.ended(id).State)
			r.write("left", r.history(id))
		}
		saved := false
		until(t, "the recovery can be seen", func() bool {
			for _, id := range s.recoveries("Completed") {
				var status transactions.Status
				require.NoError(t, s.temporal.GetWorkflow(s.ctx(), id, "").Get(s.ctx(), &status))
				if len(status.Transactions) == len(committed)+len(never)+len(open) && status.Transactions[0].ID[:len(name)+1] == name+"-" {
					r.write(name, s.historyOf(id))
					saved = true
				}
			}
			return saved
		})
		w.stop()
	}

	waited := []string{"recovery-waited-1", "recovery-waited-2"}
	s.abandon(waited)
	s.keeper(func(o *worker.Options) {
		o.Instance, o.Timeouts.Task = "recorder-1", 10*time.Second
		o.CheckBack = transactions.Schedule{Delays: []time.Duration{time.Second, 10 * time.Second}}
	})
	s.waits()
	s.abroad(waited...)
	for _, id := range waited {
		s.oneEffect(id)
	}
	until(t, "the recovery that waited can be seen", func() bool {
		for _, id := range s.recoveries("Completed") {
			var status transactions.Status
			require.NoError(t, s.temporal.GetWorkflow(s.ctx(), id, "").Get(s.ctx(), &status))
			if slices.Contains(waited, status.Transactions[0].ID) {
				r.write("recovery-waited", s.historyOf(id))
				return true
			}
		}
		return false
	})
}
