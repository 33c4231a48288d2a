package sagarun

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/stepend"
)

// TestRepliesThatDoNotCount: one that was not asked for does not end the wait, and
// is counted for whoever looks at the process.
func TestRepliesThatDoNotCount(t *testing.T) {
	call := broker.SagaCall{Workflow: "w", Saga: "s", Step: "pay", Token: "secret", Topic: "payment.charge"}
	reply := broker.SagaReply{Workflow: "w", Saga: "s", Step: "pay", Token: "secret", Topic: "payment.charge", Outcome: stepend.Done}
	changed := func(change func(*broker.SagaReply)) broker.SagaReply {
		r := reply
		change(&r)
		return r
	}
	var w Waiters
	came, forget := w.expect(call, false)
	bad := []broker.SagaReply{
		changed(func(r *broker.SagaReply) { r.Token = "" }),
		changed(func(r *broker.SagaReply) { r.Token = "guess" }),
		changed(func(r *broker.SagaReply) { r.Topic = "seat.take" }),
		changed(func(r *broker.SagaReply) { r.Topic = "" }),
	}
	for _, r := range bad {
		require.False(t, w.Give(r))
	}
	require.False(t, w.Give(changed(func(r *broker.SagaReply) { r.Step = "seat" })), "nobody waits for it")
	require.Equal(t, len(bad), w.Distrusted().N)
	require.Equal(t, bad[3], w.Distrusted().Last)
	require.False(t, w.Distrusted().Since.IsZero())
	require.True(t, w.Give(reply))
	<-came
	require.Equal(t, &reply, forget())

	came, _ = w.expect(call, true) // an earlier version's participant
	require.False(t, w.Give(bad[1]), "a wrong token is never right")
	require.True(t, w.Give(changed(func(r *broker.SagaReply) { r.Token, r.Topic = "", "" })))
	<-came
}
