package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
)

func TestSendBeforeAndAfterRun(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	w, err := worker.New(s.options())
	require.NoError(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = w.Send(ctx, order(""), insert)
	require.ErrorIs(t, err, holdfast.ErrNotRunning)
	require.ErrorContains(t, err, "is Run called?")

	id := newID()
	done := make(chan error, 1)
	go func() { // blocks until it runs
		_, err := w.Send(s.ctx(), order(id), insert)
		done <- err
	}()
	r := runWorker(t, w)
	require.NoError(t, next(t, done))
	s.oneEffect(id)
	r.stop()

	_, err = w.Send(t.Context(), order(""), insert)
	require.ErrorIs(t, err, holdfast.ErrNotRunning)
	_, err = w.Start(t.Context(), "place", order(""))
	require.ErrorIs(t, err, holdfast.ErrNotRunning)
	_, err = w.Begin(t.Context(), 0, order(""))
	require.ErrorIs(t, err, holdfast.ErrNotRunning)
	require.ErrorIs(t, w.Run(t.Context()), holdfast.ErrInvalid)
}

// TestGracefulShutdown: what is being sent and handled comes to its end, nothing
// new is taken, and nothing is left running.
func TestGracefulShutdown(t *testing.T) {
	// Not parallel: it looks at all goroutines.
	s := newSite(t)
	before := goleak.IgnoreCurrent()

	temporal := dialTemporal(t, s.at.Temporal, s.at.Namespace, nil)
	o := s.options()
	o.Temporal = temporal
	handling, finish, release := make(chan string, 1), make(chan struct{}), make(chan struct{})
	slow := payments(s.effects)
	slow.Handle = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		select {
		case handling <- m.ID: // the first
		default:
		}
		<-finish
		return take(ctx, tx, m)
	}
	r := s.run(o, slow)
	first, second := newID(), newID()
	_, err := r.Send(t.Context(), order(first), insert)
	require.NoError(t, err)
	require.Equal(t, first, next(t, handling))

	inside, done := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := r.Send(s.ctx(), order(second), func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			close(inside)
			<-release
			return insert(ctx, tx, m)
		})
		done <- err
	}()
	next(t, inside)
	r.cancel()
	close(finish)
	until(t, "nothing new is taken", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := r.Send(ctx, order(""), insert)
		if !errors.Is(err, holdfast.ErrNotRunning) {
			require.NoError(t, err, "what is taken ends well")
		}
		return err != nil
	})
	close(release)
	require.NoError(t, next(t, done), "a Send under way ends well")
	require.NoError(t, r.result())
	require.Equal(t, 1, s.ordered(second))
	require.Equal(t, 1, s.effected(first))
	_, err = r.Send(t.Context(), order(""), insert)
	require.ErrorIs(t, err, holdfast.ErrNotRunning)
	temporal.Close()
	idle(t, s)
	require.NoError(t, goleak.Find(before))

	require.Equal(t, workflows.Committed, s.ended(second).State)
	s.consuming(payments(s.effects)) // what was not begun comes again
	s.oneEffect(second)
	s.oneEffect(first)
}

// idle closes the databases' idle connections: their goroutines are not the
// worker's.
func idle(t *testing.T, s *site) {
	t.Helper()
	for _, db := range []*gorm.DB{s.orders, s.effects} {
		pool, err := db.DB()
		require.NoError(t, err)
		pool.SetMaxIdleConns(0)
	}
}

// TestShutdownTakesOver: a process that goes leaves its check-backs to others.
func TestShutdownTakesOver(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	first := s.producer()
	split, err := first.Begin(t.Context(), 2*time.Second, order(newID()))
	require.NoError(t, err)
	require.NoError(t, s.commitOrder(split))
	first.stop()
	s.producer()
	require.Equal(t, workflows.Committed, s.ended(split.ID()).State)
	s.oneEffect(split.ID())
}

// TestDrainTimeout: a local transaction that does not end is left to the
// check-back.
func TestDrainTimeout(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	r := s.producer(func(o *worker.Options) { *o = hurried(*o); o.DrainTimeout = 300 * time.Millisecond })
	id := newID()
	inside, release, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := r.Send(s.ctx(), order(id), func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			err := insert(ctx, tx, m)
			close(inside)
			<-release
			return err
		})
		done <- err
	}()
	next(t, inside)
	r.stop()
	s.producer(func(o *worker.Options) { *o = hurried(*o) })
	close(release)
	<-done // whatever it says, messages and data agree
	status := s.ended(id)
	require.Equal(t, s.ordered(id) == 1, status.State == workflows.Committed)
	if status.State == workflows.Committed {
		s.oneEffect(id)
	}
}
