package worker_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
)

// TestEndedByItself: a closure, a handler or a step that sends ROLLBACK or COMMIT
// itself is what the database says, in every lane, and is told.
func TestEndedByItself(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	heard := &audit{}
	ending := payments(s.effects)
	ending.Ladder = noLadder
	ending.Handle = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		if err := take(ctx, tx, m); err != nil {
			return err
		}
		return tx.Exec("ROLLBACK").Error
	}
	s.consuming(heard.consumer())
	def := travel(saga.Local("a", func(_ context.Context, tx *gorm.DB, j *journey) error {
		if err := write(tx, j.ID, "a"); err != nil {
			return err
		}
		return tx.Exec("ROLLBACK").Error
	}, nil).NoUndo().Retry(once))
	o := hurried(s.options())
	o.CheckAfter = 10 * time.Second // longer than a local transaction takes
	w := s.runWith(o, func(w *worker.Worker) { w.Saga(def) })

	for _, lane := range []holdfast.Lane{holdfast.Traced, holdfast.Express} {
		for sql, want := range map[string]int{"ROLLBACK": 0, "ROLLBACK; BEGIN": 0, "COMMIT": 1} {
			m := order(newID())
			m.Lane = lane
			r, err := w.Send(s.ctx(), m, func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
				if err := insert(ctx, tx, m); err != nil {
					return err
				}
				return tx.Exec(sql).Error
			})
			require.ErrorContains(t, err, "leave COMMIT and ROLLBACK to Holdfast", "%s in %s", sql, lane)
			require.Equal(t, want, s.ordered(m.ID), "%s in %s", sql, lane)
			if want == 0 {
				require.ErrorIs(t, err, holdfast.ErrRolledBack)
				require.Equal(t, holdfast.Rollback, r.Resolution)
				require.Zero(t, heard.of(m.ID))
				continue
			}
			require.ErrorIs(t, err, holdfast.ErrUndecided)
			until(t, "what is committed is delivered", func() bool { return heard.of(m.ID) > 0 })
		}
	}

	_, err := s.travels(w, def)
	require.ErrorIs(t, err, holdfast.ErrSagaCompensated, "a step that did nothing is not done")

	s.consuming(ending)
	m := order(newID())
	s.publish(s.broker(), m)
	parked := s.awaitLetter("payments", m.ID, workflows.Parked)
	require.Contains(t, parked.Failure.Reason, "leave COMMIT and ROLLBACK to Holdfast")
	require.Zero(t, s.effected(m.ID))
}
