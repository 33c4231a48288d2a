package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// commitOrder is the application's own transaction.
func (s *site) commitOrder(split *worker.Split) error {
	return s.orders.Transaction(func(tx *gorm.DB) error {
		if _, err := split.Barrier(s.ctx(), tx); err != nil {
			return err
		}
		return tx.Exec("INSERT INTO orders (id) VALUES (?)", split.ID()).Error
	})
}

// committedSplit is a split transaction of w that is committed, and not confirmed.
// after is when it is checked back first, or more, where the machine is too slow for
// that; 0: as the options say.
func (s *site) committedSplit(w *running, after time.Duration) (split *worker.Split) {
	s.t.Helper()
	until(s.t, "one is committed before it is checked back", func() bool {
		var err error
		split, err = w.Begin(s.ctx(), after, order(newID()))
		require.NoError(s.t, err)
		after *= 2
		err = s.commitOrder(split)
		if err != nil {
			require.ErrorIs(s.t, err, holdfast.ErrAlreadyResolved)
		}
		return err == nil
	})
	return split
}

func TestBegin(t *testing.T) { inLanes(t, testBegin) }

func testBegin(t *testing.T, l lane) {
	s := newSite(t)
	seen := &audit{}
	s.consuming(payments(s.effects), seen.consumer())
	w := s.producer(l.set)
	// waits requires that the transaction waits for its confirmation.
	waits := func(t *testing.T, split *worker.Split) {
		if l.traced {
			require.Equal(t, workflows.Waiting, s.status(split.ID()).State)
		} else {
			s.noWorkflow(split.ID())
		}
	}
	// begun requires that its receipt says where it is found, and not more.
	begun := func(t *testing.T, split *worker.Split) {
		require.Equal(t, holdfast.Unknown, split.Receipt().Resolution)
		require.Equal(t, workflows.WorkflowID(s.at.Prefix, group, split.ID()), split.Receipt().WorkflowID)
	}
	begin := func(t *testing.T, checkAfter time.Duration) *worker.Split {
		split, err := w.Begin(t.Context(), checkAfter, order(newID()))
		require.NoError(t, err)
		begun(t, split)
		return split
	}

	t.Run("commit", func(t *testing.T) {
		split := begin(t, 0)
		waits(t, split)
		require.NoError(t, s.commitOrder(split))
		require.Zero(t, seen.of(split.ID()), "nothing is delivered before Commit")
		receipt, err := split.Commit(t.Context())
		require.NoError(t, err)
		require.Equal(t, holdfast.Commit, receipt.Resolution)
		require.Equal(t, []holdfast.Message{order(split.ID())}, receipt.Messages)
		s.oneEffect(split.ID())

		// Again, and the contrary.
		_, err = split.Commit(t.Context())
		require.NoError(t, err)
		_, err = split.Rollback(t.Context())
		require.ErrorIs(t, err, holdfast.ErrAlreadyResolved)
		require.NoError(t, s.orders.Transaction(func(tx *gorm.DB) error {
			repeated, err := split.Barrier(t.Context(), tx)
			require.True(t, repeated)
			return err
		}))
	})

	t.Run("store", func(t *testing.T) {
		split := begin(t, 0)
		require.NoError(t, s.orders.Transaction(func(tx *gorm.DB) error {
			_, err := split.Barrier(t.Context(), tx)
			require.NoError(t, err)
			err = split.Store(t.Context(), tx, func(ms []holdfast.Message) error {
				ms[0].Topic = "elsewhere"
				return nil
			})
			require.ErrorIs(t, err, holdfast.ErrInvalid)
			require.ErrorIs(t, split.Store(t.Context(), tx, func([]holdfast.Message) error { return errOops }), errOops)
			return split.Store(t.Context(), tx, func(ms []holdfast.Message) error {
				ms[0].Body, ms[0].Key = []byte("number 7"), "N-7"
				return nil
			})
		}))
		receipt, err := split.Commit(t.Context())
		require.NoError(t, err)
		require.Equal(t, "number 7", string(receipt.Messages[0].Body))
		require.Equal(t, "number 7", s.oneEffect(split.ID()).Body)
	})

	t.Run("rollback", func(t *testing.T) {
		split := begin(t, 0)
		receipt, err := split.Rollback(t.Context())
		require.NoError(t, err)
		require.Equal(t, holdfast.Rollback, receipt.Resolution)
		require.ErrorIs(t, s.commitOrder(split), holdfast.ErrAlreadyResolved)
		require.Zero(t, s.ordered(split.ID()))
		_, err = split.Commit(t.Context())
		require.ErrorIs(t, err, holdfast.ErrAlreadyResolved)
		s.neverDelivered(w, seen, split.ID())
	})

	t.Run("commit without an outcome row is refused", func(t *testing.T) {
		split := begin(t, 0)
		_, err := split.Commit(t.Context())
		require.ErrorIs(t, err, holdfast.ErrNoOutcome)
		require.ErrorContains(t, err, "Barrier")
		waits(t, split) // the refusal changes nothing
		require.NoError(t, s.commitOrder(split))
		_, err = split.Commit(t.Context())
		require.NoError(t, err)
		s.oneEffect(split.ID())
	})

	t.Run("commit while the transaction is open is refused", func(t *testing.T) {
		split := begin(t, 0)
		require.NoError(t, s.orders.Transaction(func(tx *gorm.DB) error {
			_, err := split.Barrier(t.Context(), tx)
			require.NoError(t, err)
			_, err = split.Commit(t.Context())
			require.ErrorIs(t, err, holdfast.ErrNoOutcome)
			return nil
		}))
		_, err := split.Commit(t.Context())
		require.NoError(t, err)
	})

	// With a time of its own for the first check-back, it is Traced in either lane.
	t.Run("never confirmed, committed", func(t *testing.T) {
		split := s.committedSplit(w, time.Second)
		begun(t, split)
		require.Equal(t, workflows.Committed, s.ended(split.ID()).State)
		s.oneEffect(split.ID())
		receipt, err := split.Commit(t.Context()) // late, and no news
		require.NoError(t, err)
		require.Equal(t, holdfast.Commit, receipt.Resolution)
	})

	t.Run("never confirmed, not committed", func(t *testing.T) {
		split := begin(t, 500*time.Millisecond)
		require.Equal(t, workflows.RolledBack, s.ended(split.ID()).State)
		// G3: what was answered "rolled back" can never commit.
		require.ErrorIs(t, s.commitOrder(split), holdfast.ErrAlreadyResolved)
		require.Zero(t, s.ordered(split.ID()))
		s.neverDelivered(w, seen, split.ID())
		_, err := split.Rollback(t.Context())
		require.NoError(t, err)
	})

	t.Run("the check-back waits for an open transaction", func(t *testing.T) {
		hasty := s.producer(l.set, func(o *worker.Options) {
			*o = hurried(*o)
			o.Group, o.Timeouts.Lock = "hasty", 300*time.Millisecond
		})
		var split *worker.Split
		waited := func(tx *gorm.DB) error {
			if _, err := split.Barrier(t.Context(), tx); err != nil {
				return err
			}
			until(t, "two check-backs that get no answer", func() bool {
				var status transactions.Status
				stacktest.Query(t, s.temporal, split.Receipt().WorkflowID, workflows.QueryStatus, &status)
				return status.Transactions[0].Checks >= 2
			})
			return tx.Exec("INSERT INTO orders (id) VALUES (?)", split.ID()).Error
		}
		wait := 200 * time.Millisecond
		until(t, "its transaction is open before the check-back comes", func() bool {
			var err error
			split, err = hasty.Begin(t.Context(), wait, order(newID()))
			require.NoError(t, err)
			wait *= 2
			err = s.orders.Transaction(waited)
			if err != nil {
				require.ErrorIs(t, err, holdfast.ErrAlreadyResolved)
			}
			return err == nil
		})
		var status transactions.Status
		require.NoError(t, s.temporal.GetWorkflow(s.ctx(), split.Receipt().WorkflowID, "").Get(s.ctx(), &status))
		require.Equal(t, workflows.Committed, status.Transactions[0].State)
		s.oneEffect(split.ID())
	})
}

func TestChecker(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	seen := &audit{}
	s.consuming(payments(s.effects), seen.consumer())
	answers := make(chan holdfast.Resolution, 10)
	var asked holdfast.Message
	o := hurried(s.options())
	o.DB = nil
	w := s.runWith(o, func(w *worker.Worker) {
		w.Check("order.file", holdfast.CheckerFunc(func(_ context.Context, m holdfast.Message) (holdfast.Resolution, error) {
			asked = m
			select {
			case r := <-answers:
				return r, nil
			default:
				return holdfast.Commit, errors.New("the file server is busy") // an error means Unknown
			}
		}))
		w.Check("order.panic", holdfast.CheckerFunc(func(context.Context, holdfast.Message) (holdfast.Resolution, error) {
			panic("man overboard")
		}))
	})
	begin := func(topic string, checkAfter time.Duration) *worker.Split {
		split, err := w.Begin(t.Context(), checkAfter, holdfast.Message{Topic: topic, Body: []byte("x")})
		require.NoError(t, err)
		return split
	}

	split := begin("order.file", time.Hour)
	answers <- holdfast.Commit // it is asked: the Update that says so can be anybody's
	_, err := split.Commit(t.Context())
	require.NoError(t, err, "a Checker's topic needs no outcome row")
	s.oneEffect(split.ID())

	split = begin("order.file", 100*time.Millisecond)
	until(t, "an unanswered check-back", func() bool { return s.status(split.ID()).Checks > 0 })
	require.Contains(t, s.status(split.ID()).Reason, "the file server is busy")
	answers <- holdfast.Unknown
	answers <- holdfast.Commit
	require.Equal(t, workflows.Committed, s.ended(split.ID()).State)
	require.Equal(t, split.ID(), asked.ID)
	s.oneEffect(split.ID())

	split = begin("order.file", 100*time.Millisecond)
	answers <- holdfast.Rollback
	require.Equal(t, workflows.RolledBack, s.ended(split.ID()).State)
	require.Zero(t, seen.of(split.ID()))

	split = begin("order.panic", 100*time.Millisecond)
	until(t, "a check-back that panics", func() bool { return s.status(split.ID()).Checks > 0 })
	require.Contains(t, s.status(split.ID()).Reason, "man overboard")
	status, err := s.ask(split.ID(), transactions.UpdateRollback)
	require.NoError(t, err)
	require.Equal(t, workflows.RolledBack, status.State)

	_, err = w.Begin(t.Context(), 0, order(""))
	require.ErrorIs(t, err, holdfast.ErrInvalid, "neither a database nor a Checker could answer")
	_, err = w.Send(t.Context(), order(""), insert)
	require.ErrorIs(t, err, holdfast.ErrInvalid, "no database")
}
