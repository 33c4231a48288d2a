package cookbook

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/holdfasttest"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// kit has the tables, and participants that say yes.
func kit(t *testing.T, topics ...string) *holdfasttest.Kit {
	t.Helper()
	k := holdfasttest.New(t)
	require.NoError(t, k.DB().AutoMigrate(&Order{}, &Place{}))
	yes := func(context.Context, *gorm.DB, holdfast.Message) (any, error) { return "yes", nil }
	for _, pair := range topics {
		do, undo, _ := strings.Cut(pair, " ")
		p := worker.Participant{Topic: do, UndoTopic: undo, Do: yes}
		if undo != "" {
			p.Undo = yes
		}
		k.Participate(p)
	}
	return k
}

func state(t *testing.T, k *holdfasttest.Kit) string {
	t.Helper()
	var o Order
	require.NoError(t, k.DB().First(&o).Error)
	return o.State
}

func TestApproval(t *testing.T) {
	k := kit(t)
	k.After(24*time.Hour, func() { k.Answer("approve", "ann") })
	res := holdfasttest.RunSaga(k, Approved, Order{ID: "A-1"})
	require.NoError(t, res.Err)
	require.Equal(t, "ann", res.State.Approved)
	require.Equal(t, "confirmed", state(t, k))
}

func TestNobodyApproves(t *testing.T) {
	k := kit(t)
	res := holdfasttest.RunSaga(k, Approved, Order{ID: "A-1"})
	require.ErrorIs(t, res.Err, holdfast.ErrSagaCompensated)
	require.ErrorContains(t, res.Err, "no answer within 48h0m0s")
	require.Equal(t, []string{"do create-order", "undo create-order"}, res.Steps)
	require.Equal(t, "cancelled", state(t, k))
}

func TestParallelReservations(t *testing.T) {
	k := kit(t, "stock.reserve stock.release", "payment.hold payment.release", "van.reserve van.release", "driver.reserve driver.release")
	res := holdfasttest.RunSaga(k, Reserved, Order{ID: "A-1"})
	require.NoError(t, res.Err)
	require.Equal(t, "yes", res.State.Shelf)
	require.Equal(t, "yes", res.State.Receipt)
	k.FailDo("reserve-driver", saga.Refuse("all are ill"))
	res = holdfasttest.RunSaga(k, Reserved, Order{ID: "A-2"})
	require.ErrorIs(t, res.Err, holdfast.ErrSagaCompensated)
	require.Subset(t, res.Steps, []string{"undo reserve-van", "undo hold-payment", "undo reserve-stock", "undo create-order"})
}

func TestCondition(t *testing.T) {
	k := kit(t)
	require.NoError(t, holdfasttest.RunSaga(k, Checked, Order{ID: "A-1", Amount: 5}).Err)
	k.Refuse("approve", "too much")
	require.ErrorIs(t, holdfasttest.RunSaga(k, Checked, Order{ID: "A-2", Amount: 1_000_00}).Err, holdfast.ErrSagaCompensated)
}

func TestChoice(t *testing.T) {
	k := kit(t, "courier.book courier.cancel", "parcel.book parcel.cancel")
	require.Equal(t, []string{"do create-order", "do book-courier", "do confirm-order"}, holdfasttest.RunSaga(k, Shipped, Order{ID: "A-1", Express: true}).Steps)
	require.Equal(t, []string{"do create-order", "do book-parcel", "do confirm-order"}, holdfasttest.RunSaga(k, Shipped, Order{ID: "A-2"}).Steps)
}

func TestSubSaga(t *testing.T) {
	k := kit(t, "card.authorize card.void", "card.capture card.refund")
	res := holdfasttest.RunSaga(k, Paid, Order{ID: "A-1", Amount: 5})
	require.NoError(t, res.Err)
	require.Equal(t, "yes", res.State.Receipt)
	k.FailDo("confirm-order", saga.Refuse("closed"))
	res = holdfasttest.RunSaga(k, Paid, Order{ID: "A-2", Amount: 5})
	require.Equal(t, []string{"do create-order", "do authorize", "do capture", "do confirm-order: refused",
		"undo capture", "undo authorize", "undo create-order"}, res.Steps)
}

func TestActivity(t *testing.T) {
	k := kit(t)
	k.Activity("ScoreOrder", ScoreOrder)
	require.NoError(t, holdfasttest.RunSaga(k, Scored, Order{ID: "A-1"}).Err)
	k.Activity("ScoreOrder", func(context.Context, saga.ActivityInput) (float64, error) { return 0.95, nil })
	res := holdfasttest.RunSaga(k, Scored, Order{ID: "A-2"})
	require.ErrorIs(t, res.Err, holdfast.ErrSagaCompensated)
	require.ErrorContains(t, res.Err, "the risk is too high")
}

func TestGeneratedValue(t *testing.T) {
	k := kit(t)
	var printed []string
	k.Participate(worker.Participant{Topic: "invoice.print", UndoTopic: "invoice.void",
		Do: worker.TypedParticipation(func(_ context.Context, _ *gorm.DB, o Order) (any, error) {
			printed = append(printed, o.Number)
			return nil, nil
		}),
		Undo: worker.TypedParticipation(func(context.Context, *gorm.DB, Order) (any, error) { return nil, nil })})
	k.LoseDo("number-order").Times(1)
	res := holdfasttest.RunSaga(k, Numbered, Order{ID: "A-1"})
	require.NoError(t, res.Err)
	require.Equal(t, []string{res.State.Number}, printed)
	var o Order
	require.NoError(t, k.DB().First(&o).Error)
	require.Equal(t, o.Number, res.State.Number)
}

func TestParticipant(t *testing.T) {
	k := kit(t, "payment.hold payment.release", "van.reserve van.release", "driver.reserve driver.release")
	k.Participate(stock)
	require.NoError(t, k.DB().Create(&Place{Shelf: "S-1", Free: true}).Error)
	k.LoseReply("reserve-stock", false).Times(1)
	res := holdfasttest.RunSaga(k, Reserved, Order{ID: "A-1"})
	require.NoError(t, res.Err)
	require.Equal(t, "S-1", res.State.Shelf)
	res = holdfasttest.RunSaga(k, Reserved, Order{ID: "A-2"})
	require.ErrorContains(t, res.Err, "nothing is left")
}

// vault is a Bank.
type vault struct {
	charged map[string]int64
	fail    int
}

func (v *vault) Charge(_ context.Context, key string, amount int64) (string, bool, error) {
	if amount > 100 {
		return "", true, nil
	}
	v.charged[key] = amount
	if v.fail--; v.fail >= 0 {
		return "", false, errors.New("the answer was lost")
	}
	return "R-" + key, false, nil
}

func (v *vault) Refund(_ context.Context, key string) error {
	delete(v.charged, key)
	return nil
}

func TestExternalAPI(t *testing.T) {
	k := kit(t)
	v := &vault{charged: map[string]int64{}, fail: 2}
	k.Activity("Charge", (&Payments{v}).Charge)
	k.Activity("Refund", (&Payments{v}).Refund)
	res := holdfasttest.RunSaga(k, Charged, Order{ID: "A-1", Amount: 5})
	require.NoError(t, res.Err)
	require.Len(t, v.charged, 1)
	res = holdfasttest.RunSaga(k, Charged, Order{ID: "A-2", Amount: 500})
	require.ErrorContains(t, res.Err, "the card is declined")
	k.FailDo("confirm-order", saga.Refuse("closed"))
	require.Error(t, holdfasttest.RunSaga(k, Charged, Order{ID: "A-3", Amount: 5}).Err)
	require.Len(t, v.charged, 1)
}

func TestLongWait(t *testing.T) {
	k := kit(t, "payment.charge payment.refund", "workshop.order", "shipping.create")
	k.After(45*24*time.Hour, func() { k.Answer("build", nil) })
	require.NoError(t, holdfasttest.RunSaga(k, Built, Order{ID: "A-1"}).Err)
	require.ErrorIs(t, holdfasttest.RunSaga(k, Built, Order{ID: "A-2"}).Err, holdfast.ErrSagaParked)
}

func TestUndoAfterTheEnd(t *testing.T) {
	k := kit(t, "payment.charge payment.refund", "shipping.create shipping.recall")
	res := holdfasttest.RunSaga(k, Returnable, Order{ID: "A-1"})
	require.NoError(t, res.Err)
	undone := holdfasttest.UndoSaga(k, res, "the customer sent it back")
	require.Equal(t, []string{"undo ship", "undo charge", "undo create-order"}, undone.Steps)
	require.Equal(t, "cancelled", state(t, k))
}

var block = regexp.MustCompile("(?s)```go\n(.*?)```")

// TestTheCookbookShowsThisCode: each piece of code in docs/cookbook.md is in a file
// of this folder.
func TestTheCookbookShowsThisCode(t *testing.T) {
	page, err := os.ReadFile("../../docs/cookbook.md")
	require.NoError(t, err)
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var all strings.Builder
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		all.Write(text)
	}
	found := block.FindAllStringSubmatch(string(page), -1)
	require.GreaterOrEqual(t, len(found), 12)
	for _, code := range found {
		require.Contains(t, all.String(), code[1])
	}
}
