package holdfasttest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/holdfasttest"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
)

var orderPlaced = holdfast.Topic[order]{Name: "order.placed"}

// inLanes runs a test in each lane.
func inLanes(t *testing.T, test func(t *testing.T, lane holdfast.Lane)) {
	for _, lane := range []holdfast.Lane{holdfast.Traced, holdfast.Express} {
		t.Run(string(lane), func(t *testing.T) { test(t, lane) })
	}
}

// sending is a kit with a consumer of order.placed.
func sending(t *testing.T, lane holdfast.Lane) (*holdfasttest.Kit, *gorm.DB) {
	k := holdfasttest.NewWith(t, holdfasttest.Options{Lane: lane})
	require.NoError(t, k.DB().AutoMigrate(&placed{}))
	payments := holdfasttest.NewDB(t)
	require.NoError(t, payments.AutoMigrate(&effect{}))
	k.Consume(worker.Consumer{Name: "payments", Topics: []string{"order.placed"}, DB: payments,
		Handle: worker.TypedHandle(orderPlaced, func(_ context.Context, tx *gorm.DB, o order, m holdfast.Message) error {
			return tx.Create(&effect{What: m.Topic, Key: o.Number}).Error
		})})
	return k, payments
}

func place(_ context.Context, tx *gorm.DB, m *holdfast.Message) error {
	if err := tx.Create(&placed{"A-1", "placed"}).Error; err != nil {
		return err
	}
	return orderPlaced.Encode(m, order{Number: "A-1"})
}

func count(t *testing.T, db *gorm.DB, model any) int64 {
	t.Helper()
	var n int64
	require.NoError(t, db.Model(model).Count(&n).Error)
	return n
}

func TestSend(t *testing.T) { inLanes(t, testSend) }

func testSend(t *testing.T, lane holdfast.Lane) {
	for at, want := range map[holdfasttest.Point]struct {
		err        error
		effects    int64
		delivered  int
		checkBacks int
		express    int // check-backs in that lane
	}{
		"":                        {effects: 1, delivered: 1},
		holdfasttest.BeforeHalf:   {err: holdfast.ErrNotStored, checkBacks: 1},
		holdfasttest.AfterHalf:    {err: holdfast.ErrRolledBack, checkBacks: 1, express: 1},
		holdfasttest.BeforeCommit: {err: holdfast.ErrRolledBack, checkBacks: 1, express: 1},
		holdfasttest.AfterCommit:  {effects: 1, delivered: 1, checkBacks: 1, express: 1},
		holdfasttest.AfterPublish: {effects: 1, delivered: 2, express: 1},
	} {
		t.Run(string(at), func(t *testing.T) {
			if lane == holdfast.Express {
				want.checkBacks = want.express
			}
			k, payments := sending(t, lane)
			k.BreakAt(at)
			sent := k.Send(holdfast.Message{Topic: "order.placed", Key: "A-1"}, place)
			require.ErrorIs(t, sent.Err, want.err)
			require.Equal(t, want.effects, count(t, k.DB(), &placed{}), "orders")
			require.Equal(t, want.effects, count(t, payments, &effect{}), "payments")
			require.Len(t, k.Delivered(), want.delivered)
			require.Equal(t, want.checkBacks, sent.CheckBacks)
			if errors.Is(want.err, holdfast.ErrRolledBack) {
				require.ErrorContains(t, sent.Err, "a check-back found", "its process could not tell")
			}
			if want.err == nil {
				require.Equal(t, holdfast.Commit, sent.Receipt.Resolution)
				require.Contains(t, string(sent.Receipt.Messages[0].Body), "A-1")
			} else {
				require.Equal(t, holdfast.Rollback, sent.Receipt.Resolution)
			}
			require.Empty(t, k.Halves(), "nothing is left in the half queue")
		})
	}
}

func TestSendRollsBack(t *testing.T) { inLanes(t, testSendRollsBack) }

func testSendRollsBack(t *testing.T, lane holdfast.Lane) {
	k, payments := sending(t, lane)
	errNo := errors.New("no")
	sent := k.Send(holdfast.Message{Topic: "order.placed"}, func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
		require.NoError(t, place(ctx, tx, m))
		return errNo
	})
	require.ErrorIs(t, sent.Err, holdfast.ErrRolledBack)
	require.ErrorIs(t, sent.Err, errNo)
	require.Zero(t, count(t, k.DB(), &placed{}))
	require.Zero(t, count(t, payments, &effect{}))
	require.Empty(t, k.Delivered())
}

func TestSendWithoutAConsumer(t *testing.T) { inLanes(t, testSendWithoutAConsumer) }

func testSendWithoutAConsumer(t *testing.T, lane holdfast.Lane) {
	k := holdfasttest.NewWith(t, holdfasttest.Options{Lane: lane})
	do := func(context.Context, *gorm.DB, *holdfast.Message) error { return nil }
	sent := k.Send(holdfast.Message{Topic: "nobody.hears"}, do)
	require.ErrorIs(t, sent.Err, holdfast.ErrDeliveryPending)
	require.ErrorContains(t, sent.Err, "no consumer is bound to nobody.hears")
	k.Listen("nobody.*")
	require.NoError(t, k.Send(holdfast.Message{Topic: "nobody.hears"}, do).Err)
	require.Len(t, k.Delivered(), 1)
}

func TestSendOfInvalidMessages(t *testing.T) {
	k := holdfasttest.New(t)
	sent := k.Send(holdfast.Message{}, func(context.Context, *gorm.DB, *holdfast.Message) error { panic("run") })
	require.ErrorIs(t, sent.Err, holdfast.ErrInvalid)
}

// TestLaneOfAMessage: a message says more than the kit, and one of several that is
// Traced makes the transaction Traced.
func TestLaneOfAMessage(t *testing.T) {
	k := holdfasttest.New(t)
	k.Listen("#")
	do := func(context.Context, *gorm.DB, []*holdfast.Message) error { return nil }
	express, traced := holdfast.Message{Topic: "a", Lane: holdfast.Express}, holdfast.Message{Topic: "b"}
	sent := k.SendAll([]holdfast.Message{express, express}, do)
	require.NoError(t, sent.Err)
	require.Empty(t, sent.Status, "there is no workflow")
	sent = k.SendAll([]holdfast.Message{express, traced}, do)
	require.NoError(t, sent.Err)
	require.Equal(t, workflows.Committed, sent.Status.State)
}

func TestSendWithAChosenID(t *testing.T) { inLanes(t, testSendWithAChosenID) }

func testSendWithAChosenID(t *testing.T, lane holdfast.Lane) {
	k, payments := sending(t, lane)
	m := holdfast.Message{ID: "m-1", Topic: "order.placed"}
	k.BreakAt(holdfasttest.BeforeHalf)
	sent := k.Send(m, place)
	require.ErrorIs(t, sent.Err, holdfast.ErrNotStored)
	require.Equal(t, holdfast.Unknown, sent.Receipt.Resolution, "another call with this ID may have committed")

	m.ID = "m-2"
	require.NoError(t, k.Send(m, place).Err)
	again := k.Send(m, func(context.Context, *gorm.DB, *holdfast.Message) error { panic("run") })
	require.ErrorIs(t, again.Err, holdfast.ErrDuplicate)
	require.EqualValues(t, 1, count(t, payments, &effect{}))
	require.Empty(t, k.Halves())
}

func TestConsume(t *testing.T) {
	k, payments := sending(t, holdfast.Traced)
	m, err := orderPlaced.Message("A-1", order{Number: "A-1"})
	require.NoError(t, err)
	m.ID = "m-1"
	k.Deliver(m)
	k.Deliver(m)
	require.EqualValues(t, 1, count(t, payments, &effect{}), "an effect happens once")
	tries := 0
	k.Consume(worker.Consumer{Name: "failing", Topics: []string{"fail"}, HandleAtLeastOnce: func(context.Context, holdfast.Message) error {
		tries++
		return errors.New("never")
	}})
	k.Deliver(holdfast.Message{ID: "m-2", Topic: "fail"})
	require.Len(t, k.DeadLetters(), 1)
	require.Equal(t, "never", k.DeadLetters()[0].Failure.Reason)
	require.Equal(t, 9, tries, "3 at once, 6 by the ladder")
}
