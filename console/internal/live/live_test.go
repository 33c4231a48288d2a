package live

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ticks are what a hub waits for in these tests.
type ticks chan time.Time

func (t ticks) after(time.Duration) <-chan time.Time { return t }

// TestALookIsForAll who have the page open, and there is none once they have left.
func TestALookIsForAll(t *testing.T) {
	t.Parallel()
	tick, looks, left := make(ticks), make(chan struct{}, 10), make(chan struct{})
	h := New(10, 10, 9, time.Now, tick.after)
	of := Page{Name: "a", Look: func(ctx context.Context) Frame {
		context.AfterFunc(ctx, func() { close(left) })
		looks <- struct{}{}
		return Frame{Print: "p"}
	}}
	first, err := h.Open(of, "s", "u")
	require.NoError(t, err)
	<-looks
	of.Look = nil // it is not asked
	second, err := h.Open(of, "s", "u")
	require.NoError(t, err)
	for {
		last, next := second.Last()
		if last.N == 1 {
			require.Equal(t, "p", last.Print)
			break
		}
		<-next
	}
	first.Close()
	first.Close() // which counts once
	require.Equal(t, 1, h.Streams())
	second.Close()
	<-left
	require.Zero(t, h.Streams())
	require.Empty(t, h.pages)
	require.Empty(t, h.bySess)
	require.Empty(t, h.byUser)
	require.Empty(t, looks)
}

// TestStreamsAreBounded of one session, of one user, and in all.
func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	h := New(3, 2, 9, time.Now, make(ticks).after)
	t.Cleanup(h.End)
	of := Page{Name: "a", Look: func(context.Context) Frame { return Frame{} }}
	var open []*Stream
	for _, c := range []struct {
		session string
		want    error
	}{{"s", nil}, {"s", nil}, {"s", ErrYours}, {"t", nil}, {"t", ErrAll}} {
		s, err := h.Open(of, c.session, "u "+c.session)
		require.ErrorIs(t, err, c.want, c.session)
		if err == nil {
			open = append(open, s)
		}
	}
	open[0].Close()
	h.ofUser = 1
	_, err := h.Open(of, "other", "u s")
	require.ErrorIs(t, err, ErrYours, "in another session, too")
	_, err = h.Open(of, "s", "u")
	require.NoError(t, err)
}

// TestTheEnd ends the looks, also one that is under way, and begins no more.
func TestTheEnd(t *testing.T) {
	t.Parallel()
	h := New(3, 3, 9, time.Now, make(ticks).after)
	looks, over := make(chan struct{}), make(chan struct{})
	_, err := h.Open(Page{Name: "a", Look: func(ctx context.Context) Frame {
		close(looks)
		<-ctx.Done()
		close(over)
		return Frame{}
	}}, "s", "u")
	require.NoError(t, err)
	<-looks
	h.End()
	h.End()
	<-over
	<-h.Ended()
	_, err = h.Open(Page{Name: "b"}, "s", "u")
	require.ErrorIs(t, err, ErrEnded)
}

// TestALookThatPanics is told, and the next one is begun.
func TestALookThatPanics(t *testing.T) {
	t.Parallel()
	tick, n := make(ticks), 0
	h := New(3, 3, 9, time.Now, tick.after)
	t.Cleanup(h.End)
	s, err := h.Open(Page{Name: "a", Look: func(context.Context) Frame {
		if n++; n == 1 {
			panic("no")
		}
		return Frame{Print: "p"}
	}}, "s", "u")
	require.NoError(t, err)
	tick <- time.Now() // taken after the first look
	for {
		last, next := s.Last()
		if last.N == 2 {
			require.Equal(t, "p", last.Print)
			return
		}
		if last.N == 1 {
			require.NotEmpty(t, last.Wrong)
		}
		<-next
	}
}
