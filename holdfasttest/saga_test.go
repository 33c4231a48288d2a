package holdfasttest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/holdfasttest"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

type order struct {
	Number string
	Amount int
	Stock  int    // what stock answers
	Note   string // what confirm writes
}

// placed is a row of the order's database.
type placed struct {
	Number string `gorm:"primaryKey"`
	State  string
}

// effect is what a participant did.
type effect struct {
	ID   uint
	What string
	Key  string
}

var orderPayment = saga.Saga[order]{
	Name: "order-payment",
	Key:  func(o order) string { return o.Number },
	Steps: []saga.Step[order]{
		saga.Local("create-order",
			func(_ context.Context, tx *gorm.DB, o *order) error {
				return tx.Create(&placed{o.Number, "created"}).Error
			},
			func(_ context.Context, tx *gorm.DB, o *order) error {
				return tx.Model(&placed{}).Where("number = ?", o.Number).Update("state", "cancelled").Error
			}),
		saga.Message("reserve-stock", "stock.reserve", "stock.release").Receive(saga.Into(func(o *order, left int) error {
			o.Stock = left
			return nil
		})),
		saga.Message("charge-payment", "payment.charge", "payment.refund").AsPivot(),
		saga.Local("confirm-order", func(_ context.Context, tx *gorm.DB, o *order) error {
			o.Note = "confirmed"
			return tx.Model(&placed{}).Where("number = ?", o.Number).Update("state", "confirmed").Error
		}, nil),
		saga.Message("ship", "shipping.create", ""),
	},
}

// shop is a kit with all that the saga needs.
func shop(t *testing.T) *holdfasttest.Kit {
	k := holdfasttest.New(t)
	require.NoError(t, k.DB().AutoMigrate(&placed{}))
	for _, p := range []worker.Participant{
		{Topic: "stock.reserve", UndoTopic: "stock.release"},
		{Topic: "payment.charge", UndoTopic: "payment.refund"},
		{Topic: "shipping.create"},
	} {
		p.DB = holdfasttest.NewDB(t)
		require.NoError(t, p.DB.AutoMigrate(&effect{}))
		p.Do = writes(p.Topic)
		if p.UndoTopic != "" {
			p.Undo = writes(p.UndoTopic)
		}
		k.Participate(p)
	}
	return k
}

func writes(what string) worker.Participation {
	return worker.TypedParticipation(func(_ context.Context, tx *gorm.DB, o order) (int, error) {
		return 41, tx.Create(&effect{What: what, Key: o.Number}).Error
	})
}

func (p placed) of(t *testing.T, k *holdfasttest.Kit) string {
	t.Helper()
	require.NoError(t, k.DB().First(&p).Error)
	return p.State
}

func TestASagaCompletes(t *testing.T) {
	k := shop(t)
	res := holdfasttest.RunSaga(k, orderPayment, order{Number: "A-1", Amount: 5})
	require.NoError(t, res.Err)
	require.Equal(t, []string{"do create-order", "do reserve-stock", "do charge-payment", "do confirm-order", "do ship"}, res.Steps)
	require.Equal(t, order{Number: "A-1", Amount: 5, Stock: 41, Note: "confirmed"}, res.State)
	require.Equal(t, "confirmed", placed{Number: "A-1"}.of(t, k))
	require.Equal(t, "saga/test/order-payment/A-1", res.ID)
}

func TestARefusal(t *testing.T) {
	k := shop(t)
	k.FailDo("charge-payment", saga.Refuse("card declined"))
	res := holdfasttest.RunSaga(k, orderPayment, order{Number: "A-1"})
	require.ErrorIs(t, res.Err, holdfast.ErrSagaCompensated)
	var failure *holdfast.SagaError
	require.ErrorAs(t, res.Err, &failure)
	require.Equal(t, holdfast.SagaError{Condition: holdfast.ErrSagaCompensated, ID: res.ID, Step: "charge-payment", Reason: "card declined", Refused: true}, *failure)
	require.Equal(t, []string{"do create-order", "do reserve-stock", "do charge-payment: refused", "undo reserve-stock", "undo create-order"}, res.Steps)
	require.Equal(t, "cancelled", placed{Number: "A-1"}.of(t, k))
}

func TestAFailure(t *testing.T) {
	k := shop(t)
	k.FailDo("charge-payment", errors.New("the bank is closed"))
	k.FailUndo("create-order", errors.New("not now")).Times(2)
	res := holdfasttest.RunSaga(k, orderPayment, order{Number: "A-1"})
	require.ErrorIs(t, res.Err, holdfast.ErrSagaCompensated)
	require.ErrorContains(t, res.Err, "the bank is closed")
	require.Equal(t, []string{"do create-order", "do reserve-stock", "do charge-payment: failed", "undo reserve-stock",
		"undo create-order: failed", "undo create-order"}, res.Steps)
	require.Equal(t, 5, res.Status.Core.Steps["charge-payment"].Tries)
}

// TestOneKeyTwoStates: a key that is used again means the same saga only with the same state.
func TestOneKeyTwoStates(t *testing.T) {
	type parcel struct {
		ID     string `json:"id"`
		Weight int    `json:"weight"`
	}
	def := saga.Saga[parcel]{Name: "parcel", Key: func(p parcel) string { return p.ID },
		Steps: []saga.Step[parcel]{saga.Local("send", func(context.Context, *gorm.DB, *parcel) error { return nil }, nil).NoUndo()}}
	k := holdfasttest.New(t)
	require.NoError(t, holdfasttest.RunSaga(k, def, parcel{"p-1", 1}).Err)
	again := holdfasttest.RunSaga(k, def, parcel{"p-1", 1})
	require.NoError(t, again.Err)
	require.Empty(t, again.Steps)
	other := holdfasttest.RunSaga(k, def, parcel{"p-1", 2})
	require.ErrorIs(t, other.Err, holdfast.ErrDuplicate)
	require.Empty(t, other.Steps)
}
