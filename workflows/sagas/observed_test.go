package sagas_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// TestObservedSagaHadEnded: a workflow that a completed saga of the Express lane gets says
// that this is no news; any other end is.
func TestObservedSagaHadEnded(t *testing.T) {
	last, err := json.Marshal(core.State{Phase: core.Forwards, Data: json.RawMessage(`{"amount":2}`), Stack: []string{"charge"},
		Steps: map[string]*core.StepState{"charge": {Status: core.Done, Tries: 1}}})
	require.NoError(t, err)
	in := sagaOf(localStep("charge"))
	in.Plan.Express = true
	completed, err := sagas.CompletedInput(in, last)
	require.NoError(t, err)
	undone := sagaOf(localStep("charge"))
	undone.Resumed, undone.Undo = completed.Resumed, &sagas.UndoOf{RunID: "1", Operator: "ann", Reason: "sent back"}
	for name, row := range map[string]struct {
		in    sagas.Input
		state string
		had   bool
	}{
		"completed without a workflow": {completed, core.StateCompleted, true},
		"completed in it":              {sagaOf(localStep("charge")), core.StateCompleted, false},
		"undone after its end":         {undone, core.StateCompensated, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := stageOf(t, row.in)
			var states []string
			p.RegisterWorkflowWithOptions(sagas.Observed(func(s sagas.Status, had bool) {
				require.Equal(t, row.had, had)
				states = append(states, s.State)
			}), workflow.RegisterOptions{Name: "observed"})
			p.ExecuteWorkflow("observed", p.in)
			require.NoError(t, p.GetWorkflowError())
			require.Equal(t, []string{row.state}, states)
		})
	}
}
