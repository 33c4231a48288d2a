package sagaexpress

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// A holder names the workflow, and the attempt to drive its members: the next attempt is another
// holder, also where the process before it only seems to be dead.
func TestHolders(t *testing.T) {
	workflow := workflows.SagaCohortID("hf", "orders", "0190aa")
	one, next := newHolder(workflow), newHolder(workflow)
	require.NotEqual(t, one, next)
	require.True(t, IsCohort(one))
	require.False(t, IsCohort("0190aa"))
	require.Equal(t, cohortOf(one), cohortOf(next))
	require.Equal(t, workflow, CohortWorkflow(one, func(id string) string { return workflows.SagaCohortID("hf", "orders", id) }))
	long := newHolder(workflows.SagaCohortID("hf", "orders", "0190b1d2-0000-7000-8000-000000000000"))
	require.LessOrEqual(t, len(long), 100, "what a begin row takes")
}

// A round tells what was done in it, however far the member is by then.
func TestRoundsAreTold(t *testing.T) {
	c := &cohort{moved: make(chan struct{}), seats: map[string]*seat{}}
	s := &seat{in: c, rounds: [][]activities.SagaMemberStep{nil}}
	c.seats["x"] = s
	in := activities.SagaCohort{Round: 1, Members: []activities.SagaMember{{ID: "x"}}}
	slow, moved := c.slow(in)
	require.Len(t, slow, 1)
	require.Equal(t, activities.MemberLeaving, c.told("x", 1).State)

	s.did("a", core.Outcome{Kind: core.OutcomeDone}, time.Millisecond)
	s.pass()
	<-moved
	slow, _ = c.slow(in)
	require.Empty(t, slow)
	s.did("b", core.Outcome{Kind: core.OutcomeRefused, Error: "no"}, time.Millisecond)
	s.end(activities.SagaMemberEnd{State: activities.MemberLeft, Why: "b"})
	first, second := c.told("x", 1), c.told("x", 2)
	require.Equal(t, []string{activities.MemberRuns, activities.MemberLeft}, []string{first.State, second.State})
	require.Equal(t, []string{"a", "b"}, []string{first.Steps[0].Step, second.Steps[0].Step})
	require.Equal(t, "no", second.Steps[0].Error)
	require.Equal(t, activities.MemberLeaving, c.told("y", 1).State)
	require.Equal(t, activities.MemberLeaving, (*cohort)(nil).told("x", 2).State, "this process did not begin them")

	var none *seat // in the Express lane
	none.did("a", core.Outcome{}, 0)
	none.pass()
	none.end(activities.SagaMemberEnd{})
}
