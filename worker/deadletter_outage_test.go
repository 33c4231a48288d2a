package worker_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/stack"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
)

// failingOutages are the outages of servers while consumers fail; the stack is
// the test's own.
func failingOutages(t *testing.T, st *stack.Stack) {
	t.Run("dead letters, Temporal away", func(t *testing.T) { temporalAway(t, st) })
	t.Run("retries and dead letters, RabbitMQ away", func(t *testing.T) { rabbitAway(t, st) })
	t.Run("consumers, PostgreSQL away", func(t *testing.T) { postgresAway(t, st) })
}

// parkedEach waits until each message has a workflow that is parked.
func (s *site) parkedEach(ms []holdfast.Message) {
	s.t.Helper()
	until(s.t, "a workflow for each dead letter", func() bool { return s.countLetters(workflows.Parked) >= len(ms) })
	for _, m := range ms {
		require.Equal(s.t, workflows.Parked, s.letter("payments", m.ID).State)
	}
	require.Equal(s.t, len(ms), s.countLetters(""))
}

// temporalAway: dead letters wait in their queue until Temporal is back.
func temporalAway(t *testing.T, st *stack.Stack) {
	s := newSiteOn(t, st)
	var given atomic.Int32
	c := payments(s.effects)
	c.Handle = func(context.Context, *gorm.DB, holdfast.Message) error {
		given.Add(1)
		return holdfast.Permanent(errOops)
	}
	consuming := s.consuming(c)
	w := s.run(outageOptions(laneOf("traced"), s.options()))
	b := s.broker()
	ms := someOrders(100) // more than the intake holds
	s.publish(b, ms[:20]...)
	require.NoError(t, st.Temporal.Kill())
	s.publish(b, ms[20:]...)
	until(t, "all are given up", func() bool { return given.Load() == int32(len(ms)) })
	consuming.stop() // what it gave up is stored now
	waiting, _ := s.waiting(b, b.DeadQueue())
	require.NotZero(t, waiting, "the intake holds only some of them")
	require.NoError(t, st.Temporal.Start(s.ctx()))
	s.parkedEach(ms)
	s.nothingLeft(b, []string{"payments"}, w)
}

// publishAtOnce is publish for many, one transaction and all publishes at the same time.
func (s *site) publishAtOnce(b *broker.Broker, ms ...holdfast.Message) {
	s.t.Helper()
	ctx := s.ctx()
	require.NoError(s.t, s.orders.Transaction(func(tx *gorm.DB) error {
		for _, m := range ms {
			if _, err := barrier.Insert(ctx, tx, m.ID, s.at.Group, m); err != nil {
				return err
			}
		}
		return nil
	}))
	var wg sync.WaitGroup
	for _, m := range ms {
		wg.Go(func() {
			assert.NoError(s.t, b.PublishMessages(ctx, s.at.Group, m.ID, []holdfast.Message{m}))
		})
	}
	wg.Wait()
}

// rabbitAway kills RabbitMQ with messages in a delay queue and in the queue of
// dead letters, and with others on their way there.
func rabbitAway(t *testing.T, st *stack.Stack) {
	s := newSiteOn(t, st)
	c := payments(s.effects)
	delay := 30 * time.Second // longer than all are handled once
	c.Tries, c.Ladder, c.Breaker = 1, []time.Duration{delay, delay, delay}, holdfast.BreakerOptions{Off: true}
	seen := map[string]bool{}
	c.Concurrency = 1 // for seen
	c.Handle = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		switch {
		case m.Key == poison:
			return holdfast.Permanent(errOops)
		case !seen[m.ID]:
			seen[m.ID] = true
			return errOops
		}
		return take(ctx, tx, m)
	}
	consuming := s.consuming(c)
	b := s.broker()
	require.NoError(t, b.DeclareGroup(s.ctx(), group))
	// In good order first: see TestOutages.
	require.NoError(t, st.RabbitMQ.Restart(s.ctx()))
	retried, dead := someOrders(40), someOrders(40)
	for i := range dead {
		dead[i].Key = poison
	}
	s.publishAtOnce(b, append(retried[:20:20], dead[:20]...)...)
	until(t, "delayed and dead messages", func() bool {
		delayed, _ := s.waiting(b, b.RetryQueue(delay))
		died, _ := s.waiting(b, b.DeadQueue())
		return delayed == 20 && died == 20
	})
	s.publishAtOnce(b, append(retried[20:], dead[20:]...)...)
	require.NoError(t, st.RabbitMQ.Kill())
	require.NoError(t, st.RabbitMQ.Start(s.ctx()))

	w := s.run(outageOptions(laneOf("traced"), s.options()))
	until(t, "every effect", func() bool { return s.count(s.effects, "SELECT count(*) FROM effects") >= len(retried) })
	s.parkedEach(dead)
	for _, m := range retried {
		require.Equal(t, 1, s.effected(m.ID))
	}
	messages := append(queuesOf(b, []string{"payments"}), b.RetryQueue(delay))
	until(t, "the queues are empty", func() bool { n, _ := s.waiting(b, messages...); return n == 0 })
	consuming.stop()
	w.stop()
	require.Equal(t, len(retried), s.count(s.effects, "SELECT count(*) FROM effects"))
}

// postgresAway: without their database consumers wait, and give nothing up.
func postgresAway(t *testing.T, st *stack.Stack) {
	s := newSiteOn(t, st)
	heard := &bells{}
	c := payments(s.effects)
	c.Ladder = noLadder // whatever counts as a failure is given up
	c.Breaker = holdfast.BreakerOptions{Failures: 5, Pause: 100 * time.Millisecond, MaxPause: 200 * time.Millisecond}
	consuming := s.run(worker.Options{AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix, Logger: s.log(), OnAlert: heard.ring}, c)
	b := s.broker()
	ms := someOrders(60)
	s.publish(b, ms[:20]...)
	s.oneEffect(ms[0].ID)
	require.NoError(t, st.PostgreSQL.Kill())
	s.deliver(b, ms[20:40]...)
	until(t, "the breaker opens", func() bool { return len(heard.of(holdfast.AlertBreakerOpened)) == 1 })
	require.NoError(t, st.PostgreSQL.Start(s.ctx()))
	s.deliver(b, ms[40:]...)
	until(t, "every effect", func() bool { return s.count(s.effects, "SELECT count(*) FROM effects") >= len(ms) })
	s.nothingLeft(b, []string{"payments"}, consuming) // no dead letters either
	var handled []string
	for _, m := range ms {
		handled = append(handled, m.ID)
	}
	slices.Sort(handled)
	require.Equal(t, handled, s.strings(s.effects, "SELECT message_id FROM effects ORDER BY message_id COLLATE \"C\""))
	until(t, "the breaker closes", func() bool { return len(heard.of(holdfast.AlertBreakerClosed)) == 1 })
	require.Len(t, heard.of(holdfast.AlertBreakerOpened), 1)
}
