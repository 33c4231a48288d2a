package worker_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/plugin/dbresolver"
)

// application is what an application holds beside the transaction it is given.
type application struct {
	db   *gorm.DB
	pool *sql.DB
	stmt *sql.Stmt // prepared once for all, as sqlc's Prepare does
}

// mark is a row that a use leaves: in which transaction, and which use.
type mark struct {
	ID     uint `gorm:"primaryKey"`
	Tx     string
	Use    string
	Hooked bool
	Lines  []line
	Gone   gorm.DeletedAt
}

type line struct {
	ID     uint `gorm:"primaryKey"`
	MarkID uint
	What   string
}

// TableName is the name that the statements in SQL use.
func (mark) TableName() string { return "marks" }

// BeforeCreate is a hook that writes and reads with the transaction.
func (m *mark) BeforeCreate(tx *gorm.DB) error {
	var n int64
	m.Hooked = true
	return tx.Model(&mark{}).Where("tx = ?", m.Tx).Count(&n).Error
}

// AfterCreate writes another row.
func (m *mark) AfterCreate(tx *gorm.DB) error {
	return tx.Session(&gorm.Session{NewDB: true, SkipHooks: true}).Create(&mark{Tx: m.Tx, Use: m.Use + ", its hook"}).Error
}

// queries is what sqlc generates.
type queries struct {
	db interface {
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	}
	tx   *sql.Tx
	stmt *sql.Stmt
}

func (q *queries) withTx(tx *sql.Tx) *queries { return &queries{db: tx, tx: tx, stmt: q.stmt} }

func (q *queries) insert(ctx context.Context, id, use string) error {
	_, err := q.tx.StmtContext(ctx, q.stmt).ExecContext(ctx, id, use)
	return err
}

// sqlTx is the transaction of database/sql, as an application gets it for WithTx.
func sqlTx(tx *gorm.DB) (*sql.Tx, error) {
	switch p := tx.Statement.ConnPool.(type) {
	case *sql.Tx:
		return p, nil
	case *gorm.PreparedStmtTX:
		if tx, ok := p.Tx.(*sql.Tx); ok {
			return tx, nil
		}
	}
	return nil, fmt.Errorf("the transaction is a %T", tx.Statement.ConnPool)
}

var errInner = errors.New("no")

const insertMark = `INSERT INTO marks (tx, use) VALUES ($1, $2)`

func plainMark(tx *gorm.DB, id, use string) error {
	return tx.Exec("INSERT INTO marks (tx, use) VALUES (?, ?)", id, use).Error
}

func expect[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s: %v, want %v", what, got, want)
	}
	return nil
}

// use is one thing that an application may do inside a transaction. It leaves marks
// for id, if it writes.
type use struct {
	name string
	do   func(ctx context.Context, app *application, tx *gorm.DB, id, use string) error
}

var uses = []use{
	{"Exec", func(_ context.Context, _ *application, tx *gorm.DB, id, use string) error {
		return plainMark(tx, id, use)
	}},
	{"hooks", func(_ context.Context, _ *application, tx *gorm.DB, id, use string) error {
		m := mark{Tx: id, Use: use}
		return errors.Join(tx.Create(&m).Error, expect("hooked", m.Hooked, true))
	}},
	{"associations", func(_ context.Context, _ *application, tx *gorm.DB, id, use string) error {
		m := mark{Tx: id, Use: use, Lines: []line{{What: "a"}, {What: "b"}}}
		var back mark
		return errors.Join(tx.Create(&m).Error, tx.Preload("Lines").First(&back, m.ID).Error, expect("lines", len(back.Lines), 2))
	}},
	{"Session PrepareStmt", func(_ context.Context, _ *application, tx *gorm.DB, id, use string) error {
		return plainMark(tx.Session(&gorm.Session{PrepareStmt: true}), id, use)
	}},
	{"Session PrepareStmt, reading", func(_ context.Context, _ *application, tx *gorm.DB, id, _ string) error {
		var n int64
		return tx.Session(&gorm.Session{PrepareStmt: true}).Model(&mark{}).Where("tx = ?", id).Count(&n).Error
	}},
	{"prepared *sql.Stmt, WithTx", func(ctx context.Context, app *application, tx *gorm.DB, id, use string) error {
		t, err := sqlTx(tx)
		if err != nil {
			return err
		}
		return (&queries{db: app.pool, stmt: app.stmt}).withTx(t).insert(ctx, id, use)
	}},
	{"Prepare in the transaction", func(ctx context.Context, _ *application, tx *gorm.DB, id, use string) error {
		t, err := sqlTx(tx)
		if err != nil {
			return err
		}
		stmt, err := t.PrepareContext(ctx, insertMark)
		if err != nil {
			return err
		}
		_, err = stmt.ExecContext(ctx, id, use)
		return errors.Join(err, stmt.Close())
	}},
	{"tx.DB()", func(ctx context.Context, app *application, tx *gorm.DB, _, _ string) error {
		pool, err := tx.DB()
		if err != nil {
			return err
		}
		return errors.Join(pool.PingContext(ctx), expect("the application's pool", pool, app.pool))
	}},
	{"nested Transaction", func(_ context.Context, _ *application, tx *gorm.DB, id, use string) error {
		return tx.Transaction(func(tx *gorm.DB) error { return plainMark(tx, id, use) })
	}},
	{"nested Transaction that fails", func(_ context.Context, _ *application, tx *gorm.DB, id, use string) error {
		err := tx.Transaction(func(tx *gorm.DB) error { return errors.Join(plainMark(tx, id, use+", not kept"), errInner) })
		return expect("the inner error", errors.Is(err, errInner), true)
	}},
	{"nested Transaction with a failed statement", func(_ context.Context, _ *application, tx *gorm.DB, id, use string) error {
		err := tx.Transaction(func(tx *gorm.DB) error { return tx.Exec("INSERT INTO nowhere VALUES (1)").Error })
		return errors.Join(expect("it failed", err != nil, true), plainMark(tx, id, use))
	}},
	{"SavePoint", func(_ context.Context, _ *application, tx *gorm.DB, id, use string) error {
		return errors.Join(tx.SavePoint("here").Error, plainMark(tx, id, use+", not kept"), tx.RollbackTo("here").Error, plainMark(tx, id, use))
	}},
	{"scopes", func(_ context.Context, _ *application, tx *gorm.DB, id, _ string) error {
		var ms []mark
		mine := func(db *gorm.DB) *gorm.DB { return db.Where("tx = ?", id) }
		return errors.Join(tx.Scopes(mine).Order("id").Find(&ms).Error, expect("there are some", len(ms) > 0, true))
	}},
	{"SkipDefaultTransaction", func(_ context.Context, _ *application, tx *gorm.DB, id, use string) error {
		return tx.Session(&gorm.Session{SkipDefaultTransaction: true}).Create(&mark{Tx: id, Use: use}).Error
	}},
	{"CreateInBatches", func(_ context.Context, _ *application, tx *gorm.DB, id, use string) error {
		return tx.CreateInBatches([]mark{{Tx: id, Use: use + " 1"}, {Tx: id, Use: use + " 2"}, {Tx: id, Use: use + " 3"}}, 2).Error
	}},
	{"upsert and FirstOrCreate", func(_ context.Context, _ *application, tx *gorm.DB, id, use string) error {
		m := mark{Tx: id, Use: use}
		first := tx.Where("tx = ? AND use = ?", id, use).FirstOrCreate(&m).Error
		return errors.Join(first, tx.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "id"}}, DoNothing: true}).Create(&mark{ID: m.ID, Tx: id, Use: use + ", not kept"}).Error)
	}},
	{"SELECT FOR UPDATE, UPDATE RETURNING", func(_ context.Context, _ *application, tx *gorm.DB, id, use string) error {
		m := mark{Tx: id, Use: "x"}
		var locked mark
		updated := []mark{}
		return errors.Join(tx.Create(&m).Error, tx.Clauses(clause.Locking{Strength: "UPDATE"}).First(&locked, m.ID).Error,
			tx.Model(&updated).Clauses(clause.Returning{}).Where("id = ?", m.ID).Update("use", use).Error, expect("returned", len(updated), 1))
	}},
	{"soft delete", func(_ context.Context, _ *application, tx *gorm.DB, id, use string) error {
		m := mark{Tx: id, Use: use}
		err := tx.Create(&m).Error
		return errors.Join(err, tx.Delete(&m).Error, expect("gone", errors.Is(tx.First(&mark{}, m.ID).Error, gorm.ErrRecordNotFound), true))
	}},
	{"Rows, then a statement", func(_ context.Context, _ *application, tx *gorm.DB, id, use string) error {
		rows, err := tx.Raw("SELECT generate_series(1, 100)").Rows()
		if err != nil {
			return err
		}
		n := 0
		for rows.Next() {
			n++
		}
		return errors.Join(rows.Close(), rows.Err(), expect("rows", n, 100), plainMark(tx, id, use))
	}},
	{"settings, a lock, a table for this transaction only", func(_ context.Context, _ *application, tx *gorm.DB, id, use string) error {
		var set string
		return errors.Join(tx.Exec("SET LOCAL statement_timeout = '50s'").Error, tx.Raw("SHOW statement_timeout").Scan(&set).Error, expect("timeout", set, "50s"),
			tx.Exec("SELECT pg_advisory_xact_lock(hashtext(?))", id).Error, tx.Exec("CREATE TEMP TABLE passing (n int) ON COMMIT DROP").Error, plainMark(tx, id, use))
	}},
	{"several statements at once", func(ctx context.Context, _ *application, tx *gorm.DB, id, use string) error {
		t, err := sqlTx(tx)
		if err == nil {
			_, err = t.ExecContext(ctx, "SELECT 1; SELECT 2")
		}
		return errors.Join(err, plainMark(tx, id, use))
	}},
	{"schema", func(_ context.Context, _ *application, tx *gorm.DB, _, _ string) error {
		return errors.Join(expect("table", tx.Migrator().HasTable(&mark{}), true), tx.AutoMigrate(&line{}))
	}},
	{"dry run", func(_ context.Context, _ *application, tx *gorm.DB, id, use string) error {
		s := tx.ToSQL(func(tx *gorm.DB) *gorm.DB { return tx.Create(&mark{Tx: id, Use: use + ", not kept"}) })
		return expect("SQL", s != "", true)
	}},
	{"Set and Get, another context", func(ctx context.Context, _ *application, tx *gorm.DB, id, use string) error {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		other := tx.Set("who", id).WithContext(ctx)
		who, _ := other.Get("who")
		return errors.Join(expect("setting", who, any(id)), plainMark(other, id, use))
	}},
	{"another goroutine", func(_ context.Context, _ *application, tx *gorm.DB, id, use string) error {
		done := make(chan error)
		go func() { done <- plainMark(tx, id, use) }()
		return <-done
	}},
	{"a connection and a transaction beside it", func(ctx context.Context, app *application, tx *gorm.DB, id, use string) error {
		beside := "beside " + uuid.NewString()
		return errors.Join(tx.Connection(func(c *gorm.DB) error { return c.Exec("SELECT 1").Error }),
			app.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error { return plainMark(tx, beside, use) }), plainMark(tx, id, use))
	}},
	{"replicas", func(_ context.Context, _ *application, tx *gorm.DB, id, use string) error {
		var n int64
		err := errors.Join(plainMark(tx, id, use), tx.Clauses(dbresolver.Read).Model(&mark{}).Where("tx = ? AND use = ?", id, use).Count(&n).Error)
		return errors.Join(err, expect("what the transaction wrote is read in it", n, 1))
	}},
	{"a serialized read of its own settings", func(_ context.Context, _ *application, tx *gorm.DB, _, _ string) error {
		var level, name string
		return errors.Join(tx.Raw("SHOW transaction_isolation").Scan(&level).Error, expect("isolation", level, "read committed"),
			tx.Raw("SHOW transaction_read_only").Scan(&name).Error, expect("read only", name, "off"))
	}},
}

// useAll does all of them in one transaction, and says which failed.
func (app *application) useAll(ctx context.Context, tx *gorm.DB, id string) error {
	for _, u := range uses {
		if err := u.do(ctx, app, tx, id, u.name); err != nil {
			return fmt.Errorf("%s: %w", u.name, err)
		}
	}
	return nil
}
