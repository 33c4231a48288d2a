package activities

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/saga/core"
)

type planner struct {
	SagaRunner
	plan core.Plan
}

func (p planner) Plan(context.Context, string, int) (core.Plan, error) { return p.plan, nil }

// Where an earlier version may run the rest of a workflow, whoever finds its plan makes it the one that
// drives the saga, or does not answer. One whose plan has it do so by itself does.
func TestPlanTakesTheBeginRow(t *testing.T) {
	plan := core.Plan{Name: "travel", Steps: []core.Step{{Name: "a", Kind: core.Local}}}
	var owned []string
	var fails error
	a := Sagas{OwnFirst: true, Own: func(_ context.Context, in SagaOwning) (SagaOwned, error) {
		owned = append(owned, in.Saga.ID)
		return SagaOwned{}, fails
	}}
	ask := func(p core.Plan) error {
		a.Runner = planner{plan: p}
		_, err := a.plan(t.Context(), SagaRef{ID: "x", Name: "travel"})
		return err
	}
	require.NoError(t, ask(plan))
	require.Equal(t, []string{"x"}, owned)
	fails = errors.New("the database is away")
	require.ErrorIs(t, ask(plan), fails)
	waits, reads := plan, plan
	waits.Steps = []core.Step{{Name: "approve", Kind: core.Wait}}
	reads.Cohort = true
	owned = nil
	require.NoError(t, ask(waits))
	require.NoError(t, ask(reads))
	a.OwnFirst = false
	require.NoError(t, ask(plan))
	require.Empty(t, owned)
}
