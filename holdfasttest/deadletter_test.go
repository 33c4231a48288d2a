package holdfasttest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/holdfasttest"
	"github.com/holdfastmq/holdfast/worker"
)

// happened counts what was written down.
func happened(t *testing.T, db *gorm.DB, what string) (n int64) {
	t.Helper()
	require.NoError(t, db.Model(&effect{}).Where("what = ?", what).Count(&n).Error)
	return n
}

func does(what string) worker.Handle {
	return func(_ context.Context, tx *gorm.DB, m holdfast.Message) error {
		return tx.Create(&effect{What: what, Key: m.Key}).Error
	}
}

func undoes(what string) worker.Compensation {
	return func(_ context.Context, tx *gorm.DB, m holdfast.Message, f holdfast.Failure) error {
		return tx.Create(&effect{What: what + " because of " + f.Consumer, Key: m.Key}).Error
	}
}

// market is a kit whose payments consumer fails as wanted, and whose stock is undone.
func market(t *testing.T, policy holdfast.Policy, charge worker.Handle) *holdfasttest.Kit {
	k := holdfasttest.New(t)
	require.NoError(t, k.DB().AutoMigrate(&placed{}, &effect{}))
	stock := k.Service(nil)
	require.NoError(t, stock.DB().AutoMigrate(&effect{}))
	k.Consume(worker.Consumer{Name: "payments", Topics: []string{"order.placed"}, Handle: charge, DeadLetters: policy})
	k.Consume(worker.Consumer{Name: "stock", Topics: []string{"order.*"}, Handle: does("reserved"), Undo: undoes("released")})
	k.Consume(worker.Consumer{Name: "mails", Topics: []string{"order.placed"}, Handle: does("mailed")})
	k.Consume(worker.Consumer{Name: "books", Topics: []string{"order.placed" + holdfast.CompensatedSuffix}, Handle: does("booked back")})
	k.Compensation("order.placed", undoes("refunded"))
	return k
}

func buy(t *testing.T, k *holdfasttest.Kit) {
	t.Helper()
	sent := k.Send(holdfast.Message{Topic: "order.placed", Key: "A-1", Body: []byte("{}")}, func(_ context.Context, tx *gorm.DB, m *holdfast.Message) error {
		return tx.Create(&placed{m.Key, "created"}).Error
	})
	require.NoError(t, sent.Err)
}

var errDeclined = errors.New("card declined")

// TestCompensation: what a consumer gave up is undone as its policy says: by the
// producer, and by the others who did something.
func TestCompensation(t *testing.T) {
	permanent := func(context.Context, *gorm.DB, holdfast.Message) error { return holdfast.Permanent(errDeclined) }
	k := market(t, holdfast.Policy{Action: holdfast.PolicyCompensatePermanent}, permanent)
	buy(t, k)
	l := k.DeadLetter("payments")
	require.Equal(t, "compensated", l.State, l.Reason)
	require.Equal(t, 1, l.Failure.Attempts)
	for what, n := range map[string]int64{"reserved": 1, "mailed": 1, "refunded because of payments": 1, "released because of payments": 1, "booked back": 1} {
		require.EqualValues(t, n, happened(t, k.DB(), what), what)
	}
	require.ErrorContains(t, l.Compensate("again"), "compensated already")
	require.Len(t, k.DeadLetters(), 1)
}

// TestOperatorOfADeadLetter: what waits for an operator is redelivered, compensated
// or discarded.
func TestOperatorOfADeadLetter(t *testing.T) {
	broken := true
	charge := func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		if broken {
			return errDeclined
		}
		return does("charged")(ctx, tx, m)
	}
	k := market(t, holdfast.Policy{}, charge)
	buy(t, k)
	l := k.DeadLetter("payments")
	require.Equal(t, "parked", l.State)
	require.Zero(t, happened(t, k.DB(), "refunded because of payments"))
	require.NoError(t, l.Redeliver("try again"))
	require.Equal(t, "parked", l.State, "it died again")
	require.Equal(t, 1, l.Failure.Redelivery)
	broken = false
	require.NoError(t, l.Redeliver("mended"))
	require.Equal(t, "handled", l.State)
	require.EqualValues(t, 1, happened(t, k.DB(), "charged"))

	broken = true
	k.Deliver(holdfast.Message{ID: "m-2", Topic: "order.placed", Key: "A-2"})
	l = k.DeadLetter("payments")
	require.NoError(t, l.Compensate("the customer called"))
	require.Equal(t, "compensated", l.State, l.Reason)
	require.EqualValues(t, 1, happened(t, k.DB(), "refunded because of payments"))

	k.Deliver(holdfast.Message{ID: "m-3", Topic: "order.placed", Key: "A-3"})
	l = k.DeadLetter("payments")
	require.NoError(t, l.Discard("test data"))
	require.Equal(t, "discarded", l.State)
	require.EqualValues(t, 1, happened(t, k.DB(), "refunded because of payments"))
}

// TestCompensationFails: it is tried again, and waits for an operator in the end; so
// does one that nobody registered.
func TestCompensationFails(t *testing.T) {
	permanent := func(context.Context, *gorm.DB, holdfast.Message) error { return holdfast.Permanent(errDeclined) }
	tries := 0
	k := market(t, holdfast.Policy{Action: holdfast.PolicyCompensate}, permanent)
	k.Compensation("order.changed", func(context.Context, *gorm.DB, holdfast.Message, holdfast.Failure) error {
		if tries++; tries < 3 {
			return errors.New("not now")
		}
		return nil
	})
	k.Consume(worker.Consumer{Name: "strict", Topics: []string{"order.changed", "order.lost"}, Handle: permanent, DeadLetters: holdfast.Policy{Action: holdfast.PolicyCompensate}})
	k.Deliver(holdfast.Message{ID: "m-1", Topic: "order.changed"})
	require.Equal(t, "compensated", k.DeadLetter("strict").State)
	require.Equal(t, 3, tries)
	k.Deliver(holdfast.Message{ID: "m-2", Topic: "order.lost"})
	l := k.DeadLetter("strict")
	require.Equal(t, "parked", l.State)
	require.Contains(t, l.Reason, "no function to compensate topic order.lost")
}

// TestPolicyRedelivers: by the policy's own delays, which cost no time.
func TestPolicyRedelivers(t *testing.T) {
	tries := 0
	k := holdfasttest.New(t)
	k.Consume(worker.Consumer{Name: "slow", Topics: []string{"t"}, Tries: 1, Ladder: []time.Duration{},
		DeadLetters: holdfast.Policy{Action: holdfast.PolicyRedeliver, Redeliver: []time.Duration{time.Hour, time.Hour, time.Hour}},
		Handle: func(context.Context, *gorm.DB, holdfast.Message) error {
			if tries++; tries < 3 {
				return errDeclined
			}
			return nil
		}})
	k.Deliver(holdfast.Message{ID: "m-1", Topic: "t"})
	require.Equal(t, "handled", k.DeadLetter("slow").State)
	require.Equal(t, 3, tries)
}
