package conservation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	gormlogger "gorm.io/gorm/logger"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/saga"
)

// The databases: that of the group of the sagas, and the participants'.
const (
	orders  = "orders"
	bank    = "bank"
	stock   = "stock"
	payment = "payment"
)

var (
	participants = []string{bank, stock, payment}
	databases    = []string{orders, bank, stock, payment}
)

// Each database has accounts of both kinds, and each account begins with opening
// units.
const (
	accounts = 8 // of each kind, in each database
	opening  = 1_000_000
)

var kinds = []string{"money", "stock"}

func account(kind string, n int) string { return fmt.Sprintf("%s-%d", kind, n) }

// insideStep is inside the transaction of a Do or an Undo, its writes done.
const insideStep = "conservation.inside-step"

// order is the state of all sagas here: a script of what their steps do.
type order struct {
	ID    string          `json:"id"`
	Case  string          `json:"case,omitempty"`  // that a choice takes
	Extra bool            `json:"extra,omitempty"` // that a conditional step is done
	Moves map[string]move `json:"moves"`           // by step
	// Marks is what the steps have moved: what an Undo of a local step moves back.
	Marks map[string]int64 `json:"marks,omitempty"`
}

// move is what a step moves into an account, and what trouble it gets into.
type move struct {
	Account string    `json:"account"`
	Units   int64     `json:"units"`
	Do      []trouble `json:"do,omitempty"` // at the first run, the second …
	Undo    []trouble `json:"undo,omitempty"`
}

// trouble is what happens to a run of a Do or an Undo.
type trouble string

const (
	none      trouble = ""
	fails     trouble = "fails"     // with an error that is worth another try
	panics    trouble = "panics"    //
	slow      trouble = "slow"      // and ends well
	permanent trouble = "permanent" // with an error that is not
	refuses   trouble = "refuses"   //
)

// books are a database.
type books struct {
	*gorm.DB
	runs *gorm.DB // connections for what survives a rollback
	slow time.Duration
}

const schema = `
CREATE TABLE accounts (id text PRIMARY KEY, units bigint NOT NULL);
CREATE TABLE effects (n bigserial, saga text, step text, op text, account text, units bigint);
CREATE TABLE runs (saga text, step text, op text, n int NOT NULL, PRIMARY KEY (saga, step, op));`

// openBooks connects lazily, with few connections.
func openBooks(url string) (*books, error) {
	var pools [2]*gorm.DB
	for i, limit := range []int{12, 4} {
		db, err := gorm.Open(postgres.Open(url), &gorm.Config{Logger: gormlogger.Discard, DisableAutomaticPing: true})
		if err != nil {
			return nil, err
		}
		pool, err := db.DB()
		if err != nil {
			return nil, err
		}
		pool.SetMaxOpenConns(limit)
		pools[i] = db
	}
	return &books{DB: pools[0], runs: pools[1]}, nil
}

func (b *books) close() {
	for _, db := range []*gorm.DB{b.DB, b.runs} {
		if pool, err := db.DB(); err == nil {
			_ = pool.Close()
		}
	}
}

// run moves units for a step, or back for its Undo, and gets into the trouble that
// is due.
func (b *books) run(ctx context.Context, tx *gorm.DB, id, step, op string, m move, units int64) error {
	var n int
	err := b.runs.WithContext(ctx).Raw(`INSERT INTO runs VALUES (?, ?, ?, 1)
ON CONFLICT (saga, step, op) DO UPDATE SET n = runs.n + 1 RETURNING n`, id, step, op).Scan(&n).Error
	if err != nil {
		return err
	}
	all := m.Do
	if op == "undo" {
		all, units = m.Undo, -units
	}
	due := none
	if n <= len(all) {
		due = all[n-1]
	}
	moved := tx.Exec("UPDATE accounts SET units = units + ? WHERE id = ?", units, m.Account)
	if moved.Error == nil && moved.RowsAffected != 1 {
		return holdfast.Permanent(fmt.Errorf("there is no account %s", m.Account))
	}
	if err := errors.Join(moved.Error, tx.Exec("INSERT INTO effects (saga, step, op, account, units) VALUES (?, ?, ?, ?, ?)", id, step, op, m.Account, units).Error); err != nil {
		return err
	}
	fault.Point(insideStep)
	switch due {
	case fails:
		return errors.New("a random failure")
	case panics:
		panic("a random panic")
	case permanent:
		return holdfast.Permanent(errors.New("a random failure for good"))
	case refuses:
		return saga.Refuse("a random refusal")
	case slow:
		select {
		case <-time.After(b.slow):
		case <-ctx.Done():
		}
	}
	return nil
}
