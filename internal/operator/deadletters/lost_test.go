package deadletters

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

func TestWhatALostLetterGoesOnWith(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for state, want := range map[workflows.State]struct {
		state workflows.State
		why   string
	}{
		workflows.Parked:       {workflows.Parked, "its workflow was terminated, and started again by ann: oops"},
		workflows.Waits:        {workflows.Waits, "started again by ann: oops"},
		workflows.Handled:      {workflows.Handled, ""},
		workflows.Redelivering: {workflows.Parked, "redelivery 3 was not answered until then"},
		workflows.Compensating: {workflows.Parked, "its compensation was not over"},
	} {
		s := deadflow.Status{State: state, Redeliveries: 3, Actions: []string{"discard"}}
		takenUp(&s, "terminated", "ann", "oops", now)
		require.Equal(t, want.state, s.State, state)
		require.Contains(t, s.Reason, want.why, state)
		require.Empty(t, s.Actions)
		require.Equal(t, state == workflows.Handled, len(s.Story) == 0)
	}
}

// TestALostLetterIsNeverNew: where nobody can say what the last run knew, the
// next one does not begin with the policy, which could compensate what is to be
// discarded.
func TestALostLetterIsNeverNew(t *testing.T) {
	away := errors.New("no answer")
	died := holdfast.Failure{Consumer: "billing", Reason: "no such card", Redelivery: 2}
	in := deadflow.Input{Letter: holdfast.DeadLetter{Failure: died, Policy: holdfast.Policy{Action: holdfast.PolicyCompensate}}}
	require.Equal(t, &deadflow.Status{State: workflows.Parked, Failure: died, Redeliveries: 2}, lastKnown(in, deadflow.Status{}, away))

	answered := deadflow.Status{State: workflows.Waits, Redeliveries: 5}
	require.Equal(t, &answered, lastKnown(in, answered, nil))

	in.Resumed = &deadflow.Status{State: workflows.Waits, Redeliveries: 4, Next: time.Now()}
	require.Equal(t, &answered, lastKnown(in, answered, nil))
	require.Equal(t, &deadflow.Status{State: workflows.Parked, Redeliveries: 4}, lastKnown(in, deadflow.Status{}, away))
}
