package stack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var databaseName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

const (
	duplicateDatabase = "42P04"
	uniqueViolation   = "23505" // two CREATE DATABASE of the same name at once
	noRight           = "42501"
)

// CheckDatabaseName refuses names that CreateDatabase does not take: want a to z, 0
// to 9 and _, at most 63, the first no digit.
func CheckDatabaseName(name string) error {
	if !databaseName.MatchString(name) {
		return fmt.Errorf("database name %q: use a to z, 0 to 9 and _, at most 63 characters, and no digit first", name)
	}
	return nil
}

// CreateDatabase creates a database on the stack's PostgreSQL server, unless it
// is there, and returns its URL. It works on an external server too, if its user
// may create databases. The name consists of a to z, 0 to 9 and _, at most 63.
func (s *Stack) CreateDatabase(ctx context.Context, name string) (string, error) {
	if err := CheckDatabaseName(name); err != nil {
		return "", err
	}
	dsn, err := withDatabase(s.databaseURL, name)
	if err != nil {
		return "", err
	}
	return dsn, createDatabase(ctx, s.databaseURL, name)
}

// DropDatabase drops a database that CreateDatabase made, with whoever is
// connected to it.
func (s *Stack) DropDatabase(ctx context.Context, name string) error {
	if err := CheckDatabaseName(name); err != nil {
		return err
	}
	return administer(ctx, s.databaseURL, "drop database "+name,
		"DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
}

// createDatabase creates a database if it is not there.
func createDatabase(ctx context.Context, dsn, name string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var there bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).
		Scan(&there); err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	if there {
		return nil
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && (pgErr.Code == duplicateDatabase || pgErr.Code == uniqueViolation) {
		return nil
	}
	if sqlState(err) == noRight {
		return fmt.Errorf("create database %s: %w: give that user CREATEDB, or create the database by hand", name, err)
	}
	if err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}

func administer(ctx context.Context, dsn, what, statement string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// commented reads the comment on a database; empty where there is none of either.
func commented(ctx context.Context, dsn, name string) (comment string, err error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return "", fmt.Errorf("look for it: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	err = conn.QueryRow(ctx,
		"SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = $1", name).Scan(&comment)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("look for it: %w", err)
	}
	return comment, nil
}

// withDatabase is the connection string with another database, be it a URL or
// keywords and values.
func withDatabase(dsn, name string) (string, error) {
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		return dsn + " dbname=" + name, nil // the last one counts
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return "", errors.New("DATABASE_URL is not a valid URL") // the cause would show the password
	}
	u.Path, u.RawPath = "/"+name, ""
	if q := u.Query(); q.Has("dbname") || q.Has("database") {
		q.Del("dbname")
		q.Del("database")
		u.RawQuery = q.Encode()
	}
	return u.String(), nil
}

// sqlState is PostgreSQL's code of an error; empty where there is none.
func sqlState(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code
	}
	return ""
}
