package barrier

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
)

// defaultLockTimeout is how long a check-back waits for a local transaction
// that is still open, if it is given no other time.
const defaultLockTimeout = 2 * time.Second

// CheckBack finds out what became of a local transaction. Where there is no
// outcome row it inserts (txID, rollback), so that Rollback is a promise: that
// local transaction can never commit. It waits at most lockTimeout (0 means 2 s) for one that is still open.
//
// Whatever goes wrong is Unknown, with an error that says why: ask again later. With
// a handle of [Expect] so is a database that is not the transaction's.
func CheckBack(ctx context.Context, db *gorm.DB, txID, group string, lockTimeout time.Duration) (Outcome, error) {
	return decide(ctx, db, txID, group, holdfast.Rollback, lockTimeout)
}

// Decide makes r, Commit or Rollback, the truth about a transaction that has no
// outcome row, as an operator or the producer itself decides. If the row says
// otherwise already, the error wraps [holdfast.ErrAlreadyResolved], and the
// outcome is what the row says. Any other error goes with Unknown. It waits
// like [CheckBack].
func Decide(ctx context.Context, db *gorm.DB, txID, group string,
	r holdfast.Resolution, lockTimeout time.Duration) (Outcome, error) {
	if r != holdfast.Commit && r != holdfast.Rollback {
		return Outcome{TxID: txID, Group: group},
			fmt.Errorf("%w: transaction %s cannot be decided as %s: use commit or rollback", holdfast.ErrInvalid, txID, r)
	}
	row, err := decide(ctx, db, txID, group, r, lockTimeout)
	if err == nil && row.Resolution != r {
		err = fmt.Errorf("%w: transaction %s is decided: %s", holdfast.ErrAlreadyResolved, txID, row.Resolution)
	}
	return row, err
}

// decide inserts r unless a row is there, and returns the row that is.
func decide(ctx context.Context, db *gorm.DB, txID, group string,
	r holdfast.Resolution, lockTimeout time.Duration) (Outcome, error) {
	unknown := Outcome{TxID: txID, Group: group}
	if err := cmp.Or(checkDB(db), checkKey(txID, group)); err != nil {
		return unknown, err
	}
	doing := "check back transaction " + txID
	// Read committed: the row must be seen that the insert waited for.
	t, err := begin(ctx, db, &sql.TxOptions{Isolation: sql.LevelReadCommitted}, nil)
	if err != nil {
		return unknown, explain(db, doing, err)
	}
	row, inserted, err := decideIn(t, txID, group, r, lockTimeout, expects(db))
	switch {
	case err != nil:
		t.rollback()
		return unknown, explain(db, doing, waited(err))
	case !inserted:
		t.rollback() // nothing was written
		return row, nil
	}
	if err := t.commit(); err != nil {
		return unknown, explain(db, doing+": COMMIT", err)
	}
	return row, nil
}

// setLockTimeout bounds the statements that follow; with the identity it is still
// one round trip.
const (
	setLockTimeout  = `SELECT set_config('lock_timeout', $1, true)`
	withTheIdentity = setLockTimeout + `, coalesce((` + readIdentity + `), '')`
)

// lockTimeoutText is a lock_timeout. 0 would wait for ever.
func lockTimeoutText(d time.Duration) string {
	return strconv.FormatInt(max(1, d.Milliseconds()), 10) + "ms"
}

func decideIn(t *transaction, txID, group string, r holdfast.Resolution,
	lockTimeout time.Duration, identity string) (Outcome, bool, error) {
	if lockTimeout <= 0 {
		lockTimeout = defaultLockTimeout
	}
	timeout := lockTimeoutText(lockTimeout)
	if identity == "" {
		if _, err := exec(t.ctx, t.pool, setLockTimeout, timeout); err != nil {
			return Outcome{}, false, err
		}
	} else {
		var set, have string
		if err := plain(t.pool).QueryRowContext(t.ctx, withTheIdentity, timeout).Scan(&set, &have); err != nil {
			return Outcome{}, false, err
		}
		if have != identity {
			return Outcome{}, false, &OtherDatabaseError{Have: have, Want: identity}
		}
	}
	return insertOrRead(t.ctx, t.pool, outcomeRow(txID, group, r, nil), txID, group, r)
}

// waited says in words what a lock timeout means here.
func waited(err error) error {
	if sqlState(err) == lockNotAvailable {
		return fmt.Errorf("%w: %w", errOpen, err)
	}
	return err
}

var errOpen = errors.New("the local transaction is still open")
