package sagas

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/bench/internal/measure"
)

// order is what a saga is about: its state.
type order struct {
	Number   string `json:"number"`
	Customer string `json:"customer"`
	Cents    int64  `json:"cents"`
	// Rows are the rows of the local steps.
	Rows []int64 `json:"rows,omitempty"`
}

func newOrder() order {
	return order{Number: uuid.NewString(), Customer: "c-1042", Cents: 129900}
}

// stepRow is what every step of a saga inserts.
type stepRow struct {
	ID        int64
	Number    string `gorm:"size:64;not null"`
	Step      string `gorm:"size:32;not null"`
	Customer  string `gorm:"size:64;not null"`
	Cents     int64  `gorm:"not null"`
	CreatedAt time.Time
}

func (stepRow) TableName() string { return "bench_saga_rows" }

// insertStep is the work of every step.
func insertStep(tx *gorm.DB, o order, step string) (id int64, err error) {
	row := stepRow{Number: o.Number, Step: step, Customer: o.Customer, Cents: o.Cents}
	err = tx.Create(&row).Error
	return row.ID, err
}

// deleteStep undoes it.
func deleteStep(tx *gorm.DB, o order, step string) error {
	return tx.Where("number = ? AND step = ?", o.Number, step).Delete(&stepRow{}).Error
}

// stock is what a participant's step takes from, beside its row.
type stock struct {
	Item      int `gorm:"primaryKey;autoIncrement:false"`
	Available int64
}

func (stock) TableName() string { return "bench_stock" }

const (
	items     = 1_000     // so many that sagas seldom wait for each other's
	perItem   = 1_000_000 // more than is ever ordered
	takeStock = "UPDATE bench_stock SET available = available - ? WHERE item = ?"
)

func itemOf(o order) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(o.Number)) // a hash never fails
	return int(h.Sum32() % items)
}

// reserve takes one piece from the stock; unreserve gives it back.
func reserve(tx *gorm.DB, o order) error {
	if err := tx.Exec(takeStock, 1, itemOf(o)).Error; err != nil {
		return err
	}
	_, err := insertStep(tx, o, stepReserve)
	return err
}

func unreserve(tx *gorm.DB, o order) error {
	if err := tx.Exec(takeStock, -1, itemOf(o)).Error; err != nil {
		return err
	}
	return deleteStep(tx, o, stepReserve)
}

// charge and refund are the other participant's.
func charge(tx *gorm.DB, o order) error {
	_, err := insertStep(tx, o, stepCharge)
	return err
}

func refund(tx *gorm.DB, o order) error { return deleteStep(tx, o, stepCharge) }

// books are the tables of one way of running sagas, and what has to be in them.
type books struct {
	// db has the rows of the local steps, participants those of the others and the
	// stock; nil: all steps are local.
	db, participants *gorm.DB
	// local and remote are how many rows each saga leaves in them.
	local, remote int64

	tried, completed atomic.Int64 // since the books were opened
}

// open empties the tables.
func (b *books) open(ctx context.Context) error {
	b.tried.Store(0)
	b.completed.Store(0)
	if err := b.db.WithContext(ctx).AutoMigrate(&stepRow{}); err != nil {
		return err
	}
	if err := b.db.WithContext(ctx).Exec("TRUNCATE bench_saga_rows").Error; err != nil {
		return err
	}
	if b.participants == nil {
		return nil
	}
	tx := b.participants.WithContext(ctx)
	if err := tx.AutoMigrate(&stepRow{}, &stock{}); err != nil {
		return err
	}
	if err := tx.Exec("TRUNCATE bench_saga_rows, bench_stock").Error; err != nil {
		return err
	}
	return tx.Exec("INSERT INTO bench_stock SELECT item, ? FROM generate_series(0, ?) AS item", perItem, items-1).Error
}

// count counts a saga that run runs, also while it warms up.
func (b *books) count(run func(order) error) error {
	b.tried.Add(1)
	err := run(newOrder())
	if err == nil {
		b.completed.Add(1)
	}
	return err
}

// drive is the load of sagas that run runs, one after the other for each caller.
func (b *books) drive(run func(context.Context, order) (order, error)) measure.Driver {
	return measure.ClosedLoop(func(ctx context.Context) error {
		return b.count(func(o order) error {
			end, err := run(ctx, o)
			if err == nil && len(end.Rows) != int(b.local) {
				err = errors.New("its last state is not what its steps made of it")
			}
			return err
		})
	})
}

// check reports what is wrong with the books once no saga is running any more:
// every saga left each of its rows once, all that completed are there, and what
// is missing from the stock is reserved.
func (b *books) check(ctx context.Context) error {
	sagas, err := b.rows(ctx, b.db, b.local)
	if err != nil || b.participants == nil {
		return err
	}
	remote, err := b.rows(ctx, b.participants, b.remote)
	if err != nil {
		return err
	}
	if remote != sagas {
		return fmt.Errorf("the participants know %d sagas, the orders %d", remote, sagas)
	}
	var left int64
	if err := b.participants.WithContext(ctx).Raw("SELECT sum(available) FROM bench_stock").Scan(&left).Error; err != nil {
		return err
	}
	if missing := items*perItem - left; missing != sagas {
		return fmt.Errorf("%d pieces are missing from the stock, %d are reserved", missing, sagas)
	}
	return nil
}

// rows counts the sagas that have rows in db, which must be those that were run,
// with each rows once.
func (b *books) rows(ctx context.Context, db *gorm.DB, each int64) (sagas int64, err error) {
	var got struct{ Sagas, Wrong int64 }
	err = db.WithContext(ctx).Raw(`SELECT count(*) AS sagas, count(*) FILTER (WHERE n <> ? OR steps <> ?) AS wrong
		FROM (SELECT count(*) AS n, count(DISTINCT step) AS steps FROM bench_saga_rows GROUP BY number) AS s`, each, each).
		Scan(&got).Error
	if err != nil {
		return 0, err
	}
	tried, completed := b.tried.Load(), b.completed.Load()
	switch {
	case got.Wrong > 0:
		return 0, fmt.Errorf("%d of %d sagas did not leave each of their %d rows once", got.Wrong, got.Sagas, each)
	case got.Sagas < completed || got.Sagas > tried:
		return 0, fmt.Errorf("%d sagas have rows; %d were run, %d completed", got.Sagas, tried, completed)
	}
	return got.Sagas, nil
}
