package barrier

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
)

const (
	readIdentity = `SELECT id FROM holdfast_identity`
	newIdentity  = `UPDATE holdfast_identity SET id = $1, created_at = now()`
	// otherDatabase is the SQLSTATE by which holdfast_check_back says that it was
	// called in another database.
	otherDatabase = "HF001"
	// expected is the name of the setting that [Expect] makes in a gorm handle.
	expected = "holdfast:identity"
)

// Identity returns what tells these tables from those of every other database and
// schema; [Migrate] gave it to them. It is data: a replica, a server that took over
// and a restored backup have the same.
func Identity(ctx context.Context, db *gorm.DB) (string, error) {
	if err := checkDB(db); err != nil {
		return "", err
	}
	var id string
	err := plain(db.Statement.ConnPool).QueryRowContext(ctx, readIdentity).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("%w: the table holdfast_identity is empty: "+
			"give the database an identity with `holdfast migrate --new-identity`", holdfast.ErrInvalid)
	}
	if err != nil {
		return "", explain(db, "read the database's identity", err)
	}
	return id, nil
}

// NewIdentity gives a database another identity, and returns that. It is for a copy
// that is to serve another environment: from then on no process answers from the
// copy for transactions that were begun in the original. Stop the processes that
// use the copy before, and do not use it where transactions are open: nobody could
// answer for them any more.
func NewIdentity(ctx context.Context, db *gorm.DB) (string, error) {
	if err := checkDB(db); err != nil {
		return "", err
	}
	id := uuid.NewString()
	n, err := exec(ctx, db.Statement.ConnPool, newIdentity, id)
	if err == nil && n == 0 {
		_, err = exec(ctx, db.Statement.ConnPool, `INSERT INTO holdfast_identity (id) VALUES ($1)`, id)
	}
	if err != nil {
		return "", explain(db, "give the database another identity", err)
	}
	return id, nil
}

// Expect returns a handle of db with which [CheckBack], [CheckBackAll] and [Decide]
// answer only if the database has that identity: otherwise their error is an
// [OtherDatabaseError], the answer Unknown, and nothing is written. It costs no
// round trip. An empty identity expects nothing.
func Expect(db *gorm.DB, identity string) *gorm.DB {
	if db == nil || identity == "" {
		return db
	}
	return db.Set(expected, identity)
}

// expects returns what [Expect] has set, or "".
func expects(db *gorm.DB) string {
	v, _ := db.Get(expected)
	id, _ := v.(string)
	return id
}

// OtherDatabaseError means that a process was asked about a transaction or a saga
// that was begun in another database than its own: it knows nothing of it.
type OtherDatabaseError struct {
	// Have is the identity of the database that was asked, Want the one that the
	// work was begun in.
	Have, Want string
}

// Error names both databases, and says what to do.
func (e *OtherDatabaseError) Error() string {
	have := e.Have
	if have == "" {
		have = "one without an identity"
	}
	return fmt.Sprintf("this process's database (%s) is not the one that it was begun in (%s): "+
		"give every process of the group the same database and search_path, "+
		"and every environment a prefix or virtual host of its own", have, e.Want)
}

// otherOf makes an [OtherDatabaseError] of what holdfast_check_back raised.
func otherOf(err error, want string) error {
	if sqlState(err) != otherDatabase {
		return err
	}
	e := &OtherDatabaseError{Want: want}
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) {
		e.Have = pg.Detail
	}
	return e
}

// Clock returns what the database's clock says now.
func Clock(ctx context.Context, db *gorm.DB) (time.Time, error) {
	if err := checkDB(db); err != nil {
		return time.Time{}, err
	}
	var now time.Time
	if err := plain(db.Statement.ConnPool).QueryRowContext(ctx, `SELECT clock_timestamp()`).Scan(&now); err != nil {
		return time.Time{}, explain(db, "read the database's clock", err)
	}
	return now, nil
}
