package barrier

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
)

// Outcome is an outcome row: the truth about one local transaction.
type Outcome struct {
	// TxID is the transaction's ID.
	TxID string
	// Group is the producer group that the transaction belongs to.
	Group string
	// Resolution is Commit or Rollback; Unknown only where there is no answer.
	Resolution holdfast.Resolution
	// Messages are the messages to deliver, if the local transaction changed
	// them; nil means as they were in the half message.
	Messages []holdfast.Message
	// CreatedAt is when the row's transaction began, by the database's clock.
	CreatedAt time.Time

	digest []byte // of the messages as they are in the half message; nil: not known
}

const (
	outcomesTable = `holdfast_outcomes`
	insertOutcome = `INSERT INTO holdfast_outcomes (tx_id, producer_group, resolution, digest) ` +
		`VALUES ($1, $2, $3, $4) ON CONFLICT (tx_id) DO NOTHING`
	// insertFresh is for a key that nobody else has: a conflict is an error, and
	// PostgreSQL need not look for one before it inserts.
	insertFresh = `INSERT INTO holdfast_outcomes (tx_id, producer_group, resolution, digest) VALUES ($1, $2, $3, $4)`
	readOutcome = `SELECT producer_group, resolution, messages, created_at, digest FROM holdfast_outcomes WHERE tx_id = $1`
	// now() is the start of the transaction: only the transaction that inserted
	// the row may complete it.
	storeMessages = ` SET messages = $2 WHERE tx_id = $1 AND resolution = 'commit' AND created_at = now()`
)

// Insert inserts the outcome row (txID, commit) in the caller's own
// transaction (the split form), and must be its first statement. The messages
// are then delivered if and only if tx commits. ms are the messages as they are in
// the half message; without them, a compensation cannot compare what it is given
// with what was committed.
//
// repeated means that an earlier run of this transaction is committed: the
// caller must roll back tx and do nothing. An error that wraps
// [holdfast.ErrAlreadyResolved] means that a check-back has answered "rolled
// back": after it, as after any other error, the caller must roll back tx.
func Insert(ctx context.Context, tx *gorm.DB, txID, group string, ms ...holdfast.Message) (repeated bool, err error) {
	if err := cmp.Or(checkTx(tx), checkKey(txID, group)); err != nil {
		return false, err
	}
	row, inserted, err := insertOrRead(ctx, tx.Statement.ConnPool,
		outcomeRow(txID, group, holdfast.Commit, ms), txID, group, holdfast.Commit)
	switch {
	case err != nil:
		return false, explain(tx, "insert the outcome row of transaction "+txID, err)
	case inserted:
		return false, nil
	case row.Resolution == holdfast.Rollback:
		return false, alreadyRolledBack(txID)
	}
	return true, nil
}

// StoreMessages stores messages that were changed inside the caller's own
// transaction, after [Insert] in that same transaction, in the outcome row.
// They, not those of the half message, are then delivered.
func StoreMessages(ctx context.Context, tx *gorm.DB, txID string, ms []holdfast.Message) error {
	if err := checkTx(tx); err != nil {
		return err
	}
	if len(ms) == 0 {
		return fmt.Errorf("%w: no messages to store for transaction %s", holdfast.ErrInvalid, txID)
	}
	for _, m := range ms {
		if err := m.Validate(); err != nil {
			return err
		}
	}
	return store(ctx, tx, tx.Statement.ConnPool, outcomesTable, txID, ms)
}

func store(ctx context.Context, db *gorm.DB, pool gorm.ConnPool, table, txID string, ms []holdfast.Message) error {
	data, err := json.Marshal(ms)
	if err != nil {
		return fmt.Errorf("%w: encode the messages of transaction %s: %w", holdfast.ErrInvalid, txID, err)
	}
	n, err := exec(ctx, pool, "UPDATE "+table+storeMessages, txID, data)
	if err != nil {
		return explain(db, "store the changed messages of transaction "+txID, err)
	}
	if n != 1 {
		return fmt.Errorf("%w: transaction %s has no outcome row of this database transaction to store messages in: "+
			"insert it first", holdfast.ErrNoOutcome, txID)
	}
	return nil
}

// Read returns the outcome row of a transaction. The error wraps
// [holdfast.ErrNotFound] if there is none: the local transaction is still open,
// or did not commit, or its row was deleted by retention.
func Read(ctx context.Context, db *gorm.DB, txID string) (Outcome, error) {
	if db == nil || db.Statement == nil {
		return Outcome{TxID: txID}, fmt.Errorf("%w: the gorm database is nil", holdfast.ErrInvalid)
	}
	row, err := read(ctx, db.Statement.ConnPool, txID)
	if errors.Is(err, sql.ErrNoRows) {
		return row, fmt.Errorf("%w: transaction %s has no outcome row", holdfast.ErrNotFound, txID)
	}
	if err != nil {
		return row, explain(db, "read the outcome row of transaction "+txID, err)
	}
	return row, nil
}

// outcomeRow is the statement that inserts an outcome row; ms are the half
// message's.
func outcomeRow(txID, group string, r holdfast.Resolution, ms []holdfast.Message) *statement {
	return &statement{query: insertOutcome, args: []any{txID, group, r.String(), digestOf(ms)},
		table: outcomesTable, mine: "tx_id = $1", keys: 1}
}

// insertOrRead inserts the row, or reads the one that is there in a second
// statement: the first one's snapshot may be older than a commit it waited for.
func insertOrRead(ctx context.Context, pool gorm.ConnPool, insert *statement,
	txID, group string, r holdfast.Resolution) (row Outcome, inserted bool, err error) {
	n, err := insert.exec(ctx, pool)
	if err != nil {
		return Outcome{TxID: txID}, false, err
	}
	if n == 1 {
		return Outcome{TxID: txID, Group: group, Resolution: r}, true, nil
	}
	row, err = readOf(ctx, pool, txID, group)
	return row, false, err
}

// readOf reads the row that kept another from being inserted, and makes sure
// that it is the group's.
func readOf(ctx context.Context, pool gorm.ConnPool, txID, group string) (Outcome, error) {
	row, err := read(ctx, pool, txID)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		err = fmt.Errorf("%w: %w", errDeleted, err)
	case err == nil && row.Group != group:
		err = otherGroup(txID, row.Group, group)
	}
	if err != nil {
		row.Resolution = holdfast.Unknown
		err = &rowError{err}
	}
	return row, err
}

var errDeleted = errors.New("the outcome row was deleted while it was read: " +
	"retention must be longer than a half message's life")

func otherGroup(txID, owner, group string) error {
	return fmt.Errorf("%w: transaction %s belongs to producer group %q, not %q: "+
		"give every group its own transaction IDs, and do not rename a group that has transactions open",
		holdfast.ErrInvalid, txID, owner, group)
}

// rowError means that a row is there, and that it gave no answer.
type rowError struct{ err error }

func (e *rowError) Error() string { return e.err.Error() }
func (e *rowError) Unwrap() error { return e.err }

func read(ctx context.Context, pool gorm.ConnPool, txID string) (Outcome, error) {
	row := Outcome{TxID: txID}
	var resolution string
	var messages []byte
	err := plain(pool).QueryRowContext(ctx, readOutcome, txID).
		Scan(&row.Group, &resolution, &messages, &row.CreatedAt, &row.digest)
	if err != nil {
		return row, err
	}
	return row, row.parse(resolution, messages)
}

// parse takes in what the row's columns say.
func (row *Outcome) parse(resolution string, messages []byte) error {
	if messages != nil {
		if err := json.Unmarshal(messages, &row.Messages); err != nil {
			return fmt.Errorf("%w: the stored messages of transaction %s: %w", holdfast.ErrMalformed, row.TxID, err)
		}
	}
	if err := row.Resolution.UnmarshalText([]byte(resolution)); err != nil {
		return fmt.Errorf("%w: the outcome row of transaction %s: %w", holdfast.ErrMalformed, row.TxID, err)
	}
	return nil
}

func alreadyRolledBack(txID string) error {
	return fmt.Errorf("%w: a check-back had already answered 'rolled back' for transaction %s: "+
		"do the work again under a new ID", holdfast.ErrAlreadyResolved, txID)
}

func checkKey(txID, group string) error {
	if txID == "" {
		return fmt.Errorf("%w: the transaction's ID is empty", holdfast.ErrInvalid)
	}
	if err := (holdfast.Message{Topic: "any", ID: txID}).Validate(); err != nil {
		return err
	}
	return holdfast.ValidateName("producer group", group)
}

// RecentGroups are the producer groups of the latest outcome rows.
func RecentGroups(ctx context.Context, db *gorm.DB) (groups []string, err error) {
	if err := checkDB(db); err != nil {
		return nil, err
	}
	const doing = "read the latest outcomes"
	rows, err := plain(db.Statement.ConnPool).QueryContext(ctx, recentGroups)
	if err != nil {
		return nil, explain(db, doing, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var g string
		if err := rows.Scan(&g); err != nil {
			return nil, explain(db, doing, err)
		}
		groups = append(groups, g)
	}
	if err := rows.Err(); err != nil {
		return nil, explain(db, doing, err)
	}
	return groups, nil
}

const recentGroups = `SELECT DISTINCT producer_group FROM
(SELECT producer_group FROM holdfast_outcomes ORDER BY created_at DESC LIMIT 10000) AS latest ORDER BY 1`
