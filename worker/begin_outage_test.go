package worker_test

import (
	"context"
	"database/sql"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/worker"
)

// losing is a database whose connection is lost once, as it is asked for the consumers.
type losing struct {
	*sql.DB
	lost atomic.Bool
}

func (l *losing) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if strings.Contains(query, "holdfast_consumers") && l.lost.CompareAndSwap(false, true) {
		return nil, io.ErrUnexpectedEOF
	}
	return l.DB.QueryContext(ctx, query, args...)
}

// GetDBConn is for gorm.
func (l *losing) GetDBConn() (*sql.DB, error) { return l.DB, nil }

// A database that goes while a process starts is waited for.
func TestDatabaseGoesWhileTheProcessStarts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pool, err := s.orders.DB()
	require.NoError(t, err)
	lost := &losing{DB: pool}
	db, err := gorm.Open(postgres.New(postgres.Config{Conn: lost}), s.orders.Config)
	require.NoError(t, err)
	o := s.options()
	o.DB = db
	s.runWith(o, func(w *worker.Worker) {})
	require.True(t, lost.lost.Load())
}
