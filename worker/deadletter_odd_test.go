package worker_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

// foreign publishes to the topics exchange as somebody does who does not know
// Holdfast.
func (s *site) foreign(b *broker.Broker, msg amqp.Publishing) {
	s.t.Helper()
	s.channel(func(ch *amqp.Channel) {
		require.NoError(s.t, ch.Confirm(false))
		c, err := ch.PublishWithDeferredConfirm(b.TopicsExchange(), placed, true, false, msg)
		require.NoError(s.t, err)
		require.True(s.t, c.Wait())
	})
}

// refusing are a consumer that refuses for good, and a worker of the group.
func (s *site) refusing() (b *broker.Broker, consuming, w *running) {
	s.t.Helper()
	consuming = s.consuming(failing(s.effects, broken(holdfast.Permanent(errOops))))
	return s.broker(), consuming, s.compensating()
}

func TestCompensateTwiceAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b, _, _ := s.refusing()
	m := order(newID())
	s.publish(b, m)
	s.awaitLetter("payments", m.ID, workflows.Parked)
	errs := make(chan error)
	for range 2 {
		go func() {
			_, err := s.askLetter("payments", m.ID, workflows.UpdateCompensate)
			errs <- err
		}()
	}
	first, second := next(t, errs), next(t, errs)
	require.True(t, first == nil || second == nil, "%v, %v", first, second)
	for _, err := range []error{first, second} {
		if err != nil {
			require.Regexp(t, "wait until it is compensated|is settled already", err.Error())
		}
	}
	require.Equal(t, workflows.Compensated, s.letter("payments", m.ID).State)
	require.Equal(t, 1, s.refunded(m.ID))

	for _, name := range []string{deadletters.UpdateRedeliver, workflows.UpdateCompensate, deadletters.UpdateDiscard} {
		_, err := s.askLetter("payments", m.ID, name)
		require.Error(t, err, "%s of a settled letter", name)
	}
	_, err := s.askLetter("payments", newID(), deadletters.UpdateRedeliver)
	var unknown *serviceerror.NotFound
	require.ErrorAs(t, err, &unknown)
	require.Equal(t, 1, s.refunded(m.ID))
}

// TestRedeliverToAQueueThatIsGone: it is parked again with the reason, and can be
// redelivered once its consumer is back.
func TestRedeliverToAQueueThatIsGone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b, consuming, _ := s.refusing()
	m := order(newID())
	s.publish(b, m)
	s.awaitLetter("payments", m.ID, workflows.Parked)
	consuming.stop()
	queue := b.ConsumerQueue("payments")
	s.channel(func(ch *amqp.Channel) {
		_, err := ch.QueueDelete(queue, false, false, false)
		require.NoError(t, err)
	})
	_, err := s.askLetter("payments", m.ID, deadletters.UpdateRedeliver)
	require.ErrorContains(t, err, queue)
	parked := s.letter("payments", m.ID)
	require.Equal(t, workflows.Parked, parked.State)
	require.Contains(t, parked.Reason, "does not exist")
	require.Contains(t, parked.Reason, "start the consumer")

	s.consuming(payments(s.effects))
	status, err := s.askLetter("payments", m.ID, deadletters.UpdateRedeliver, withAnswer)
	require.NoError(t, err)
	require.Equal(t, workflows.Handled, status.State)
	require.Equal(t, 1, s.effected(m.ID))
}

// TestForeignMessages: they can be redelivered and discarded, but nobody can
// compensate them.
func TestForeignMessages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b, consuming, w := s.refusing()
	named := newID()
	s.foreign(b, amqp.Publishing{MessageId: named, Body: []byte("hello"), Headers: amqp.Table{"n": int32(7)}})
	parked := s.awaitLetter("payments", named, workflows.Parked)
	require.Equal(t, placed, parked.Topic)
	require.Empty(t, parked.Group)
	require.NotContains(t, parked.Actions, workflows.UpdateCompensate)
	_, err := s.askLetter("payments", named, workflows.UpdateCompensate)
	require.ErrorContains(t, err, "foreign publisher")

	// Without an ID it goes by its content, which no other may have.
	s.foreign(b, amqp.Publishing{Body: []byte("who am I? " + newID())})
	var nameless deadletters.Status
	until(t, "the dead letter of the message without an ID", func() bool {
		for _, id := range s.letters() {
			if id != s.deadID("payments", named) {
				nameless = s.letterOf(id)
			}
		}
		return nameless.State == workflows.Parked
	})
	require.Equal(t, holdfast.ClassMalformed, nameless.Failure.Class)
	require.Contains(t, nameless.Reason, "message-id")
	_, err = s.askLetter("payments", nameless.ID, deadletters.UpdateRedeliver)
	require.ErrorContains(t, err, "no message-id")
	require.Equal(t, workflows.Parked, s.letter("payments", nameless.ID).State)
	discarded, err := s.askLetter("payments", nameless.ID, deadletters.UpdateDiscard)
	require.NoError(t, err)
	require.Equal(t, workflows.Discarded, discarded.State)

	consuming.stop()
	again := s.consuming(payments(s.effects))
	status, err := s.askLetter("payments", named, deadletters.UpdateRedeliver, withAnswer)
	require.NoError(t, err)
	require.Equal(t, workflows.Handled, status.State)
	e := s.oneEffect(named)
	require.Equal(t, "hello", e.Body)
	require.Equal(t, placed, e.Topic)
	s.nothingLeft(b, []string{"payments"}, again, w)
}

// TestForeignIDs: a message-id that no row can have is dead at once, and no outage;
// without a row it is not needed.
func TestForeignIDs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bell := &bells{}
	good, ticks := make(chan string, 1), make(chan string, 20)
	c := payments(s.effects)
	c.Handle = func(_ context.Context, _ *gorm.DB, m holdfast.Message) error { good <- m.ID; return nil }
	s.consumers["audit"], s.consumers[c.Name] = true, true
	s.run(worker.Options{AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix, Logger: s.log(), OnAlert: bell.ring}, c,
		worker.Consumer{Name: "audit", Topics: c.Topics, HandleAtLeastOnce: func(_ context.Context, m holdfast.Message) error { ticks <- string(m.Body); return nil }})
	s.producer()
	b := s.broker()
	const odd = 12
	for range odd {
		id := uuid.New() // 16 bytes, as .NET's Guid.ToByteArray gives them
		id[0] = 0xff
		s.foreign(b, amqp.Publishing{MessageId: string(id[:]), Body: []byte("x")})
	}
	s.foreign(b, amqp.Publishing{MessageId: "good", Body: []byte("x")})
	require.Equal(t, "good", next(t, good))
	for range odd + 1 {
		next(t, ticks)
	}
	until(t, "each has a dead letter", func() bool { return len(s.letters()) == odd })
	l := s.letterOf(s.letters()[0])
	require.Equal(t, holdfast.ClassMalformed, l.Failure.Class)
	require.Equal(t, 1, l.Failure.Attempts)
	require.Empty(t, bell.of(holdfast.AlertBreakerOpened))
	require.Zero(t, s.count(s.effects, "SELECT count(*) FROM holdfast_inbox WHERE consumer = 'audit'"))
}

// TestOversizedDeadLetter: the whole of it is kept in a queue, and the workflow
// says where.
func TestOversizedDeadLetter(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b, _, _ := s.refusing()
	id := newID()
	body := bytes.Repeat([]byte("x"), 2<<20)
	s.foreign(b, amqp.Publishing{MessageId: id, Body: body, Headers: amqp.Table{"holdfast-version": "1", "holdfast-topic": placed, "holdfast-tx": id, "holdfast-group": group}})
	parked := s.awaitLetter("payments", id, workflows.Parked)
	require.Equal(t, []string{deadletters.UpdateDiscard}, parked.Actions)
	for _, name := range []string{deadletters.UpdateRedeliver, workflows.UpdateCompensate} {
		_, err := s.askLetter("payments", id, name)
		require.ErrorContains(t, err, b.OversizedQueue(), name)
		require.ErrorContains(t, err, "2097152 bytes", name)
	}
	discarded, err := s.askLetter("payments", id, deadletters.UpdateDiscard)
	require.NoError(t, err)
	require.Equal(t, workflows.Discarded, discarded.State)
	s.onlyLetter("payments", id)
	s.channel(func(ch *amqp.Channel) {
		d, ok, err := ch.Get(b.OversizedQueue(), true)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, body, d.Body)
		require.Equal(t, id, d.MessageId)
		require.Zero(t, d.MessageCount)
	})
	messages, _ := s.waiting(b, queuesOf(b, []string{"payments"})...)
	require.Zero(t, messages)
}
