package worker_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

// TestPolicyRedelivers: on its schedule, then it is left to an operator.
func TestPolicyRedelivers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var tries atomic.Int32
	c := payments(s.effects)
	c.Ladder, c.Tries = noLadder, 2
	c.DeadLetters = holdfast.Policy{Action: holdfast.PolicyRedeliver, Redeliver: []time.Duration{time.Second, time.Second}}
	c.Handle = func(context.Context, *gorm.DB, holdfast.Message) error { tries.Add(1); return errOops }
	s.consuming(c)
	s.producer()
	b := s.broker()
	m := order(newID())
	s.publish(b, m)

	parked := s.awaitLetter("payments", m.ID, workflows.Parked)
	require.Equal(t, 2, parked.Redeliveries)
	require.Equal(t, 2, parked.Failure.Redelivery)
	require.Contains(t, parked.Reason, "redelivered 2 times")
	require.EqualValues(t, 6, tries.Load(), "each time the immediate tries, and no others")
	for _, e := range parked.Story {
		if e.What == deadletters.UpdateRedeliver {
			require.Equal(t, workflows.PolicyOperator, e.Operator)
		}
	}
}

// TestPolicyCompensatePermanent: what may work one day is not compensated.
func TestPolicyCompensatePermanent(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	trouble := broken(errOops)
	c := failing(s.effects, trouble)
	c.DeadLetters = holdfast.Policy{Action: holdfast.PolicyCompensatePermanent}
	s.consuming(c)
	s.compensating()
	b := s.broker()
	ordinary, permanent := order(newID()), order(newID())
	s.publish(b, ordinary)
	parked := s.awaitLetter("payments", ordinary.ID, workflows.Parked)
	require.Contains(t, parked.Actions, workflows.UpdateCompensate)

	final := holdfast.Permanent(errOops)
	trouble.Store(&final)
	s.publish(b, permanent)
	s.awaitLetter("payments", permanent.ID, workflows.Compensated)
	require.Equal(t, 1, s.refunded(permanent.ID))
	require.Zero(t, s.refunded(ordinary.ID))

	// It does once the error is permanent.
	_, err := s.askLetter("payments", ordinary.ID, deadletters.UpdateRedeliver)
	require.NoError(t, err)
	s.awaitLetter("payments", ordinary.ID, workflows.Compensated)
	require.Equal(t, 1, s.refunded(ordinary.ID))
}

// TestPolicyAllowsEdits: the handler gets the new body, the delivery says who
// made it. Without leave it is refused.
func TestPolicyAllowsEdits(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	refusing := failing(s.effects, broken(holdfast.Permanent(errOops)))
	strict := refusing
	strict.Name = "strict"
	refusing.DeadLetters = holdfast.Policy{AllowEdits: true}
	first := s.consuming(refusing, strict)
	w := s.producer()
	b := s.broker()
	m := order(newID())
	s.publish(b, m)
	edit := func(r *deadletters.Request) { r.Text, r.ContentType = `{"amount": 5}`, "application/json" }
	s.awaitLetter("strict", m.ID, workflows.Parked)
	_, err := s.askLetter("strict", m.ID, deadletters.UpdateRedeliverEdited, edit)
	require.ErrorContains(t, err, "Policy.AllowEdits")
	require.Equal(t, workflows.Parked, s.letter("strict", m.ID).State)

	s.awaitLetter("payments", m.ID, workflows.Parked)
	first.stop()
	_, err = s.askLetter("payments", m.ID, deadletters.UpdateRedeliverEdited, edit)
	require.NoError(t, err)
	s.channel(func(ch *amqp.Channel) {
		d, ok, err := ch.Get(b.ConsumerQueue("payments"), false) // and not acknowledged
		require.NoError(t, err)
		require.True(t, ok)
		sum := sha256.Sum256(m.Body)
		require.Equal(t, "ann", d.Headers["holdfast-edited-by"])
		require.Equal(t, hex.EncodeToString(sum[:]), d.Headers["holdfast-original-sha256"])
		require.Equal(t, "1", d.Headers["holdfast-redelivery"])
		require.Equal(t, "application/json", d.ContentType)
	})
	again := s.consuming(payments(s.effects))
	e := s.oneEffect(m.ID)
	require.Equal(t, `{"amount": 5}`, e.Body)
	require.Equal(t, m.Key, e.Key)
	require.Equal(t, m.Topic, e.Topic)
	s.awaitLetter("payments", m.ID, workflows.Handled)

	_, err = s.askLetter("strict", m.ID, deadletters.UpdateDiscard)
	require.NoError(t, err)
	s.nothingLeft(b, []string{"payments", "strict"}, again, w)
}
