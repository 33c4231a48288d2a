package broker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// A connection that is lost again and again is told, with why, also while it is lost: the
// answer finds another way.
func TestLostConnectionsAreTold(t *testing.T) {
	b, ctx := consuming(t)
	b.testConsumer(t, nil, func(context.Context, Delivery) error { return nil })
	asker := open(t, b.o.URL, b.o.Prefix, nil)
	for range link.LossesTold {
		b.c.Publishing.Lost.Add(errors.New("it broke"))
	}
	b.c.Publishing.Stop(ctx) // for good
	eventually(t, "it says so", func() bool {
		answers, err := asker.Ask(ctx, 0)
		require.NoError(t, err)
		if len(answers) == 0 {
			return false
		}
		require.Len(t, answers[0].Lost, 1)
		lost := answers[0].Lost[0]
		require.Equal(t, wire.RolePublishing, lost.Role)
		require.Equal(t, link.LossesTold, lost.Count)
		require.Equal(t, "it broke", lost.Reason)
		return true
	})
}

// A breaker that is not open has nothing to be asked for.
func TestBreakerProbe(t *testing.T) {
	now := time.Now()
	b := newBreaker(BreakerOptions{Failures: 1, Pause: time.Hour, MaxPause: 24 * time.Hour}.withDefaults())
	b.probe(now)
	require.Equal(t, wire.BreakerClosed, b.state)
	require.True(t, b.failure(b.era, "m", true, errOops, now))
	require.Equal(t, wire.BreakerOpen, b.state)
	b.probe(now.Add(time.Second))
	require.Equal(t, wire.BreakerProbing, b.state)
	era, e := b.enter(candidate{id: "m", alone: true}, now)
	require.Equal(t, entryTry, e)
	b.probe(now)
	require.Equal(t, era, b.era, "one is under way")
	require.True(t, b.failure(era, "m", true, errOops, now))
	require.Equal(t, 2*time.Hour, b.pause, "as after any other probe")
}
