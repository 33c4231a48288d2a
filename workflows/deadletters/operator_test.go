package deadletters_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/deadletters"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

func TestOperatorOfDeadLetterIsRefused(t *testing.T) {
	edits := letter(holdfast.Policy{AllowEdits: true})
	foreign := letter(holdfast.Policy{Action: holdfast.PolicyCompensate})
	foreign.Group, foreign.TxID = "", ""
	kept := letter(holdfast.Policy{AllowEdits: true, Action: holdfast.PolicyRedeliver, Redeliver: []time.Duration{time.Minute}})
	kept.Kept, kept.Size = "holdfast.dead.oversized", 5<<20
	const is = "message m-1 is parked and cannot be "
	for name, tc := range map[string]struct {
		letter  holdfast.DeadLetter
		update  string
		request deadletters.Request
		want    string
	}{
		"nobody":              {edits, deadletters.UpdateRedeliver, deadletters.Request{Reason: "x"}, "say who asks and why"},
		"no reason":           {edits, deadletters.UpdateDiscard, deadletters.Request{Operator: "x"}, "say who asks and why"},
		"edits not allowed":   {letter(holdfast.Policy{}), deadletters.UpdateRedeliverEdited, edit("x"), is + "edited: consumer payment does not allow it (Policy.AllowEdits); redeliver it as it is, compensate or discard it"},
		"no body":             {edits, deadletters.UpdateRedeliverEdited, by("ann"), "no new body is given"},
		"two bodies":          {edits, deadletters.UpdateRedeliverEdited, deadletters.Request{Operator: "a", Reason: "b", Text: "x", Base64: []byte("x")}, "give one of them"},
		"too large":           {edits, deadletters.UpdateRedeliverEdited, edit(strings.Repeat("x", holdfast.MaxBody+1)), "the new body has 1048577 bytes, the limit is 1048576"},
		"content type":        {edits, deadletters.UpdateRedeliverEdited, deadletters.Request{Operator: "a", Reason: "b", Text: "x", ContentType: "a\nb"}, "content type"},
		"negative wait":       {edits, deadletters.UpdateRedeliver, deadletters.Request{Operator: "a", Reason: "b", Wait: -1}, "a wait of -1ns"},
		"negative wait, edit": {edits, deadletters.UpdateRedeliverEdited, deadletters.Request{Operator: "a", Reason: "b", Text: "x", Wait: -1}, "a wait of -1ns"},
		"a body for none":     {edits, deadletters.UpdateRedeliver, edit("x"), "only redeliver-edited takes them"},
		"a body to discard":   {edits, deadletters.UpdateDiscard, edit("x"), "only redeliver-edited takes them"},
		"no group":            {foreign, workflows.UpdateCompensate, by("ann"), is + "compensated: a foreign publisher sent it: there is no producer group that could; redeliver or discard it"},
		"kept, redeliver":     {kept, deadletters.UpdateRedeliver, by("ann"), is + "redelivered: it has 5242880 bytes, too many for a workflow: the whole of it is in queue holdfast.dead.oversized, to be dealt with there; then discard this letter"},
		"kept, edit":          {kept, deadletters.UpdateRedeliverEdited, edit("x"), is + "redelivered: it has"},
		"kept, compensate":    {kept, workflows.UpdateCompensate, by("ann"), is + "compensated: it has"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bury(t, tc.letter)
			refused := b.ask(time.Hour, tc.update, tc.request)
			b.at(2*time.Hour, func() {
				s := b.status()
				require.Equal(t, workflows.Parked, s.State)
				require.Contains(t, s.Actions, deadletters.UpdateDiscard)
			})
			b.discard(3 * time.Hour)
			s := b.run()
			require.ErrorContains(t, refused.rejected, tc.want)
			require.Equal(t, []string{"died", "discard"}, happened(s), "a refused Update leaves no trace")
			require.Zero(t, b.tried+b.compensated)
		})
	}
}

// TestForceWhileRedelivering: what the consumer may still handle is not given up
// by mistake.
func TestForceWhileRedelivering(t *testing.T) {
	for _, update := range []string{workflows.UpdateCompensate, deadletters.UpdateDiscard} {
		t.Run(update, func(t *testing.T) {
			b := bury(t, letter(holdfast.Policy{}))
			b.ask(time.Minute, deadletters.UpdateRedeliver, by("ann"))
			refused := b.ask(2*time.Minute, update, by("bob"))
			force := by("bob")
			force.Force = true
			done := b.ask(3*time.Minute, update, force)
			s := b.run()
			require.ErrorContains(t, refused.rejected, "message m-1 is redelivering: the consumer has not answered redelivery 1 and may still handle it; wait for its answer, or repeat this with force")
			require.NoError(t, done.err)
			require.True(t, s.State.Final())
			require.Equal(t, s.State, done.status.State)
		})
	}
}

// TestTwoOperatorsAtOnce: the second of two requests of one moment sees what the
// first has begun.
func TestTwoOperatorsAtOnce(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	var second *deadAnswer
	first := b.ask(time.Minute, workflows.UpdateCompensate, by("ann"))
	second = b.ask(time.Minute, workflows.UpdateCompensate, by("bob"))
	s := b.run()
	require.NoError(t, first.err)
	require.Equal(t, workflows.Compensated, s.State)
	require.True(t, second.rejected != nil || second.err != nil || second.answered.IsZero(), "%+v", second)
	require.Equal(t, 1, b.compensated)
}

func TestInvalidPolicyParks(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{Action: "burn", AllowEdits: true}))
	b.at(time.Hour, func() {
		s := b.status()
		require.Equal(t, workflows.Parked, s.State)
		require.Contains(t, s.Reason, "its policy is ignored")
		require.NotContains(t, s.Actions, deadletters.UpdateRedeliverEdited)
	})
	b.discard(2 * time.Hour)
	b.run()
}

func TestInvalidDeadLetter(t *testing.T) {
	for name, l := range map[string]holdfast.DeadLetter{"no ID": {Queue: "q"}, "no queue": {ID: "1"}} {
		t.Run(name, func(t *testing.T) {
			b := bury(t, l)
			b.ExecuteWorkflow(deadletters.Name, b.in)
			var failure *temporal.ApplicationError
			require.ErrorAs(t, b.GetWorkflowError(), &failure)
			require.Equal(t, workflows.InvalidInput, failure.Type())
			require.True(t, failure.NonRetryable())
		})
	}
}

// TestNobodySignsAsHoldfast: an operator's name that Holdfast itself signs with is
// refused, by Update and by signal.
func TestNobodySignsAsHoldfast(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	asked := b.ask(time.Minute, deadletters.UpdateDiscard, by("policy"))
	b.signal(2*time.Minute, deadletters.UpdateDiscard, by("Timeout"))
	b.at(3*time.Minute, func() { require.Equal(t, workflows.Parked, b.status().State) })
	b.discard(time.Hour)
	s := b.run()
	require.ErrorContains(t, asked.rejected, `the operator cannot be "policy"`)
	require.Equal(t, []string{"died", "refused", "discard"}, happened(s))
}
