package worker_test

import (
	"context"
	"sync/atomic"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

// deadLetters takes what is in the queue of dead letters.
func (s *site) deadLetters() (out []amqp.Delivery) {
	s.t.Helper()
	s.channel(func(ch *amqp.Channel) {
		for {
			d, ok, err := ch.Get(s.at.Prefix+".dead", true)
			require.NoError(s.t, err)
			if !ok {
				return
			}
			out = append(out, d)
		}
	})
	return out
}

// channel runs f on an AMQP channel of its own.
func (s *site) channel(f func(*amqp.Channel)) {
	s.t.Helper()
	conn, err := amqp.Dial(s.at.AMQPURL)
	require.NoError(s.t, err)
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	require.NoError(s.t, err)
	require.NoError(s.t, ch.Confirm(false))
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 1<<10))
	f(ch)
	for range ch.GetNextPublishSeqNo() - 1 { // what is not confirmed when its channel closes may be lost
		next(s.t, confirms)
	}
}

// awaitDead waits for one dead letter.
func (s *site) awaitDead() amqp.Delivery {
	s.t.Helper()
	var got []amqp.Delivery
	until(s.t, "a dead letter", func() bool {
		got = append(got, s.deadLetters()...)
		return len(got) > 0
	})
	require.Len(s.t, got, 1)
	return got[0]
}

func TestEffectOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var tries atomic.Int32
	flaky := payments(s.effects)
	flaky.Handle = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		if err := take(ctx, tx, m); err != nil {
			return err
		}
		switch tries.Add(1) {
		case 1:
			return errOops
		case 2:
			panic("man overboard")
		}
		return nil
	}
	second := payments(s.effects)
	second.Name = "ledger"
	s.consuming(flaky, second)

	// What failed is tried again; each consumer has its own effect.
	b := s.broker()
	require.NoError(t, b.DeclareGroup(t.Context(), group))
	m := order(newID())
	publish := func(m holdfast.Message) {
		require.NoError(t, b.PublishMessages(t.Context(), group, m.ID, []holdfast.Message{m}))
	}
	publish(m)
	until(t, "an effect for each consumer", func() bool { return s.effected(m.ID) == 2 })
	require.EqualValues(t, 3, tries.Load())

	// A duplicate has no effect; what comes after it has.
	publish(m)
	publish(m)
	last := order(newID())
	publish(last)
	until(t, "the effects of the last", func() bool { return s.effected(last.ID) == 2 })
	until(t, "the queues are empty", func() bool {
		info, err := b.Inspect(t.Context(), b.ConsumerQueue("payments"), b.ConsumerQueue("ledger"))
		require.NoError(t, err)
		return info.Queues[0].Messages+info.Queues[1].Messages == 0
	})
	require.Equal(t, 2, s.effected(m.ID))
	require.EqualValues(t, 4, tries.Load(), "the handler is not called for a duplicate")
	require.Empty(t, s.deadLetters())
}

func TestHandleAtLeastOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	seen := &audit{}
	w := s.run(worker.Options{AMQPURL: s.at.AMQPURL, Prefix: s.at.Prefix, Logger: s.log()}, seen.consumer())
	b := s.broker()
	m := order(newID())
	for range 2 {
		require.NoError(t, b.PublishMessages(t.Context(), group, m.ID, []holdfast.Message{m}))
	}
	until(t, "two deliveries", func() bool { return seen.of(m.ID) == 2 })
	_, err := w.Send(t.Context(), m, insert)
	require.ErrorIs(t, err, holdfast.ErrInvalid, "a worker that only consumes")
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var calls atomic.Int32
	type cargo struct{ Item string }
	consumer := func(name, topic string, handle worker.Handle) worker.Consumer {
		return worker.Consumer{Name: name, Topics: []string{topic}, Tries: 2, Ladder: noLadder, Handle: handle}
	}
	s.consuming(
		consumer("permanent", "a.permanent", func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
			calls.Add(1)
			require.NoError(t, take(ctx, tx, m))
			return holdfast.Permanent(errOops)
		}),
		consumer("failing", "a.failing", func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
			calls.Add(1)
			require.NoError(t, take(ctx, tx, m))
			return errOops
		}),
		consumer("panicking", "a.panicking", func(context.Context, *gorm.DB, holdfast.Message) error {
			calls.Add(1)
			panic("man overboard")
		}),
		consumer("typed", "a.typed", worker.TypedHandle(holdfast.Topic[cargo]{Name: "a.typed"},
			func(context.Context, *gorm.DB, cargo, holdfast.Message) error {
				calls.Add(1)
				return nil
			})),
	)
	b := s.broker()
	for _, want := range []struct {
		topic, class, reason string
		calls                int32
	}{
		{"a.permanent", "permanent", errOops.Error(), 1},
		{"a.failing", "error", errOops.Error(), 2},
		{"a.panicking", "panic", "man overboard", 2},
		{"a.typed", "permanent", "decode message", 0},
	} {
		calls.Store(0)
		m := holdfast.Message{ID: newID(), Topic: want.topic, Key: "K", Headers: map[string]string{"h": "v"}, Body: []byte("not JSON")}
		require.NoError(t, b.PublishMessages(t.Context(), group, m.ID, []holdfast.Message{m}))
		d := s.awaitDead()
		require.Equal(t, m.ID, d.MessageId)
		require.Equal(t, "not JSON", string(d.Body))
		require.Equal(t, "v", d.Headers["h"])
		require.Equal(t, want.class, d.Headers["holdfast-error-class"], want.topic)
		require.Contains(t, d.Headers["holdfast-reason"], want.reason)
		require.Equal(t, want.calls, calls.Load(), want.topic)
		require.Zero(t, s.effected(m.ID))
	}
	require.Empty(t, s.deadLetters())
}

// TestMalformedHalves: what is not a half message does not keep the Keeper from
// its work.
func TestMalformedHalves(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	b := s.broker()
	require.NoError(t, b.DeclareGroup(t.Context(), group))
	half := func(kind, version, tx string, body string) amqp.Publishing {
		return amqp.Publishing{MessageId: tx, Body: []byte(body), DeliveryMode: amqp.Persistent,
			Headers: amqp.Table{"holdfast-kind": kind, "holdfast-version": version, "holdfast-tx": tx, "holdfast-group": group}}
	}
	bad := []amqp.Publishing{
		{Body: []byte("what is this?")},
		half("half", "1", "x", "{"),
		half("half", "9", "x", `{"v":9}`),
		half("half", "1", "x", `{"v":1,"tx":"y","group":"orders","messages":[]}`),
		half("half", "1", "x", `{"v":1,"tx":"x","group":"orders","messages":[]}`),
		half("half", "1", "x", `{"v":1,"tx":"x","group":"others","messages":[{"topic":"a"}]}`),
		half("half", "1", "a/b", `{"v":1,"tx":"a/b","group":"orders","messages":[{"topic":"a"}]}`),
		half("op", "1", "", `{"v":1}`),
		half("op", "1", "", `[]`),
		half("letter", "1", "", `{}`),
	}
	s.channel(func(ch *amqp.Channel) {
		for i := range bad {
			// As Holdfast publishes them: an op record does not count otherwise.
			require.NoError(t, ch.PublishWithContext(t.Context(), s.at.Prefix+".half", b.HalfQueue(group), true, false, bad[i]))
		}
	})
	id := newID()
	s.orphan(laneOf("traced"), id, true) // behind all of them
	s.producer(func(o *worker.Options) { *o = hurried(*o) })
	s.oneEffect(id)
	// Some have the same ID, and collapse into one workflow.
	letters := map[string]deadletters.Status{}
	until(t, "the malformed records are dead letters", func() bool {
		copies := 0
		for _, id := range s.letters() {
			letters[id] = s.letterOf(id)
			copies += 1 + letters[id].Duplicates
		}
		return copies == len(bad)
	})
	for id, l := range letters {
		require.Equal(t, holdfast.ClassMalformed, l.Failure.Class, id)
		require.NotEmpty(t, l.Failure.Reason)
		require.Equal(t, b.HalfQueue(group), l.Queue)
	}
}
