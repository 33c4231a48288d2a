package barrier

import (
	"context"
	"database/sql/driver"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
)

// pqError is another driver's error.
type pqError string

func (e pqError) Error() string    { return "pq: " + string(e) }
func (e pqError) SQLState() string { return string(e) }

func TestCommitFailed(t *testing.T) {
	pg := func(severity, code string) error { return &pgconn.PgError{Severity: severity, Code: code} }
	for _, err := range []error{
		pg("ERROR", "23505"), pg("ERROR", "23503"), pg("ERROR", "40001"), pg("ERROR", "40P01"), pg("ERROR", "40002"),
		pg("FEHLER", "23505"), pg("ERROR", "P0001"), pg("ERROR", "22012"), pqError("23505"),
	} {
		require.Equal(t, holdfast.Rollback, commitFailed(err), "%v", err)
	}
	for _, err := range []error{
		pg("ERROR", "40003"), pg("ERROR", "08007"), pg("ERROR", "08006"), pg("FATAL", "57P01"), pg("FATAL", "57P02"), pg("ERROR", "57P03"),
		pg("ERROR", "57014"), pg("ERROR", "XX000"), pg("PANIC", "53100"), pg("FATAL", "23505"), pg("ERROR", "58030"),
		&pgconn.PgError{Severity: "SCHWERWIEGEND", SeverityUnlocalized: "FATAL", Code: "40001"},
		pg("ERROR", ""), pqError("40003"), pqError("4"),
		context.Canceled, context.DeadlineExceeded, io.EOF, driver.ErrBadConn,
	} {
		require.Equal(t, holdfast.Unknown, commitFailed(err), "%v", err)
	}
}

func TestUnreachable(t *testing.T) {
	// The pool's connections learn one by one that their server is gone.
	closed := fmt.Errorf("begin: %w", pgconn.ErrConnClosed)
	for _, err := range []error{closed, io.ErrUnexpectedEOF, driver.ErrBadConn, &pgconn.ConnectError{}} {
		require.True(t, unreachable(err), "%v", err)
		require.NotEmpty(t, remedyFor(err), "%v", err)
	}
	for _, err := range []error{context.Canceled, context.DeadlineExceeded, pqError("23505")} {
		require.False(t, unreachable(err), "%v", err)
	}
}
