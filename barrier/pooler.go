package barrier

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
)

// Pooler says what is between a pool of connections and the server.
type Pooler struct {
	// There: a pooler, such as pgbouncer, answers for the server.
	There bool
	// Transactions: it gives each transaction another of the server's connections.
	Transactions bool
	// Mixes: what one connection has prepared, another one meets.
	Mixes bool
	// Prepares: this pool prepares statements, as pgx does by itself.
	Prepares bool
}

// poolerProbe is the name of the statement that [FindPooler] prepares.
const poolerProbe = "holdfast_probe"

// remedyOfPooler is what to do where statements are prepared through a pooler of
// transactions.
const remedyOfPooler = "a pooler gives this session's statements to several connections: " +
	"add default_query_exec_mode=exec to the connection's URL " +
	"(and leave out gorm's PrepareStmt), or let it pool sessions"

// FindPooler looks for a pooler in front of the database. Without one it costs one
// query. On a pool that is not pgx's own it finds none.
func FindPooler(ctx context.Context, db *gorm.DB) (Pooler, error) {
	if err := checkDB(db); err != nil {
		return Pooler{}, err
	}
	_, cached := db.Statement.ConnPool.(*gorm.PreparedStmtDB)
	pool, ok := watchable(db.Statement.ConnPool)
	if !ok {
		return Pooler{}, nil
	}
	p, err := findPooler(ctx, pool)
	if err != nil {
		return p, explain(db, "look for a pooler", err)
	}
	p.Prepares = p.Prepares || cached
	return p, nil
}

func findPooler(ctx context.Context, pool *sql.DB) (p Pooler, err error) {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return p, err
	}
	defer func() { _ = conn.Close() }()
	err = conn.Raw(func(c any) error {
		std, ok := c.(*stdlib.Conn)
		if !ok {
			return nil
		}
		own := std.Conn()
		mode := own.Config().DefaultQueryExecMode
		p.Prepares = mode == pgx.QueryExecModeCacheStatement || mode == pgx.QueryExecModeDescribeExec
		real, err := backend(ctx, own)
		if p.There = real != own.PgConn().PID(); err != nil || !p.There {
			return err
		}
		// A second client, at the same time: where sessions are pooled, it has another of
		// the server's connections.
		other, err := pgx.ConnectConfig(ctx, own.Config())
		if err != nil {
			return nil // it stays unknown
		}
		defer func() { _ = other.Close(context.WithoutCancel(ctx)) }()
		return p.compare(ctx, own, other)
	})
	return p, err
}

// compare finds out what two clients of a pooler have in common.
func (p *Pooler) compare(ctx context.Context, a, b *pgx.Conn) error {
	defer func() { _, _ = a.Exec(ctx, "DEALLOCATE "+poolerProbe) }()
	for range 10 { // other clients take turns with these two
		if _, err := a.PgConn().Prepare(ctx, poolerProbe, "SELECT 1", nil); err != nil && !poolerState(sqlState(err)) {
			return err
		}
		mine, err := backend(ctx, a)
		if err != nil {
			return err
		}
		theirs, err := backend(ctx, b)
		if err != nil {
			return err
		}
		if mine != theirs {
			continue
		}
		p.Transactions = true
		const probed = `SELECT EXISTS (SELECT FROM pg_prepared_statements WHERE name = '` + poolerProbe + `')`
		err = b.QueryRow(ctx, probed, pgx.QueryExecModeSimpleProtocol).Scan(&p.Mixes)
		if err != nil || p.Mixes {
			return err
		}
	}
	return nil
}

// backend is the process of the server that answers.
func backend(ctx context.Context, c *pgx.Conn) (pid uint32, err error) {
	err = c.QueryRow(ctx, `SELECT pg_backend_pid()`, pgx.QueryExecModeSimpleProtocol).Scan(&pid)
	return pid, err
}

// poolerState reports whether a SQLSTATE is about a prepared statement that another
// connection has, or lacks.
func poolerState(code string) bool { return code == "26000" || code == "42P05" }

// CheckPooler returns an error that wraps [holdfast.ErrInvalid] and says what to do if
// the pool cannot be used through the pooler that is between it and the server.
func CheckPooler(ctx context.Context, db *gorm.DB) error {
	p, err := FindPooler(ctx, db)
	if err != nil || !p.Mixes || !p.Prepares {
		return err
	}
	return fmt.Errorf("%w: PostgreSQL at %s: a pooler of transactions is between, "+
		"and this pool prepares statements, which other connections then miss or meet: %s",
		holdfast.ErrInvalid, where(db, nil), remedyOfPooler)
}
