package cli

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
)

// TestRecheckTakesUpWhatIsLost: a workflow that was terminated after its half
// message had been handed over has nobody left who would end the transaction.
func TestRecheckTakesUpWhatIsLost(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	id := s.park("L-1")
	var kept []processes.KeptQueue
	s.eventually(func() bool { // until then the Keeper would take it up, too
		kept = nil
		s.decode(&kept, "half", "stats", s.group)
		return len(kept) == 1 && kept[0].HandedOver == 1
	}, func() string { return fmt.Sprint("the half message is not handed over: ", kept) })
	require.NoError(t, s.c.TerminateWorkflow(t.Context(), workflows.WorkflowID(s.prefix(), s.group, id), "", "an accident"))
	s.eventually(func() bool {
		_, by := s.diagnose(s.env)
		return by["Temporal lost"].Level == text.LevelProblem
	}, func() string { return "doctor does not see the lost transaction" })

	r := s.holdfast("tx", "recheck", id, "--group", s.group, "--reason", "taken up again")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	require.Contains(t, r.out, ": restarted, ", "it is undecidable again, so there is no end to wait for")
	_, by := s.diagnose(s.env)
	require.Equal(t, text.LevelOK, by["Temporal lost"].Level)
	var done []actions.Outcome
	s.decode(&done, "tx", "commit", id, "--group", s.group, "--reason", "the partner says so")
	require.Equal(t, actions.Committed, done[0].Outcome)
}
