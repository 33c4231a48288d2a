package glance

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestManyWhoLookCostOneLook(t *testing.T) {
	var now atomic.Int64
	looks, finish := 0, make(chan struct{})
	g := New(time.Hour, 5*time.Second, func() time.Time { return time.Unix(now.Load(), 0) }, func(ctx context.Context) int {
		_, bounded := ctx.Deadline()
		require.True(t, bounded)
		<-finish
		require.NoError(t, ctx.Err(), "it is not over because who asked has left")
		looks++
		return looks
	})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := g.See(gone)
	require.ErrorIs(t, err, context.Canceled)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			seen, _, err := g.See(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, seen, "it went on although who asked first has left")
		})
	}
	close(finish)
	all.Wait()
	now.Add(4)
	seen, at, err := g.See(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, seen)
	require.Equal(t, time.Unix(0, 0), at)
	now.Add(1)
	seen, _, err = g.See(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, seen)
}

func TestALookThatPanics(t *testing.T) {
	g := New(time.Hour, time.Hour, time.Now, func(context.Context) int { panic("oops") })
	for range 2 {
		_, _, err := g.See(t.Context())
		require.ErrorContains(t, err, "panic: oops")
	}
}

// Who peeks waits for nobody, and sees the last look that was one.
func TestPeek(t *testing.T) {
	var now, looks atomic.Int64
	finish, looked := make(chan struct{}), make(chan int64, 10)
	g := New(time.Hour, time.Second, func() time.Time { return time.Unix(now.Load(), 0) }, func(context.Context) int64 {
		<-finish
		n := looks.Add(1)
		looked <- n
		if n == 2 {
			panic("oops")
		}
		return n
	})
	over := func() { _, _, _ = g.See(t.Context()) } // it is fresh: no look begins
	_, _, ok := g.Peek(time.Minute)
	require.False(t, ok, "it has begun to look")
	close(finish)
	require.EqualValues(t, 1, <-looked)
	over()
	seen, at, ok := g.Peek(time.Minute)
	require.True(t, ok)
	require.EqualValues(t, 1, seen)
	require.Equal(t, time.Unix(0, 0), at)
	now.Store(59)
	g.Peek(time.Minute)
	require.Empty(t, looked, "that was not long ago")
	now.Store(60)
	g.Peek(time.Minute)
	require.EqualValues(t, 2, <-looked)
	over()
	now.Store(62)
	seen, at, ok = g.Peek(time.Minute)
	require.True(t, ok)
	require.EqualValues(t, 1, seen, "the second was none")
	require.Equal(t, time.Unix(0, 0), at)
	require.EqualValues(t, 3, <-looked)
	over()
	seen, _, _ = g.Peek(time.Minute)
	require.EqualValues(t, 3, seen)
}

// Who takes what is recent gets it at once, and a look begins; what somebody has changed since is not
// shown, not by a look that had begun before either.
func TestRecent(t *testing.T) {
	var now, looks atomic.Int64
	begun, finish := make(chan struct{}, 10), make(chan struct{}, 10)
	g := New(time.Hour, 5*time.Second, func() time.Time { return time.Unix(now.Load(), 0) }, func(context.Context) int64 {
		begun <- struct{}{}
		<-finish
		return looks.Add(1)
	})
	recent := func() int64 {
		seen, _, err := g.Recent(t.Context(), 30*time.Second)
		require.NoError(t, err)
		return seen
	}
	finish <- struct{}{}
	require.EqualValues(t, 1, recent(), "there was none before")
	<-begun
	now.Store(4)
	require.EqualValues(t, 1, recent())
	require.Empty(t, begun, "it is fresh")
	now.Store(30)
	require.EqualValues(t, 1, recent(), "and does not wait")
	<-begun // for the next
	now.Store(31)
	finish <- struct{}{}
	require.EqualValues(t, 2, recent(), "the one before is too old")

	now.Store(40)
	require.EqualValues(t, 2, recent())
	<-begun
	g.Forget() // it has begun before
	finish <- struct{}{}
	finish <- struct{}{}
	seen := recent()
	<-begun
	require.Greater(t, seen, int64(2))
	require.Eventually(t, func() bool { return looks.Load() == 4 }, time.Minute, time.Millisecond)
	require.Equal(t, seen, recent())
	require.Empty(t, begun)
}
