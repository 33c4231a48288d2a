package worker_test

import (
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

// TestOpsT16aDiscardOfACommittedHalf: RabbitMQ drops half messages. That of a
// committed transaction is not discarded, that of another one is.
func TestOpsT16aDiscardOfACommittedHalf(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.broker()
	require.NoError(t, b.DeclareGroup(s.ctx(), group))
	s.consuming(payments(s.effects))
	committed, never := newID(), newID()
	require.NoError(t, s.orders.Exec("INSERT INTO holdfast_outcomes (tx_id, producer_group, resolution) VALUES (?, ?, 'commit')", committed, group).Error)
	for _, id := range []string{committed, never} {
		require.NoError(t, b.PublishHalf(s.ctx(), holdfast.Half{TxID: id, Group: group, Messages: []holdfast.Message{order(id)}}))
	}
	queue := b.HalfQueue(group)
	s.channel(func(ch *amqp.Channel) {
		halves, err := ch.Consume(queue, "", false, false, false, false, nil)
		require.NoError(t, err)
		for range 2 {
			require.NoError(t, next(t, halves).Reject(false))
		}
	})
	s.producer(func(o *worker.Options) { *o = hurried(*o) })
	s.awaitLetter(queue, committed, workflows.Parked)
	s.awaitLetter(queue, never, workflows.Parked)

	_, err := s.askLetter(queue, committed, deadletters.UpdateDiscard)
	require.ErrorContains(t, err, "COMMITTED")
	require.Equal(t, workflows.Parked, s.letter(queue, committed).State)
	discarded, err := s.askLetter(queue, never, deadletters.UpdateDiscard)
	require.NoError(t, err)
	require.Equal(t, workflows.Discarded, discarded.State)
	_, err = s.askLetter(queue, committed, deadletters.UpdateRedeliver)
	require.NoError(t, err)
	s.oneEffect(committed)
}

// TestOpsT16bDeadLetterExpires: a policy with a message-ttl applies to everything,
// and no process has Temporal: the dead letter is put back until one has.
func TestOpsT16bDeadLetterExpires(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	policy := "ttl-" + s.at.Prefix // long enough for the consumer to have it before it expires
	stacktest.RabbitMQ(t, s.stack, "rabbitmqctl", "set_policy", policy, "^"+s.at.Prefix, `{"message-ttl":10000}`, "--apply-to", "queues")
	o := worker.Options{AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix, Logger: s.log(), Timeouts: worker.Timeouts{Drain: 20 * time.Second}}
	var rings bells
	rings.hears(&o)
	s.run(o, failing(s.effects, broken(errOops)))
	id := newID()
	s.publish(s.broker(), order(id))
	until(t, "it has expired as a dead letter", func() bool { return len(rings.of(holdfast.AlertDeadLettersExpire)) > 0 })
	s.producer() // Temporal is back
	parked := s.awaitLetter("payments", id, workflows.Parked)
	require.Contains(t, parked.Reason, "out of anchors", "why it died at first")
	require.Contains(t, parked.Reason, "message-ttl in a policy")
}
