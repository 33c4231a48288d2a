package worker_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
)

// TestPoison: a message kills every process that tries it. A supervisor starts
// them again, and after as many deaths as it has attempts it is a dead letter;
// the other messages are handled, and none is taken for a killer.
func TestPoison(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.producer()
	b := s.broker()
	c := childConfig{Role: roleConsumer, Poison: true}
	subscribed := c.consumer(s.effects)
	require.NoError(t, b.DeclareConsumer(s.ctx(), subscribed.Name, subscribed.Topics))
	killer := order(newID())
	killer.Key = poison
	others := someOrders(40)
	s.publish(b, others[:20]...)
	s.publish(b, killer)
	s.publish(b, others[20:]...)

	attempts := subscribed.Tries + len(subscribed.Ladder)
	effects := func() int { return s.count(s.effects, "SELECT count(*) FROM effects") }
	deaths := s.supervise(c, func() bool {
		return s.letter("payments", killer.ID).State == workflows.Parked && effects() >= len(others)
	})
	t.Logf("%d deaths", deaths)
	// A death between a retry's publish and its ack leaves two copies, each with
	// its own attempts.
	require.LessOrEqual(t, deaths, 3*attempts)
	parked := s.letter("payments", killer.ID)
	require.Equal(t, holdfast.ClassLost, parked.Failure.Class)
	require.Equal(t, attempts, parked.Failure.Attempts)
	require.Len(t, parked.Failure.Log, attempts)
	require.Equal(t, len(others), effects())
	for _, m := range others {
		require.Equal(t, 1, s.effected(m.ID))
	}
	s.onlyLetter("payments", killer.ID)
	until(t, "the queues are empty", func() bool {
		messages, _ := s.waiting(b, queuesOf(b, []string{"payments"})...)
		return messages == 0
	})
}

// supervise starts a child again whenever it is dead, until done holds. It
// returns how often it died.
func (s *site) supervise(c childConfig, done func() bool) (deaths int) {
	s.t.Helper()
	running := s.child(c)
	until(s.t, "the end of the deaths", func() bool {
		select {
		case <-running.dead:
			running.killed() // and not ended otherwise
			deaths++
			running = s.child(c)
		default:
		}
		return done()
	})
	return deaths
}

// TestDependencyOutage: while what the handler depends on is down, everything
// fails. The consumer pauses and probes, gives nothing up, and goes on by itself.
func TestDependencyOutage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	down, tries := broken(errOops), &atomic.Int32{}
	c := failing(s.effects, down)
	handle := c.Handle
	c.Handle = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		tries.Add(1)
		return handle(ctx, tx, m)
	}
	c.Tries, c.Ladder, c.Concurrency = 2, []time.Duration{retryDelay, retryDelay}, 4
	c.Breaker = holdfast.BreakerOptions{Failures: 5, Pause: 50 * time.Millisecond, MaxPause: 100 * time.Millisecond}
	heard := &bells{}
	w := s.run(worker.Options{AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix, Logger: s.log(), OnAlert: heard.ring}, c)
	b := s.broker()
	ms := someOrders(100)
	s.publish(b, ms...)

	until(t, "the breaker opens", func() bool { return len(heard.of(holdfast.AlertBreakerOpened)) > 0 })
	opened := heard.of(holdfast.AlertBreakerOpened)[0]
	require.Equal(t, "payments", opened.Consumer)
	require.Contains(t, opened.Reason, errOops.Error())
	require.NotEmpty(t, opened.Remedy)
	// Long enough for more attempts than the message of each probe has.
	probed := tries.Load() + 20
	until(t, "probes", func() bool { return tries.Load() >= probed })
	require.Empty(t, heard.of(holdfast.AlertBreakerClosed))
	require.Zero(t, s.count(s.effects, "SELECT count(*) FROM effects"))

	down.Store(nil)
	until(t, "every effect", func() bool { return s.count(s.effects, "SELECT count(*) FROM effects") >= len(ms) })
	for _, m := range ms {
		require.Equal(t, 1, s.effected(m.ID))
	}
	s.nothingLeft(b, []string{"payments"}, w) // and no dead letters: there is no intake
	require.Len(t, heard.of(holdfast.AlertBreakerOpened), 1)
	require.Len(t, heard.of(holdfast.AlertBreakerClosed), 1)
}
