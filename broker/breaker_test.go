package broker

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
)

var errDown = errors.New("the dependency is down")

func TestBreakerOptions(t *testing.T) {
	require.Equal(t, BreakerOptions{Failures: 10, Pause: 5 * time.Second, MaxPause: time.Minute}, BreakerOptions{}.withDefaults())
	require.Equal(t, time.Hour, BreakerOptions{Pause: time.Hour}.withDefaults().MaxPause)
	require.NoError(t, BreakerOptions{}.withDefaults().validate())
	for _, o := range []BreakerOptions{{Failures: -1}, {Failures: 10_001}, {Pause: -1}, {MaxPause: time.Second}, {Pause: 1}} {
		require.ErrorIs(t, o.withDefaults().validate(), holdfast.ErrInvalid)
	}
}

// fail has n messages fail that were begun now.
func fail(b *breaker, n int, now time.Time) (changed bool) {
	for i := range n {
		era, _ := b.enter()
		changed = b.failure(era, strconv.Itoa(i), false, errDown, now)
	}
	return changed
}

func TestBreaker(t *testing.T) {
	o := BreakerOptions{Failures: 3, Pause: time.Second, MaxPause: 3 * time.Second}
	now := time.Unix(1000, 0)
	opened := func() *breaker {
		b := newBreaker(o)
		require.True(t, fail(&b, 3, now))
		return &b
	}
	for name, f := range map[string]func(t *testing.T){
		"one message that fails often": func(t *testing.T) {
			b := newBreaker(o)
			for range 10 {
				require.False(t, fail(&b, 1, now))
			}
			require.Equal(t, BreakerClosed, b.state)
		},
		"a success in between": func(t *testing.T) {
			b := newBreaker(o)
			for range 10 {
				require.False(t, fail(&b, 2, now))
				require.False(t, b.success(b.era, now))
			}
			require.True(t, fail(&b, 3, now))
		},
		"waiting counts each time": func(t *testing.T) {
			b := newBreaker(o)
			require.False(t, b.failure(b.era, "a", true, errDown, now))
			require.False(t, b.failure(b.era, "a", true, errDown, now))
			require.True(t, b.failure(b.era, "a", true, errDown, now))
		},
		"open": func(t *testing.T) {
			b := opened()
			_, ok := b.enter()
			require.False(t, ok)
			require.False(t, b.tick(now.Add(999*time.Millisecond)))
			require.True(t, b.tick(now.Add(time.Second)))
			require.Equal(t, BreakerProbing, b.state)
		},
		"one probe at a time": func(t *testing.T) {
			b := opened()
			b.tick(now.Add(time.Second))
			era, ok := b.enter()
			require.True(t, ok)
			_, ok = b.enter()
			require.False(t, ok)
			b.leave(era)
			_, ok = b.enter()
			require.True(t, ok, "the first one was not tried")
			b.renew()
			b.leave(era)
			era, ok = b.enter()
			require.True(t, ok, "the second one was lost with its channel")
			require.True(t, b.success(era, now))
			require.Equal(t, BreakerClosed, b.state)
		},
		"pauses double": func(t *testing.T) {
			b := opened()
			at := now
			for _, want := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second} {
				require.Equal(t, want, b.until.Sub(at))
				at = b.until
				require.True(t, b.tick(at))
				era, _ := b.enter()
				require.False(t, b.counts(era), "a probe's failure is not its message's")
				require.True(t, b.failure(era, "p", false, errDown, at))
			}
			b.tick(b.until)
			era, _ := b.enter()
			b.success(era, at)
			require.True(t, fail(b, 3, at))
			require.Equal(t, time.Second, b.until.Sub(at), "begins anew")
		},
		"what began before": func(t *testing.T) {
			b := newBreaker(o)
			old, _ := b.enter()
			require.True(t, b.counts(old))
			fail(&b, 3, now)
			require.False(t, b.counts(old))
			require.False(t, b.success(old, now), "closes nothing")
			b.tick(b.until)
			require.False(t, b.success(old, now))
			require.False(t, b.failure(old, "x", false, errDown, now), "and opens nothing")
			era, _ := b.enter()
			b.success(era, now)
			require.False(t, b.counts(old), "even after it closed again")
			require.False(t, fail(&b, 2, now))
			require.False(t, b.failure(old, "x", false, errDown, now))
		},
		"off": func(t *testing.T) {
			b := newBreaker(BreakerOptions{Failures: 1, Off: true})
			require.False(t, fail(&b, 20, now))
			require.True(t, b.counts(b.era))
			require.Empty(t, b.failed)
		},
	} {
		t.Run(name, f)
	}
}

// The gate tells of every change, in order, and leaves a token for the session.
func TestGate(t *testing.T) {
	var told []string
	g := newGate(BreakerOptions{Failures: 1, Pause: time.Millisecond, MaxPause: time.Millisecond}, func(c change) { told = append(told, c.from+">"+c.to) })
	era, ok := g.enter()
	require.True(t, ok)
	require.False(t, g.failure(era, "a", false, errDown))
	require.True(t, g.isOpen())
	<-g.changed
	state, since, err := g.status()
	require.Equal(t, BreakerOpen, state)
	require.False(t, since.IsZero())
	require.ErrorIs(t, err, errDown)
	eventually(t, "probing", func() bool { state, _ := g.mode(); return state == BreakerProbing })
	<-g.changed
	era, ok = g.enter()
	require.True(t, ok)
	g.success(era)
	<-g.changed
	_, _, err = g.status()
	require.NoError(t, err)
	require.Equal(t, []string{"closed>open", "open>probing", "probing>closed"}, told)
}
