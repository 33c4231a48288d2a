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
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
)

func TestSendBeforeAndAfterRun(t *testing.T) { inLanes(t, testSendBeforeAndAfterRun) }

func testSendBeforeAndAfterRun(t *testing.T, l lane) {
	s := newSite(t)
	s.consuming(payments(s.effects))
	o := s.options()
	l.set(&o)
	w, err := worker.New(o)
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
	for _, l := range lanes { // not parallel: it looks at all goroutines
		t.Run(l.name, func(t *testing.T) { testGracefulShutdown(t, l) })
	}
}

func testGracefulShutdown(t *testing.T, l lane) {
	s := newSite(t)
	before := goleak.IgnoreCurrent()

	temporal := dialTemporal(t, s.at.Temporal, s.at.Namespace, nil)
	o := s.options()
	l.set(&o)
	o.Temporal, o.Timeouts.Drain = temporal, patience
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
		_, err := r.Send(s.ctx(), order(""), insert)
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
	require.NoError(t, stacktest.Leaks(before))

	if l.traced {
		require.Equal(t, workflows.Committed, s.ended(second).State)
	}
	s.consuming(payments(s.effects)) // what was not begun comes again
	s.oneEffect(second)
	s.oneEffect(first)
	require.Zero(t, s.drained(), "the last op records are written")
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
func TestShutdownTakesOver(t *testing.T) { inLanes(t, testShutdownTakesOver) }

func testShutdownTakesOver(t *testing.T, l lane) {
	s := newSite(t)
	s.consuming(payments(s.effects))
	first := s.producer(l.set)
	after := time.Duration(0) // Options.CheckAfter, of the second one
	if l.traced {
		after = 2 * time.Second
	}
	split := s.committedSplit(first, after)
	first.stop()
	if !l.traced { // there is no workflow that could be told
		_, err := split.Commit(t.Context())
		require.ErrorIs(t, err, holdfast.ErrDeliveryPending)
	}
	s.producer(func(o *worker.Options) { *o = l.options(*o) })
	s.requireEnd(l, split.ID(), workflows.Committed)
	s.oneEffect(split.ID())
}

// TestDrainTimeout: a local transaction that does not end is left to the
// check-back.
func TestDrainTimeout(t *testing.T) { inLanes(t, testDrainTimeout) }

func testDrainTimeout(t *testing.T, l lane) {
	s := newSite(t)
	s.consuming(payments(s.effects))
	r := s.producer(func(o *worker.Options) {
		*o = l.options(*o)
		o.CheckAfter, o.Timeouts.Drain = 10*time.Second, 300*time.Millisecond
	})
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
	s.producer(func(o *worker.Options) { *o = l.options(*o) })
	close(release)
	<-done // whatever it says, messages and data agree
	if l.traced {
		status := s.ended(id)
		require.Equal(t, s.ordered(id) == 1, status.State == workflows.Committed)
	}
	until(t, "an outcome row", func() bool { return s.hasRow(id) })
	s.requireRow(id, s.ordered(id) == 1)
	if s.ordered(id) == 1 {
		s.oneEffect(id)
	}
}
