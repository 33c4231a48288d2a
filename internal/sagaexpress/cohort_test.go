package sagaexpress

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
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

// A member that another process has ended is not left in this one; one that this process drives its
// driver ends.
func TestFoundMembers(t *testing.T) {
	freed := 0
	l := New(Options{Most: 2, Database: func() string { return "" }})
	plan := &core.Plan{Name: "travel", Steps: []core.Step{{Name: "a", Kind: core.Local, NoUndo: true}}}
	member := func(id string) *Run {
		r, first := l.NewMember(plan, id, holdfast.SagaStart{State: []byte(`{}`)}, func() { freed++ })
		require.True(t, first)
		return r
	}
	theirs, ours := member("theirs"), member("ours")
	l.Expect("w", []*Run{theirs, ours})
	ours.seat = &seat{}
	l.Found("w", theirs, holdfast.ErrDuplicate)
	l.Found("w", ours, nil)
	<-theirs.Left()
	require.ErrorIs(t, theirs.Refused(), holdfast.ErrDuplicate)
	require.Equal(t, 1, freed)
	require.Nil(t, l.Running("theirs"))
	require.Equal(t, map[string]*Run{"ours": ours}, l.expected["w"])
	require.Same(t, ours, l.Running("ours"))
	select {
	case <-ours.Left():
		t.Fatal("its driver has not ended it")
	default:
	}
}

// Of two starts of a key that have waited for room, one is the member: the other joins it, and gives
// its room back.
func TestSecondStartJoinsTheMember(t *testing.T) {
	freed := 0
	l := New(Options{Most: 2, Database: func() string { return "" }})
	plan := &core.Plan{Name: "travel", Steps: []core.Step{{Name: "a", Kind: core.Local, NoUndo: true}}}
	start := func(state string) (*Run, bool) {
		return l.NewMember(plan, "x", holdfast.SagaStart{State: []byte(state)}, func() { freed++ })
	}
	one, first := start(`{"A":1}`)
	require.True(t, first)
	same, first := start(`{"A":1}`)
	require.False(t, first)
	require.Same(t, one, same)
	require.Equal(t, 1, freed)
	other, first := start(`{"A":2}`)
	require.True(t, first, "it may be refused, and not be joined")
	require.NotSame(t, one, other)
}
