package sagas_test

import (
	"testing"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// TestNothingIsHeardBeforeWhatWasDoneIsKnown: a process, or a lost run of the first workflow task, may have
// done steps. Whoever has the saga turn back with that task has these undone, too.
func TestNothingIsHeardBeforeWhatWasDoneIsKnown(t *testing.T) {
	begun := func(in sagas.Input) sagas.Input {
		in.Plan.Express, in.HearsLater = true, true
		return in
	}
	again := sagaOf(localStep("a"), localStep("b"))
	again.Plan, again.Again, again.HearsLater = nil, true, true
	for name, in := range map[string]sagas.Input{
		"the begin row": begun(sagaOf(localStep("a"), localStep("b"))),
		"the plan":      again,
	} {
		t.Run(name, func(t *testing.T) {
			p := stageOf(t, in)
			p.OnActivity(activities.SagaOwn, mock.Anything, mock.Anything).Return(activities.SagaOwned{Begun: true}, nil).Maybe()
			plan := sagaOf(localStep("a"), localStep("b")).Plan
			p.OnActivity(activities.SagaPlan, mock.Anything, mock.Anything).Return(activities.SagaPlanned{Plan: *plan}, nil).Maybe()
			p.ask(0, workflows.UpdateCompensate, ann(""))
			s := p.run()
			require.Equal(t, core.StateCompensated, s.State)
			require.Equal(t, []string{"do a", "do b", "undo b", "undo a"}, p.calls, "what may have been done is done, and undone")
		})
	}
}

// TestOwnedByAnotherVersion: what a process began by another version goes on by that one's plan. An older
// process does not say the version: then the plan that is known counts.
func TestOwnedByAnotherVersion(t *testing.T) {
	for said, calls := range map[int][]string{0: {"do a", "do new"}, 1: {"do a", "do old"}, 2: {"do a", "do new"}} {
		in := sagaOf(localStep("a"), localStep("new"))
		in.Plan.Express, in.Plan.Version, in.Version = true, 2, 2
		p := stageOf(t, in)
		p.OnActivity(activities.SagaOwn, mock.Anything, mock.Anything).Return(activities.SagaOwned{Begun: true, Version: said}, nil)
		old := *sagaOf(localStep("a"), localStep("old")).Plan
		p.OnActivity(activities.SagaPlan, mock.Anything, mock.MatchedBy(func(of activities.SagaRef) bool {
			return of.Version == 1
		})).Return(activities.SagaPlanned{Plan: old}, nil).Maybe()
		s := p.run()
		require.Equal(t, core.StateCompleted, s.State)
		require.Equal(t, calls, p.calls, "version %d", said)
	}
}
