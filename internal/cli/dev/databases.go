package dev

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/stack"
)

// furtherDatabase begins the names of the variables that hold the URLs of further
// databases.
const furtherDatabase = "DATABASE_URL_"

// devDatabases are the databases that dev prepares, beside the one of the stack.
type devDatabases struct {
	names   []string
	migrate bool // all of them, the stack's own included
}

// systemDatabases are PostgreSQL's own.
var systemDatabases = []string{"postgres", "template0", "template1"}

// check refuses bad names, before anything is started.
func (d devDatabases) check() error {
	for _, name := range d.names {
		if err := stack.CheckDatabaseName(name); err != nil {
			return fmt.Errorf("--databases: %w", err)
		}
		if slices.Contains(systemDatabases, name) {
			return fmt.Errorf("--databases: %s is PostgreSQL's own: choose another name", name)
		}
	}
	return nil
}

// create makes the databases that are not there, and their tables if these are
// wanted. It returns the variables that hold their URLs.
func (d devDatabases) create(ctx context.Context, s *stack.Stack) (env []string, err error) {
	urls := []string{s.DatabaseURL()}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(d.names))) {
		url, err := s.CreateDatabase(ctx, name)
		if err != nil {
			return nil, err
		}
		urls = append(urls, url)
		env = append(env, furtherDatabase+strings.ToUpper(name)+"="+url)
	}
	if !d.migrate {
		return env, nil
	}
	for _, url := range urls {
		if err := migrateURL(ctx, url); err != nil {
			return nil, err
		}
	}
	return env, nil
}

func migrateURL(ctx context.Context, url string) error {
	db, err := gorm.Open(postgres.Open(url), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return fmt.Errorf("open the database to migrate it: %w", err)
	}
	defer func() {
		if pool, err := db.DB(); err == nil {
			_ = pool.Close()
		}
	}()
	return barrier.Migrate(ctx, db)
}
