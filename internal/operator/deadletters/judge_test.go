package deadletters

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

func TestJudge(t *testing.T) {
	died := func(n int) holdfast.Failure { return holdfast.Failure{Reason: "sold out", Redelivery: n} }
	for name, tc := range map[string]struct {
		update  string
		state   workflows.State
		failure holdfast.Failure
		want    actions.Verdict
		detail  string
		pending bool
	}{
		"handled":               {deadflow.UpdateRedeliver, workflows.Handled, died(0), actions.Handled, "", false},
		"not answered":          {deadflow.UpdateRedeliver, workflows.Redelivering, died(1), actions.Redelivered, "the consumer has not answered yet", true},
		"failed again":          {deadflow.UpdateRedeliver, workflows.Parked, died(2), actions.FailedAgain, "sold out", false},
		"failed, policy waits":  {deadflow.UpdateRedeliver, workflows.Waits, died(2), actions.FailedAgain, "sold out (the policy redelivers it later)", false},
		"failed, policy undoes": {deadflow.UpdateRedeliver, workflows.Compensating, died(2), actions.FailedAgain, "sold out (the policy compensates it)", false},
		"failed, and another":   {deadflow.UpdateRedeliver, workflows.Redelivering, died(3), actions.FailedAgain, "sold out (and it was redelivered again since)", false},
		"no queue":              {deadflow.UpdateRedeliver, workflows.Parked, died(1), actions.Refused, "why", false},
		"discarded by another":  {deadflow.UpdateRedeliver, workflows.Discarded, died(0), actions.Settled, "discarded", false},
		"compensated":           {workflows.UpdateCompensate, workflows.Compensated, died(0), actions.Compensated, "", false},
		"compensating":          {workflows.UpdateCompensate, workflows.Compensating, died(0), actions.Undoing, "why", true},
		"not compensated":       {workflows.UpdateCompensate, workflows.Parked, died(0), actions.FailedAgain, "why", false},
		"handled meanwhile":     {workflows.UpdateCompensate, workflows.Handled, died(0), actions.Settled, "handled", false},
		"discarded":             {deadflow.UpdateDiscard, workflows.Discarded, died(0), actions.Discarded, "", false},
		"not discarded":         {deadflow.UpdateDiscard, workflows.Parked, died(0), actions.Unknown, "it is parked: why", false},
	} {
		t.Run(name, func(t *testing.T) {
			o := judge(tc.update, deadflow.Status{State: tc.state, Failure: tc.failure, Reason: "why"}, 2)
			require.Equal(t, actions.Outcome{Outcome: tc.want, Detail: tc.detail, Pending: tc.pending, State: string(tc.state), Redelivery: 2}, o)
		})
	}
}

func TestPolicyText(t *testing.T) {
	require.Equal(t, "wait for an operator; edits are allowed", policyText(holdfast.Policy{AllowEdits: true}))
	require.Equal(t, "redeliver after 1m00s, 1h00m, then wait for an operator",
		policyText(holdfast.Policy{Action: holdfast.PolicyRedeliver, Redeliver: []time.Duration{time.Minute, time.Hour}}))
}
