package barrier_test

import (
	"context"
	"encoding/json"
	"fmt"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
)

type order struct {
	ID    int64
	Total int
}

// A local transaction that completes its message with a generated number.
func ExampleRun() {
	placed := holdfast.Topic[order]{Name: "order.placed"}

	place := func(ctx context.Context, db *gorm.DB, half holdfast.Half) error {
		r := barrier.Run(ctx, db, barrier.Local{TxID: half.TxID, Group: half.Group, Messages: half.Messages},
			func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error {
				o := order{Total: 100}
				if err := tx.Create(&o).Error; err != nil {
					return err // rolled back, nothing is delivered
				}
				return placed.Encode(ms[0], o)
			})
		switch r.Resolution {
		case holdfast.Commit:
			fmt.Println("deliver", r.Messages)
		case holdfast.Rollback:
			fmt.Println("forget the half message:", r.Err)
		case holdfast.Unknown:
			fmt.Println("a check-back will find out:", r.Err)
		}
		return r.Err
	}
	_ = place
}

// A handler whose effect happens once, however often the message is delivered.
func ExampleConsume() {
	handle := func(ctx context.Context, db *gorm.DB, m holdfast.Message) error {
		repeated, err := barrier.Consume(ctx, db, "billing", m.ID, func(ctx context.Context, tx *gorm.DB) error {
			return tx.Exec("INSERT INTO invoices (order_id) VALUES (?)", m.Key).Error
		})
		if repeated {
			fmt.Println("acknowledge: it was done before")
		}
		return err
	}
	_ = handle
}

// A saga's step in a participant, and its Undo. The Do's answer comes back to its
// Undo.
func ExampleDoStep() {
	reserve := func(ctx context.Context, db *gorm.DB, sagaID string, count int) error {
		r, err := barrier.DoStep(ctx, db, sagaID, "reserve-stock", false, func(ctx context.Context, tx *gorm.DB) ([]byte, error) {
			stock := tx.Exec("UPDATE stock SET free = free - ? WHERE free >= ?", count, count)
			if stock.Error != nil {
				return nil, stock.Error
			}
			if stock.RowsAffected == 0 {
				return nil, &holdfast.RefusedError{Reason: "sold out"}
			}
			return json.Marshal(count)
		})
		switch {
		case err != nil:
			fmt.Println("try again:", err)
		case r.Outcome == barrier.StepDone:
			fmt.Printf("reserved %s\n", r.Result)
		default:
			fmt.Printf("%s: %s\n", r.Outcome, r.Reason)
		}
		return err
	}
	release := func(ctx context.Context, db *gorm.DB, sagaID string) error {
		_, err := barrier.UndoStep(ctx, db, sagaID, "reserve-stock", "the order was cancelled", func(ctx context.Context, tx *gorm.DB, count []byte) error {
			return tx.Exec("UPDATE stock SET free = free + ?", string(count)).Error
		})
		return err
	}
	_, _ = reserve, release
}
