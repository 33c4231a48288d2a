package barrier_test

import (
	"context"
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
