package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
)

// TestChosenIDInBothLanes: an ID that is used twice, for different messages, the
// second time in the Express lane of a process that dies. Whatever is delivered
// belongs to what committed, although the other half message is checked back.
func TestChosenIDInBothLanes(t *testing.T) { inLanes(t, testChosenIDInBothLanes) }

func testChosenIDInBothLanes(t *testing.T, l lane) {
	s := newSite(t)
	deliveries := make(chan holdfast.Message, 100)
	s.consuming(worker.Consumer{Name: "audit", Topics: []string{"order.#"}, HandleAtLeastOnce: func(_ context.Context, m holdfast.Message) error {
		deliveries <- m
		return nil
	}})
	w := s.runWith(l.options(s.options()), func(w *worker.Worker) { w.Local("place", insert) })
	// Each says ErrAlreadyResolved or ErrRolledBack where a check-back was faster.
	for name, do := range map[string]func(m holdfast.Message) error{
		"inline":     func(m holdfast.Message) error { _, err := w.Send(s.ctx(), m, insert); return err },
		"registered": func(m holdfast.Message) error { _, err := w.Start(s.ctx(), "place", m); return err },
		"split": func(m holdfast.Message) error {
			split, err := w.Begin(s.ctx(), 0, m)
			if err == nil {
				err = s.commitOrder(split)
			}
			if err == nil {
				_, err = split.Commit(s.ctx())
			}
			return err
		},
	} {
		var id string
		until(t, name+" commits before it is checked back", func() bool {
			id = newID()
			err := do(order(id))
			if errors.Is(err, holdfast.ErrAlreadyResolved) || errors.Is(err, holdfast.ErrRolledBack) {
				return false
			}
			require.NoError(t, err, name)
			return true
		})
		delivered := func() {
			t.Helper()
			for again := true; again; { // what came before may come again
				m := next(t, deliveries)
				require.Equal(t, order(m.ID), m, name)
				again = m.ID != id
			}
		}
		delivered()

		other := order(id)
		other.Topic, other.Body = "order.paid", []byte("something else")
		require.NoError(t, s.broker().PublishHalf(s.ctx(), holdfast.Half{TxID: id, Group: s.at.Group, Messages: []holdfast.Message{other},
			At: time.Now(), Lane: holdfast.Express}))
		delivered() // once more: the Keeper found no op record
	}
}

// TestLaneIsNotDelivered: a message's lane is for the call, and no part of what is
// delivered.
func TestLaneIsNotDelivered(t *testing.T) { inLanes(t, testLaneIsNotDelivered) }

func testLaneIsNotDelivered(t *testing.T, l lane) {
	s := newSite(t)
	s.consuming(payments(s.effects))
	w := s.producer()
	m := order(newID())
	want := m
	if m.Lane = holdfast.Traced; !l.traced {
		m.Lane = holdfast.Express
	}
	receipt, err := w.Send(t.Context(), m, func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
		if m.Lane != "" {
			return errOops
		}
		return insert(ctx, tx, m)
	})
	require.NoError(t, err)
	require.Equal(t, []holdfast.Message{want}, receipt.Messages)
	s.oneEffect(m.ID)
}
