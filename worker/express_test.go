package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/worker"
)

// TestPublishOutlivesItsCaller: the caller goes after COMMIT, while RabbitMQ is not
// reached. The message is published all the same, long before the Keeper would.
func TestPublishOutlivesItsCaller(t *testing.T) {
	// Not parallel: it sets the process's fault.
	s := newSite(t)
	s.consuming(payments(s.effects))
	rabbit := newRelay(t, hostOf(t, s.at.AMQPURL))
	o := s.options()
	o.Lane, o.AMQPURL, o.CheckAfter = holdfast.Express, rabbit.through(s.at.AMQPURL), 10*patience
	w := s.run(o)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	fault.Set(func(at string) {
		if at == fault.CommitBeforePublish {
			rabbit.refuse(true)
			rabbit.cut()
			cancel()
		}
	})
	defer fault.Set(nil)
	id := newID()
	receipt, err := w.Send(ctx, order(id), insert)
	require.ErrorIs(t, err, holdfast.ErrDeliveryPending)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, holdfast.Commit, receipt.Resolution)
	require.Equal(t, []holdfast.Message{order(id)}, receipt.Messages)
	require.Zero(t, s.effected(id))
	rabbit.refuse(false)
	s.oneEffect(id)
	w.stop()
	require.Zero(t, s.drained(), "its op record is written")
}

// TestUsedIDs: what was run under an ID, in whichever way it ended, keeps the ID from
// being used again; what was not run does not.
func TestUsedIDs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	rabbit := newRelay(t, hostOf(t, s.at.AMQPURL))
	w := s.producer(func(o *worker.Options) {
		o.Lane, o.AMQPURL = holdfast.Express, rabbit.through(o.AMQPURL)
	})
	never := func(context.Context, *gorm.DB, *holdfast.Message) error {
		t.Error("the local transaction was run")
		return nil
	}

	// An ID that was made here, and rolled back without an outcome row.
	receipt, err := w.Send(t.Context(), order(""), func(context.Context, *gorm.DB, *holdfast.Message) error { return errOops })
	require.ErrorIs(t, err, holdfast.ErrRolledBack)
	require.False(t, s.hasRow(receipt.TxID))
	_, err = w.Send(t.Context(), order(receipt.TxID), never)
	require.ErrorIs(t, err, holdfast.ErrDuplicate)

	// Two at the same time: the second one is refused by the registry.
	id := newID()
	inside, release, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := w.Send(s.ctx(), order(id), func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			close(inside)
			<-release
			return insert(ctx, tx, m)
		})
		done <- err
	}()
	next(t, inside)
	_, err = w.Send(t.Context(), order(id), never)
	require.ErrorIs(t, err, holdfast.ErrDuplicate)
	close(release)
	require.NoError(t, next(t, done))
	s.oneEffect(id)

	// Not stored: it can be sent again.
	id = newID()
	rabbit.refuse(true)
	rabbit.cut()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	receipt, err = w.Send(ctx, order(id), never)
	require.ErrorIs(t, err, holdfast.ErrNotStored)
	require.Equal(t, holdfast.Unknown, receipt.Resolution, "an earlier call may have run it")
	receipt, err = w.Send(ctx, order(""), never)
	require.ErrorIs(t, err, holdfast.ErrNotStored)
	require.Equal(t, holdfast.Rollback, receipt.Resolution)
	rabbit.refuse(false)
	_, err = w.Send(t.Context(), order(id), insert)
	require.NoError(t, err)
	s.oneEffect(id)
}

// TestSameIDAtTheSameTime: two processes run one transaction. One is told that it is
// a duplicate, and nothing is settled before it is delivered.
func TestSameIDAtTheSameTime(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	first, second := s.producer(laneOf("express").set), s.producer(laneOf("express").set)
	id := newID()
	inside, release, done := make(chan struct{}), make(chan struct{}), make(chan error, 2)
	go func() {
		_, err := first.Send(s.ctx(), order(id), func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			err := insert(ctx, tx, m)
			close(inside)
			<-release
			return err
		})
		done <- err
	}()
	next(t, inside)
	go func() { // waits for the first one's row
		_, err := second.Send(s.ctx(), order(id), func(context.Context, *gorm.DB, *holdfast.Message) error {
			return errors.New("it was run twice")
		})
		done <- err
	}()
	until(t, "both are in their transaction", func() bool {
		return s.count(s.orders, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == 1
	})
	close(release)
	errs := []error{next(t, done), next(t, done)}
	require.ErrorIs(t, errors.Join(errs...), holdfast.ErrDuplicate)
	require.Contains(t, errs, nil)
	s.oneEffect(id)
	require.Equal(t, 1, s.ordered(id))
}

// TestExpressLocalTimeout: it bounds the local transaction in this lane, too.
func TestExpressLocalTimeout(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.producer(laneOf("express").set, func(o *worker.Options) { o.Timeouts.Local = patience / 2 })
	_, err := w.Send(t.Context(), order(newID()), func(ctx context.Context, _ *gorm.DB, _ *holdfast.Message) error {
		deadline, _ := ctx.Deadline()
		require.LessOrEqual(t, time.Until(deadline), patience/2)
		return errOops
	})
	require.ErrorIs(t, err, errOops)
}

// TestSplitExpress: what a workflow would remember of a split transaction.
func TestSplitExpress(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	seen := &audit{}
	s.consuming(payments(s.effects), seen.consumer())
	o := laneOf("express").options(s.options())
	w := s.run(o)

	// Nobody confirms: the Keeper's check-back decides.
	committed := s.committedSplit(w, 0)
	never, err := w.Begin(t.Context(), 0, order(newID()))
	require.NoError(t, err)
	s.oneEffect(committed.ID())
	until(t, "a check-back", func() bool { return s.hasRow(never.ID()) })
	require.ErrorIs(t, s.commitOrder(never), holdfast.ErrAlreadyResolved)
	_, err = never.Commit(t.Context())
	require.ErrorIs(t, err, holdfast.ErrAlreadyResolved)
	_, err = committed.Commit(t.Context()) // late, and no news
	require.NoError(t, err)
	s.oneEffect(committed.ID())

	// With a Checker there is no row that could refuse the contrary.
	o.DB, o.CheckAfter = nil, time.Hour
	checked := s.runWith(o, func(w *worker.Worker) {
		w.Check(placed, holdfast.CheckerFunc(func(context.Context, holdfast.Message) (holdfast.Resolution, error) {
			return holdfast.Unknown, nil
		}))
	})
	split, err := checked.Begin(t.Context(), 0, order(newID()))
	require.NoError(t, err)
	_, err = split.Commit(t.Context())
	require.NoError(t, err)
	s.oneEffect(split.ID())
	_, err = split.Rollback(t.Context())
	require.ErrorIs(t, err, holdfast.ErrAlreadyResolved)
	receipt, err := split.Commit(t.Context())
	require.NoError(t, err)
	require.Equal(t, []holdfast.Message{order(split.ID())}, receipt.Messages)
	later, err := checked.Begin(t.Context(), 0, order(newID()))
	require.NoError(t, err)
	_, err = later.Commit(t.Context())
	require.NoError(t, err)
	s.oneEffect(later.ID())
	until(t, "the audit", func() bool { return seen.of(later.ID()) > 0 })
	require.Equal(t, 1, seen.of(split.ID()), "a second Commit delivers nothing")

	split, err = checked.Begin(t.Context(), 0, order(""))
	require.NoError(t, err)
	_, err = split.Rollback(t.Context())
	require.NoError(t, err)
	_, err = split.Commit(t.Context())
	require.ErrorIs(t, err, holdfast.ErrAlreadyResolved)
	_, err = checked.Begin(t.Context(), 0, order(split.ID()))
	require.ErrorIs(t, err, holdfast.ErrDuplicate, "its op record is on its way")
}
