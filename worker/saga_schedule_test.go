package worker_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// TestReproT7Schedule: each run of a Temporal Schedule is a saga of its own, whether its
// input has an ID or none; under a cron schedule it is refused.
func TestReproT7Schedule(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := saga.Saga[journey]{Name: "nightly", Key: journeyID, Steps: []saga.Step[journey]{
		saga.Local("clean", func(_ context.Context, tx *gorm.DB, j *journey) error { return write(tx, j.ID, "clean") }, nil).NoUndo()}}
	s.agency(def)
	begin := func(key string, named bool) client.ScheduleHandle {
		id := workflows.SagaID(s.at.Prefix, group, "nightly", key)
		in := sagas.Input{Group: group, Prefix: s.at.Prefix, Name: "nightly", Key: key, Data: json.RawMessage(`{"id":"` + key + `"}`)}
		if named {
			in.ID = id
		}
		h, err := s.temporal.ScheduleClient().Create(s.ctx(), client.ScheduleOptions{ID: newID(),
			Spec:   client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Second}}},
			Action: &client.ScheduleWorkflowAction{ID: id, Workflow: sagas.Name, Args: []any{in}, TaskQueue: workflows.TaskQueue(s.at.Prefix, group)}})
		require.NoError(t, err)
		t.Cleanup(func() { _ = h.Delete(context.Background()) })
		return h
	}
	handles := []client.ScheduleHandle{begin("named", true), begin("nameless", false)}
	for _, h := range handles {
		var d *client.ScheduleDescription
		until(t, "two runs", func() (there bool) {
			var err error
			d, err = h.Describe(s.ctx())
			require.NoError(t, err)
			return d.Info.NumActions >= 2
		})
		key := d.Schedule.Action.(*client.ScheduleWorkflowAction).ID[len(workflows.SagaID(s.at.Prefix, group, "nightly", "")):]
		completed := 0
		for _, a := range d.Info.RecentActions {
			var status sagas.Status
			require.NoError(t, s.temporal.GetWorkflow(s.ctx(), a.StartWorkflowResult.WorkflowID, "").Get(s.ctx(), &status))
			require.Equal(t, a.StartWorkflowResult.WorkflowID, status.ID)
			completed++
		}
		require.GreaterOrEqual(t, completed, 2)
		require.GreaterOrEqual(t, len(s.logged(s.orders, key)), completed, "a run that completes has done its steps")
	}

	in := sagas.Input{ID: workflows.SagaID(s.at.Prefix, group, "nightly", "cron"), Group: group, Prefix: s.at.Prefix, Name: "nightly", Key: "cron"}
	o := sagas.StartOptions(s.at.Prefix, in)
	o.CronSchedule, o.EnableEagerStart = "@every 1s", false
	run, err := s.temporal.ExecuteWorkflow(s.ctx(), o, sagas.Name, in)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.temporal.TerminateWorkflow(context.Background(), in.ID, "", "the test has ended") })
	until(t, "it is refused", func() bool {
		h := s.temporal.GetWorkflowHistory(s.ctx(), in.ID, run.GetRunID(), false, 0)
		for h.HasNext() {
			e, err := h.Next()
			require.NoError(t, err)
			if f := e.GetWorkflowExecutionFailedEventAttributes(); f != nil {
				require.Contains(t, f.GetFailure().GetMessage(), "use a Temporal Schedule")
				return true
			}
		}
		return false
	})
	require.Empty(t, s.logged(s.orders, "cron"))
}
