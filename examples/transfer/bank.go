package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// Account is an account. The database sees to it that no one is overdrawn.
type Account struct {
	ID      string `gorm:"primaryKey"`
	Balance int64  `gorm:"check:balance >= 0"`
	Closed  bool
}

// bank is a participant: a database, and a worker that acts on it.
type bank struct {
	db     *gorm.DB
	worker *worker.Worker
}

// openBank makes the bank's database where there is none, with these accounts in
// their first state, and a worker that does the bank's part.
func openBank(ctx context.Context, name string, accounts ...Account) (*bank, error) {
	db, err := openDatabase(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := db.AutoMigrate(&Account{}); err != nil {
		return nil, err
	}
	if err := barrier.Migrate(ctx, db); err != nil {
		return nil, err
	}
	if err := db.Clauses(clause.OnConflict{UpdateAll: true}).Create(accounts).Error; err != nil {
		return nil, err
	}
	w, err := worker.New(worker.Options{DB: db})
	if err != nil {
		return nil, err
	}
	b := &bank{db: db, worker: w}
	switch name {
	case "east":
		w.Participate(worker.Participant{
			Topic: "east.withdraw", Do: worker.TypedParticipation(withdraw),
			UndoTopic: "east.give-back", Undo: worker.TypedParticipation(giveBack),
		})
	case "west":
		w.Participate(worker.Participant{
			Topic: "west.deposit", Do: worker.TypedParticipation(deposit),
			UndoTopic: "west.take-back", Undo: worker.TypedParticipation(takeBack),
		})
	}
	return b, nil
}

// withdraw refuses where the funds are short. A refusal is final: the saga ends.
// Any other error would be tried again.
func withdraw(_ context.Context, tx *gorm.DB, t Transfer) (any, error) {
	found := tx.Model(&Account{}).Where("id = ? AND balance >= ?", t.From, t.Amount).
		Update("balance", gorm.Expr("balance - ?", t.Amount))
	if found.Error == nil && found.RowsAffected == 0 {
		return nil, saga.Refuse("the funds of " + t.From + " are short")
	}
	return nil, found.Error
}

// giveBack undoes withdraw. It runs only where withdraw took effect, and once.
func giveBack(_ context.Context, tx *gorm.DB, t Transfer) (any, error) {
	return nil, add(tx, t.From, t.Amount)
}

func deposit(_ context.Context, tx *gorm.DB, t Transfer) (any, error) {
	found := tx.Model(&Account{}).Where("id = ? AND NOT closed", t.To).
		Update("balance", gorm.Expr("balance + ?", t.Amount))
	if found.Error == nil && found.RowsAffected == 0 {
		return nil, saga.Refuse("the account of " + t.To + " is closed")
	}
	return nil, found.Error
}

// takeBack undoes deposit. Where the money has been spent since, it fails, is tried
// again, and in the end waits for an operator: an Undo cannot refuse.
func takeBack(_ context.Context, tx *gorm.DB, t Transfer) (any, error) {
	return nil, add(tx, t.To, -t.Amount)
}

func add(tx *gorm.DB, account string, amount int64) error {
	return tx.Model(&Account{}).Where("id = ?", account).Update("balance", gorm.Expr("balance + ?", amount)).Error
}

// openDatabase opens a database of its own for the bank: that of DATABASE_URL with
// the bank's name behind it.
func openDatabase(ctx context.Context, bank string) (*gorm.DB, error) {
	address, err := url.Parse(os.Getenv("DATABASE_URL"))
	if err != nil {
		return nil, err
	}
	quiet := &gorm.Config{Logger: logger.Default.LogMode(logger.Silent)}
	beside, err := gorm.Open(postgres.Open(address.String()), quiet)
	if err != nil {
		return nil, fmt.Errorf("open the database of DATABASE_URL: %w", err)
	}
	defer func() {
		if pool, err := beside.DB(); err == nil {
			_ = pool.Close() // it was only needed for the next statement
		}
	}()
	address.Path += "_" + bank
	const duplicateDatabase = "42P04"
	err = beside.WithContext(ctx).Exec(fmt.Sprintf("CREATE DATABASE %q", address.Path[1:])).Error
	if p := (*pgconn.PgError)(nil); err != nil && !(errors.As(err, &p) && p.Code == duplicateDatabase) {
		return nil, err
	}
	return gorm.Open(postgres.Open(address.String()), quiet)
}
