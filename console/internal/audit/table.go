package audit

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Table is the table holdfast_audit: it adds rows and reads them, and does nothing else.
type Table struct {
	db     *gorm.DB
	prefix string
}

// timeout is how long the database may take.
const timeout = 5 * time.Second

// NewTable returns the log of an installation in a database.
func NewTable(db *gorm.DB, prefix string) *Table { return &Table{db: db, prefix: prefix} }

// There reports whether the table is there.
func (t *Table) There(ctx context.Context) (there bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = t.db.WithContext(ctx).Raw("SELECT to_regclass('holdfast_audit') IS NOT NULL").Scan(&there).Error
	return there, err
}

// Add implements Log.
func (t *Table) Add(ctx context.Context, e Entry) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	e = e.kept()
	err := t.db.WithContext(ctx).Exec(`INSERT INTO holdfast_audit
(prefix, request, operator, role, action, target, step, reason, outcome, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		t.prefix, e.Request, e.Who, e.Role, e.Action, e.Target, e.Step, e.Reason, e.Outcome, e.Detail).Error
	if err != nil {
		return text.WithRemedy(fmt.Errorf("write holdfast_audit: %w", err), "see that PostgreSQL runs, that `holdfast "+
			"migrate` has run, and that the console's role may insert")
	}
	return nil
}

// Last implements Log.
func (t *Table) Last(ctx context.Context, n int, before int64) ([]Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var all []Entry
	err := t.db.WithContext(ctx).Raw(`SELECT id, at, request, operator AS who, role, action, target, step, reason,
outcome, detail FROM holdfast_audit WHERE prefix = ? AND (? = 0 OR id < ?) ORDER BY id DESC LIMIT ?`, t.prefix, before,
		before, n).Scan(&all).Error
	if err != nil {
		return nil, fmt.Errorf("read holdfast_audit: %w", err)
	}
	return all, nil
}

// Where implements Log.
func (t *Table) Where() string { return "Entries are rows of the table holdfast_audit." }
