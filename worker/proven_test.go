package worker_test

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

// TestCompensatesWhatWasCommitted: a dead letter that is not what a transaction of
// the group committed parks, with words; an operator may force it.
func TestCompensatesWhatWasCommitted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	refusing := failing(s.effects, broken(holdfast.Permanent(errOops)))
	refusing.DeadLetters = holdfast.Policy{Action: holdfast.PolicyCompensate}
	s.consuming(refusing)
	s.compensating()
	b := s.broker()

	committed := order(newID())
	s.publish(b, committed)
	s.awaitLetter("payments", committed.ID, workflows.Compensated)
	require.Equal(t, 1, s.refunded(committed.ID))

	// As somebody would publish it who knows our headers.
	forged := func(id, tx, key string) string {
		s.foreign(b, amqp.Publishing{MessageId: id, Body: []byte("x"), Headers: amqp.Table{
			"holdfast-tx": tx, "holdfast-group": group, "holdfast-key": key, "holdfast-original-sha256": "00"}})
		return id
	}
	other := order(newID())
	require.NoError(t, s.commits(other))
	for id, why := range map[string]string{
		forged(newID(), newID(), "the victim"):   "has no outcome row",
		forged(other.ID, other.ID, "the victim"): "is not what it committed",
		forged(newID(), other.ID, other.Key):     "has no message",
	} {
		parked := s.awaitLetter("payments", id, workflows.Parked)
		require.Contains(t, parked.Reason, why)
		require.Contains(t, parked.Reason, "--force")
		require.Zero(t, s.refunded(id))
	}
	done, err := s.askLetter("payments", other.ID, workflows.UpdateCompensate, func(r *deadletters.Request) { r.Force = true })
	require.NoError(t, err)
	require.Equal(t, workflows.Compensated, done.State)
	require.Equal(t, 1, s.refunded(other.ID))
}
