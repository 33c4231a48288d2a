package worker_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// cohortOf is how many transactions are in the cohort that is killed.
const cohortOf = 32

// TestCohortFailureMatrix kills a process in the middle of each step of a cohort:
// when some of its members have come there, and others have not. Another process
// takes over; then each member has ended as its database says.
func TestCohortFailureMatrix(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		dies string
		// committed is how many local transactions are committed at least, and at
		// most, when it dies.
		least, most int
	}{
		{"before the half's confirm", fault.HalfBeforeConfirm, 0, 0},
		{"after half, before local transaction", fault.HalfAfterConfirm, 0, 0},
		{"inside the local transaction", insideLocal, 0, cohortOf - 1},
		{"after COMMIT, before its answer", fault.LocalAfterCommit, cohortOf / 2, cohortOf},
		{"after COMMIT, before the publish", fault.CommitBeforePublish, cohortOf / 2, cohortOf},
		{"after publish, before its confirm", fault.CommitBeforeConfirm, cohortOf / 2, cohortOf},
		{"after confirm, before op", fault.CommitAfterConfirm, cohortOf / 2, cohortOf},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			seen := &audit{}
			s.consuming(payments(s.effects), seen.consumer())
			s.child(childConfig{Role: roleProducer, Form: formCohort, Fault: row.dies, Nth: cohortOf / 2, Lane: "traced"}).killed()

			w := s.successor(laneOf("traced"))
			members := s.cohortMembers()
			require.Len(t, members, cohortOf)
			committed := 0
			var gone []string
			for _, m := range members {
				row, err := barrier.Read(s.ctx(), s.orders, m.ID)
				require.NoError(t, err, "outcome row of %+v", m)
				if row.Resolution == holdfast.Commit {
					committed++
					require.Equal(t, workflows.Committed, m.State, "%+v", m)
					require.Equal(t, 1, s.ordered(m.ID))
					require.Equal(t, "C-"+m.ID, s.oneEffect(m.ID).Key)
					continue
				}
				require.Contains(t, []workflows.State{workflows.RolledBack, workflows.Refused}, m.State, "%+v", m)
				require.Zero(t, s.ordered(m.ID))
				gone = append(gone, m.ID)
			}
			require.GreaterOrEqual(t, committed, row.least)
			require.LessOrEqual(t, committed, row.most)
			require.Equal(t, committed, s.count(s.orders, "SELECT count(*) FROM orders"))
			s.neverDelivered(w, seen, append(gone, newID())[0]) // what is sent later has come
			for _, id := range gone {
				require.Zero(t, seen.of(id))
			}
		})
	}
}

// cohortMembers waits for the end of the one cohort of this site, and of whatever
// its members left to, and returns how each ended.
func (s *site) cohortMembers() []transactions.MemberStatus {
	s.t.Helper()
	status := s.cohort()
	for i, m := range status.Transactions {
		if m.State == workflows.Left {
			status.Transactions[i] = s.ended(m.ID)
		}
	}
	return status.Transactions
}

// cohort waits for the end of the one cohort of this site.
func (s *site) cohort() (status transactions.Status) {
	s.t.Helper()
	var id string
	until(s.t, "the cohort's workflow is found", func() bool {
		list, err := s.temporal.ListWorkflow(s.ctx(), &workflowservice.ListWorkflowExecutionsRequest{Namespace: s.at.Namespace,
			Query: fmt.Sprintf("TaskQueue = '%s' AND WorkflowType = '%s' AND WorkflowId STARTS_WITH '%s'",
				workflows.TaskQueue(s.at.Prefix, group), transactions.Name, workflows.CohortWorkflowID(s.at.Prefix, group, ""))})
		require.NoError(s.t, err)
		for _, e := range list.GetExecutions() {
			id = e.GetExecution().GetWorkflowId()
		}
		return id != ""
	})
	require.True(s.t, strings.HasPrefix(id, workflows.CohortWorkflowID(s.at.Prefix, group, "")))
	require.NoError(s.t, s.temporal.GetWorkflow(s.ctx(), id, "").Get(s.ctx(), &status))
	return status
}
