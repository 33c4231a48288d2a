package consumer

import (
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

var errFails = errors.New("the dependency is down")

func TestBreakerOptions(t *testing.T) {
	require.Equal(t, BreakerOptions{Failures: 10, Pause: 5 * time.Second, MaxPause: time.Minute},
		BreakerOptions{}.WithDefaults())
	require.Equal(t, time.Hour, BreakerOptions{Pause: time.Hour}.WithDefaults().MaxPause)
	require.NoError(t, BreakerOptions{}.WithDefaults().Validate())
	for _, o := range []BreakerOptions{{Failures: -1}, {Failures: 10_001}, {Pause: -1}, {MaxPause: time.Second},
		{Pause: 1}} {
		require.ErrorIs(t, o.WithDefaults().Validate(), holdfast.ErrInvalid)
	}
}

// fail has n messages fail that were begun now.
func fail(b *breaker, n int, now time.Time) (changed bool) {
	for i := range n {
		era, _ := b.enter(Candidate{ID: strconv.Itoa(i)}, now)
		changed = b.failure(era, strconv.Itoa(i), false, errFails, now)
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
	enter := func(t *testing.T, b *breaker, id string, at time.Time, want entry) uint64 {
		t.Helper()
		era, e := b.enter(Candidate{ID: id}, at)
		require.Equal(t, want, e, id)
		return era
	}
	sample := func(t *testing.T, b *breaker, id string, at time.Time) (changed bool) {
		t.Helper()
		return b.failure(enter(t, b, id, at, EntryTry), id, false, errFails, at)
	}
	for name, f := range map[string]func(t *testing.T){
		"one message that fails often": func(t *testing.T) {
			b := newBreaker(o)
			for range 10 {
				require.False(t, fail(&b, 1, now))
			}
			require.Equal(t, wire.BreakerClosed, b.state)
		},
		"a success in between": func(t *testing.T) {
			b := newBreaker(o)
			for range 10 {
				require.False(t, fail(&b, 2, now))
				require.False(t, b.success(b.era, "other", now))
			}
		},
		"waiting counts each time, and needs no samples": func(t *testing.T) {
			b := newBreaker(o)
			require.False(t, b.failure(b.era, "a", true, errFails, now))
			require.False(t, b.failure(b.era, "a", true, errFails, now))
			require.True(t, b.failure(b.era, "a", true, errFails, now))
			require.False(t, b.fetches())
			require.Equal(t, now.Add(time.Second), b.wake())
		},
		"those that fail are not tried, another one is": func(t *testing.T) {
			b := opened()
			require.True(t, b.fetches())
			enter(t, b, "0", now, entryPass)
			enter(t, b, "1", now, entryPass)
			era := enter(t, b, "good", now, EntryTry)
			enter(t, b, "another", now, entryWait)
			require.True(t, b.success(era, "good", now))
			require.Equal(t, wire.BreakerClosed, b.state)
			require.False(t, fail(b, 3, now), "they go on failing, and that is their own fault")
			require.True(t, b.counts(b.era))
			require.False(t, b.failure(b.era, "x", false, errFails, now))
			require.False(t, b.failure(b.era, "y", false, errFails, now))
			require.True(t, b.failure(b.era, "z", false, errFails, now), "different messages fail")
		},
		"many bad ones are an outage after all": func(t *testing.T) {
			b := newBreaker(o)
			for i := range 12 {
				b.failed.add(strconv.Itoa(i))
			}
			b.success(b.era, "good", now)
			require.False(t, fail(&b, 11, now))
			b.success(b.era, "good", now)
			require.False(t, b.failure(b.era, "11", false, errFails, now), "they are counted since the last success")
			b.success(b.era, "good", now)
			require.False(t, fail(&b, 11, now))
			require.True(t, fail(&b, 12, now))
		},
		"one that succeeds is not bad": func(t *testing.T) {
			b := opened()
			b.success(enter(t, b, "good", now, EntryTry), "good", now)
			for i := range 3 {
				b.success(b.era, strconv.Itoa(i), now)
			}
			require.True(t, fail(b, 3, now))
		},
		"one that succeeds after all is not bad": func(t *testing.T) {
			b := newBreaker(o)
			fail(&b, 2, now)
			b.success(b.era, "0", now)
			require.False(t, b.knows(Candidate{ID: "0"}))
			require.True(t, b.knows(Candidate{ID: "1"}))
		},
		"bad ones are not tried either": func(t *testing.T) {
			b := newBreaker(o)
			fail(&b, 1, now)
			b.success(b.era, "good", now)
			for _, id := range []string{"x", "y", "z"} {
				b.failure(b.era, id, false, errFails, now)
			}
			require.Equal(t, wire.BreakerOpen, b.state)
			enter(t, &b, "0", now, entryPass)
			_, e := b.enter(Candidate{ID: "of another process", failed: true}, now)
			require.Equal(t, entryPass, e)
			enter(t, &b, "good", now, EntryTry)
		},
		"nothing else is there": func(t *testing.T) {
			b := opened()
			for _, id := range []string{"0", "1", "2"} {
				enter(t, b, id, now, entryPass)
			}
			enter(t, b, "0", now, entryWait)
			require.False(t, b.fetches(), "it would be put behind the others again and again")
			require.False(t, b.tick(now.Add(999*time.Millisecond)))
			require.True(t, b.tick(now.Add(time.Second)))
			require.Equal(t, wire.BreakerProbing, b.state)
			enter(t, b, "0", now, entryPass)
			enter(t, b, "0", now, EntryTry)
		},
		"too many to pass over": func(t *testing.T) {
			b := opened()
			b.tick(b.until)
			for i := range maxPassed {
				b.failed.add(strconv.Itoa(i))
				enter(t, b, strconv.Itoa(i), now, entryPass)
			}
			_, e := b.enter(Candidate{ID: "next", failed: true}, now)
			require.Equal(t, EntryTry, e)
		},
		"a lone suspect": func(t *testing.T) {
			b := opened()
			b.tick(b.until)
			_, e := b.enter(Candidate{ID: "0", alone: true}, now)
			require.Equal(t, EntryTry, e)
		},
		"rounds of samples": func(t *testing.T) {
			b := opened()
			b.pause, b.until = time.Minute, now.Add(time.Minute)
			for i := range 2 * o.Failures {
				require.False(t, sample(t, b, "s"+strconv.Itoa(i), now))
			}
			require.False(t, b.fetches())
			require.Equal(t, now.Add(o.Pause), b.wake())
			require.False(t, b.tick(b.wake()))
			require.True(t, b.fetches())
			require.Equal(t, b.until, b.wake())
			era := enter(t, b, "s", now, EntryTry)
			require.False(t, b.failure(era, "s", true, errFails, now))
			require.False(t, b.fetches())
			require.Equal(t, b.until, b.wake(), "the surroundings are at fault")
		},
		"one sample at a time": func(t *testing.T) {
			b := opened()
			b.tick(now.Add(time.Second))
			era := enter(t, b, "a", now, EntryTry)
			enter(t, b, "b", now, entryWait)
			b.leave(era)
			enter(t, b, "b", now, EntryTry)
			b.renew()
			b.leave(era)
			era = enter(t, b, "c", now, EntryTry) // the second one was lost with its channel
			require.True(t, b.success(era, "c", now))
			require.Equal(t, wire.BreakerClosed, b.state)
		},
		"pauses double": func(t *testing.T) {
			b := opened()
			at := now
			for _, want := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second} {
				require.Equal(t, want, b.until.Sub(at))
				at = b.until
				require.True(t, b.tick(at))
				for i := range 2*o.Failures - 1 {
					require.False(t, sample(t, b, another(), at), i)
				}
				require.False(t, b.counts(b.era), "a probe's failure is not its message's")
				require.True(t, sample(t, b, another(), at))
			}
			b.tick(b.until)
			b.success(enter(t, b, "p", now, EntryTry), "p", at)
			require.Equal(t, wire.BreakerClosed, b.state)
			b.bad = ids{}
			require.True(t, fail(b, 3, at))
			require.Equal(t, time.Second, b.until.Sub(at), "begins anew")
		},
		"slow samples": func(t *testing.T) {
			b := opened()
			at := b.until
			b.tick(at)
			era := enter(t, b, "slow", at, EntryTry)
			require.True(t, b.failure(era, "slow", false, errFails, at.Add(b.pause)), "one for each pause")
		},
		"what began before": func(t *testing.T) {
			b := newBreaker(o)
			old := enter(t, &b, "old", now, EntryTry)
			require.True(t, b.counts(old))
			fail(&b, 3, now)
			require.False(t, b.counts(old))
			require.False(t, b.success(old, "old", now), "closes nothing")
			b.tick(b.until)
			require.False(t, b.success(old, "old", now))
			require.False(t, b.failure(old, "x", false, errFails, now), "and opens nothing")
			require.True(t, b.knows(Candidate{ID: "x"}))
			b.success(enter(t, &b, "p", now, EntryTry), "p", now)
			require.False(t, b.counts(old), "even after it closed again")
			b.bad = ids{}
			require.False(t, fail(&b, 2, now))
			require.False(t, b.failure(old, "x", false, errFails, now))
			require.False(t, fail(&b, 1, now), "what began before did not count")
		},
		"off": func(t *testing.T) {
			b := newBreaker(BreakerOptions{Failures: 1, Off: true})
			require.False(t, fail(&b, 20, now))
			require.True(t, b.counts(b.era))
			require.Empty(t, b.failed)
		},
		"it forgets": func(t *testing.T) {
			s := ids{}
			for range maxKnown + 10 {
				s.add(another())
			}
			require.Len(t, s, maxKnown)
		},
	} {
		t.Run(name, f)
	}
}

// Messages without an ID are told apart by what they say.
func TestKeyOfAMessage(t *testing.T) {
	key := func(id, body string) string {
		w := Work{d: Delivery{Message: holdfast.Message{ID: id, Body: []byte(body)}}}
		return w.key()
	}
	require.Equal(t, "a", key("a", "x"))
	require.Equal(t, key("", "x"), key("", "x"))
	require.NotEqual(t, key("", "x"), key("", "y"))
}

// The gate tells of every change, in order, and leaves a token for the session.
func TestGate(t *testing.T) {
	var told []string
	g := NewGate(BreakerOptions{Failures: 1, Pause: time.Millisecond, MaxPause: time.Millisecond},
		func(c Change) { told = append(told, c.from+">"+c.to) })
	era, e := g.Enter(Candidate{ID: "a"})
	require.Equal(t, EntryTry, e)
	require.False(t, g.Failure(era, "a", false, errFails))
	require.True(t, g.isShut())
	<-g.changed
	state, since, err := g.status()
	require.Equal(t, wire.BreakerOpen, state)
	require.False(t, since.IsZero())
	require.ErrorIs(t, err, errFails)
	require.Eventually(t, func() bool { state, _, _ := g.mode(); return state == wire.BreakerProbing }, time.Minute,
		time.Millisecond)
	<-g.changed
	era, e = g.Enter(Candidate{ID: "b"})
	require.Equal(t, EntryTry, e)
	g.success(era, "b")
	<-g.changed
	_, _, err = g.status()
	require.NoError(t, err)
	require.Equal(t, []string{"closed>open", "open>probing", "probing>closed"}, told)
}

// A breaker that is not open has nothing to be asked for.
func TestBreakerProbe(t *testing.T) {
	now := time.Now()
	b := newBreaker(BreakerOptions{Failures: 1, Pause: time.Hour, MaxPause: 24 * time.Hour}.WithDefaults())
	b.probe(now)
	require.Equal(t, wire.BreakerClosed, b.state)
	require.True(t, b.failure(b.era, "m", true, errFails, now))
	require.Equal(t, wire.BreakerOpen, b.state)
	b.probe(now.Add(time.Second))
	require.Equal(t, wire.BreakerProbing, b.state)
	era, e := b.enter(Candidate{ID: "m", alone: true}, now)
	require.Equal(t, EntryTry, e)
	b.probe(now)
	require.Equal(t, era, b.era, "one is under way")
	require.True(t, b.failure(era, "m", true, errFails, now))
	require.Equal(t, 2*time.Hour, b.pause, "as after any other probe")
}

var others atomic.Int64

// another is a message that was not there before.
func another() string { return "other-" + strconv.FormatInt(others.Add(1), 10) }
