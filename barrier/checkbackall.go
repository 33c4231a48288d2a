package barrier

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
)

// defaultSweepLockTimeout is how long [CheckBackAll] waits for each local
// transaction that is still open, if it is given no other time.
const defaultSweepLockTimeout = 20 * time.Millisecond

// maxSweepBytes limits the changed messages that one CheckBackAll returns, in
// bytes of JSON: its answer is to fit into a payload of Temporal.
const maxSweepBytes = 768 << 10

// errSweepTooLarge is about changed messages beyond maxSweepBytes.
var errSweepTooLarge = errors.New("it is committed, but its changed messages are too large for a sweep: " +
	"check it back by itself")

// checkBackAll is one statement, and so one database transaction. IDs have no
// spaces.
const (
	checkBackAll = `SELECT id, is_locked, owner, decided, changed, stored, since ` +
		`FROM holdfast_check_back(string_to_array($1, ' '), $2, $3, $4)`
	checkBackHere = `SELECT id, is_locked, owner, decided, changed, stored, since ` +
		`FROM holdfast_check_back(string_to_array($1, ' '), $2, $3, $4, $5)`
)

// SweepError is everybody's error of a [CheckBackAll]: the database answered for
// none of the transactions.
type SweepError struct{ Err error }

func (e *SweepError) Error() string { return e.Err.Error() }
func (e *SweepError) Unwrap() error { return e.Err }

// CheckBackAll is [CheckBack] for many transactions of one group, some hundreds
// at most, in one round trip. It answers in the order of txIDs: an outcome and an
// error for each, as CheckBack would.
//
// It waits at most lockTimeout (0 means 20 ms) for each local
// transaction that is still open, and not much longer than a second for all: one
// that is locked is Unknown, and keeps no other from its answer. So is one whose
// changed messages are too large to be returned with the others'. A
// [SweepError] is everybody's.
func CheckBackAll(ctx context.Context, db *gorm.DB, txIDs []string,
	group string, lockTimeout time.Duration) ([]Outcome, []error) {
	rows, errs := make([]Outcome, len(txIDs)), make([]error, len(txIDs))
	var asked []string
	err := checkDB(db)
	for i, id := range txIDs {
		rows[i] = Outcome{TxID: id, Group: group}
		if errs[i] = cmp.Or(err, checkKey(id, group)); errs[i] == nil {
			asked = append(asked, id)
		}
	}
	if len(asked) == 0 {
		return rows, errs
	}
	if lockTimeout <= 0 {
		lockTimeout = defaultSweepLockTimeout
	}
	if _, ok := db.Dialector.(interface{ WithoutFunctions() }); ok {
		for i, id := range txIDs {
			if errs[i] == nil {
				rows[i], errs[i] = CheckBack(ctx, db, id, group, lockTimeout)
			}
		}
		return rows, errs
	}
	found, err := sweep(ctx, db, asked, group, lockTimeout)
	if err != nil {
		err = &SweepError{explain(db, fmt.Sprintf("check back %d transactions", len(asked)), waited(err))}
	}
	for i, id := range txIDs {
		if errs[i] == nil {
			if errs[i] = err; err == nil {
				rows[i], errs[i] = found[id].answer(id, group)
			}
		}
	}
	return rows, errs
}

// swept is a row of holdfast_check_back.
type swept struct {
	locked         bool
	group, decided sql.NullString
	changed        bool
	messages       []byte
	at             sql.NullTime
}

func sweep(ctx context.Context, db *gorm.DB, txIDs []string,
	group string, lockTimeout time.Duration) (map[string]swept, error) {
	query, args := checkBackAll, []any{strings.Join(txIDs, " "), group, max(1, lockTimeout.Milliseconds()), maxSweepBytes}
	identity := expects(db)
	if identity != "" {
		query, args = checkBackHere, append(args, identity)
	}
	rows, err := plain(db.Statement.ConnPool).QueryContext(ctx, query, args...)
	if err != nil {
		return nil, otherOf(err, identity)
	}
	defer func() { _ = rows.Close() }()
	found := make(map[string]swept, len(txIDs))
	for rows.Next() {
		var id string
		var s swept
		if err := rows.Scan(&id, &s.locked, &s.group, &s.decided, &s.changed, &s.messages, &s.at); err != nil {
			return nil, err
		}
		found[id] = s
	}
	return found, otherOf(rows.Err(), identity) // a COMMIT that was refused shows here
}

// answer is what the row says about txID.
func (s swept) answer(txID, group string) (Outcome, error) {
	unknown := Outcome{TxID: txID, Group: group}
	switch {
	case !s.group.Valid && s.locked:
		return unknown, fmt.Errorf("check back transaction %s: %w", txID, errOpen)
	case !s.group.Valid:
		return unknown, fmt.Errorf("check back transaction %s: %w", txID, errDeleted)
	case s.group.String != group:
		return Outcome{TxID: txID, Group: s.group.String},
			fmt.Errorf("check back transaction %s: %w", txID, otherGroup(txID, s.group.String, group))
	case s.changed && s.messages == nil:
		return unknown, fmt.Errorf("check back transaction %s: %w", txID, errSweepTooLarge)
	}
	row := Outcome{TxID: txID, Group: group, CreatedAt: s.at.Time}
	if err := row.parse(s.decided.String, s.messages); err != nil {
		row.Resolution, row.Messages = holdfast.Unknown, nil
		return row, fmt.Errorf("check back transaction %s: %w", txID, err)
	}
	return row, nil
}
