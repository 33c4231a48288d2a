package barrier

import (
	"cmp"
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/blame"
	"github.com/holdfastmq/holdfast/internal/grants"
)

// SQLSTATE codes, see PostgreSQL's manual, appendix A.
const (
	uniqueViolation     = "23505"
	undefinedTable      = "42P01"
	undefinedColumn     = "42703"
	undefinedFunction   = "42883"
	insufficientRights  = "42501"
	readOnlyTransaction = "25006"
	tooManyConnections  = "53300"
	lockNotAvailable    = "55P03"
	completionUnknown   = "40003"
	failedTransaction   = "25P02"
)

// sqlState returns the SQLSTATE code in err, or "".
func sqlState(err error) string { return blame.State(err) }

// abortedClasses are the classes of errors by which the server says, in answer
// to COMMIT, that the transaction is rolled back. It is not complete on
// purpose: with any other error the row is asked.
var abortedClasses = map[string]bool{
	"09": true, // triggered action exception
	"22": true, // data exception
	"23": true, // integrity constraint violation, as of a deferred constraint
	"27": true, // triggered data change violation
	"38": true, // external routine exception
	"39": true, // external routine invocation exception
	"40": true, // transaction rollback, as of a serialization failure
	"42": true, // syntax error or access rule violation, in a deferred trigger
	"44": true, // WITH CHECK OPTION violation
	"P0": true, // raised by a deferred trigger
}

// commitFailed says what an error in answer to COMMIT proves: Rollback, or
// Unknown if the server may have committed.
func commitFailed(err error) holdfast.Resolution {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Severity == "FATAL" || pg.Severity == "PANIC" ||
		pg.SeverityUnlocalized == "FATAL" || pg.SeverityUnlocalized == "PANIC") {
		return holdfast.Unknown
	}
	code := sqlState(err)
	if len(code) == 5 && abortedClasses[code[:2]] && code != completionUnknown {
		return holdfast.Rollback
	}
	return holdfast.Unknown
}

// explain adds to an error of one of our own statements what was being done
// and, where it is not the message's fault, what to do about it: then it wraps a
// [holdfast.UnavailableError].
func explain(db *gorm.DB, doing string, err error) error {
	var explained *holdfast.UnavailableError
	if errors.As(err, &explained) || errors.Is(err, errOpen) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if remedy := cmp.Or(remedyFor(err), remedyForState(sqlState(err)), remedyForDeadline(db, err)); remedy != "" {
		err = &holdfast.UnavailableError{Part: "PostgreSQL", Where: where(db, err), Remedy: remedy, Err: err}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// remedyFor is about errors by which the database, and not one of the statements,
// has failed: there, and where its tables are wrong, nothing was written.
func remedyFor(err error) string {
	switch code := sqlState(err); {
	case code == undefinedColumn:
		return "Holdfast's tables are older than this program: run `holdfast migrate`"
	case code == undefinedTable, code == undefinedFunction:
		return "Holdfast's tables are not there: run `holdfast migrate`, " +
			"and see that their schema is in the connection's search_path"
	case code == insufficientRights:
		return "grant this user " + cmp.Or(grants.Lacking(err.Error()), "its rights on Holdfast's tables") +
			": `holdfast migrate --print-grants ROLE` prints all that a process needs; " +
			"`holdfast migrate` itself needs CREATE on their schema"
	case code == readOnlyTransaction:
		return "this server or session is read-only: connect to the primary, for example with target_session_attrs=read-write"
	case code == tooManyConnections:
		return "raise max_connections, or lower the pools' SetMaxOpenConns"
	case strings.HasPrefix(code, "28"), code == "3D000":
		return "check the user, the password and the database's name in the connection's URL, and pg_hba.conf"
	case untrusted(err):
		return "PostgreSQL's certificate is not one that this process trusts for this host: see sslrootcert, sslmode and " +
			"the host in the connection's URL, and docs/tls.md"
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "57P0"), unreachable(err):
		return "see that it runs and can be reached; it is tried again"
	}
	return ""
}

// remedyForState is about what else is not the message's fault in the answer to one
// of our own statements.
func remedyForState(code string) string {
	switch {
	case poolerState(code):
		return remedyOfPooler
	case code == "53100":
		return "the server's disk is full: make room; it is tried again"
	case strings.HasPrefix(code, "53"):
		return "the server lacks memory or another resource; it is tried again"
	case code == "57014":
		return "the statement was cancelled, by statement_timeout or by somebody: see what holds it up; it is tried again"
	case strings.HasPrefix(code, "40"), code == lockNotAvailable:
		return "other transactions were at the same rows; it is tried again"
	case blame.OfOwnState(code) != blame.Message:
		return "the server is at fault, see its log; it is tried again"
	}
	return ""
}

// remedyForDeadline is about a deadline that passed while one of our own statements
// waited for an answer, or for a connection.
func remedyForDeadline(db *gorm.DB, err error) string {
	var late *lateError
	if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &late) {
		return ""
	}
	if pool, err := db.DB(); err == nil {
		if s := pool.Stats(); s.MaxOpenConnections > 0 && s.InUse >= s.MaxOpenConnections {
			return fmt.Sprintf("all %d connections of the pool are in use: "+
				"raise SetMaxOpenConns above what runs at a time, see docs/operating.md; it is tried again", s.MaxOpenConnections)
		}
	}
	return "it did not answer in time: see that it runs and can be reached; it is tried again"
}

// unreachable reports whether err is a lost or refused connection.
func unreachable(err error) bool {
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return true
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, pgconn.ErrConnClosed)
}

// untrusted reports whether the server showed a certificate that is not trusted.
func untrusted(err error) bool {
	var verification *tls.CertificateVerificationError
	return errors.As(err, &verification)
}

// where is the address of the database, without credentials.
func where(db *gorm.DB, err error) string {
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) && connect.Config != nil {
		return address(connect.Config)
	}
	d, ok := db.Dialector.(*postgres.Dialector)
	if !ok || d.Config == nil || d.Config.DSN == "" {
		return ""
	}
	cfg, err := pgconn.ParseConfig(d.Config.DSN)
	if err != nil {
		return ""
	}
	return address(cfg)
}

// address names all hosts of a connection string, each once, and the database.
func address(cfg *pgconn.Config) string {
	hosts := []string{net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))}
	for _, f := range cfg.Fallbacks { // other hosts, and the same again without TLS
		if h := net.JoinHostPort(f.Host, strconv.Itoa(int(f.Port))); !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	return strings.Join(hosts, ",") + "/" + cfg.Database
}
