package barrier_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
)

type typedError struct{ msg string }

func (e *typedError) Error() string { return e.msg }

type unspeakable struct{}

func (unspeakable) Error() string { panic("no words") }

// each are the functions that are called with a transaction.
var each = map[string]func(ctx context.Context, db *gorm.DB, id string, f func(tx *gorm.DB) error) error{
	"Run": func(ctx context.Context, db *gorm.DB, id string, f func(*gorm.DB) error) error {
		return barrier.Run(ctx, db, local(id), func(_ context.Context, tx *gorm.DB, _ []*holdfast.Message) error { return f(tx) }).Err
	},
	"Consume": func(ctx context.Context, db *gorm.DB, id string, f func(*gorm.DB) error) error {
		_, err := barrier.Consume(ctx, db, "billing", id, func(_ context.Context, tx *gorm.DB) error { return f(tx) })
		return err
	},
	"Undo": func(ctx context.Context, db *gorm.DB, id string, f func(*gorm.DB) error) error {
		if _, err := barrier.Consume(ctx, db, "undoing", id, func(context.Context, *gorm.DB) error { return nil }); err != nil {
			return err
		}
		_, err := barrier.Undo(ctx, db, "undoing", id, id+".notice", func(_ context.Context, tx *gorm.DB) error { return f(tx) })
		return err
	},
	"Step": func(ctx context.Context, db *gorm.DB, id string, f func(*gorm.DB) error) error {
		_, err := barrier.Step(ctx, db, step(id), func(_ context.Context, tx *gorm.DB) error { return f(tx) })
		return err
	},
	"DoStep": func(ctx context.Context, db *gorm.DB, id string, f func(*gorm.DB) error) error {
		_, err := barrier.DoStep(ctx, db, id, "do", false, func(_ context.Context, tx *gorm.DB) ([]byte, error) { return nil, f(tx) })
		return err
	},
	"UndoStep": func(ctx context.Context, db *gorm.DB, id string, f func(*gorm.DB) error) error {
		if _, err := barrier.DoStep(ctx, db, id, "undo", false, func(context.Context, *gorm.DB) ([]byte, error) { return nil, nil }); err != nil {
			return err
		}
		_, err := barrier.UndoStep(ctx, db, id, "undo", "because", func(_ context.Context, tx *gorm.DB, _ []byte) error { return f(tx) })
		return err
	},
}

// A function that slips has failed, with words: nothing of it is kept, its connection
// is given back, and it may be called again.
func TestSlips(t *testing.T) {
	t.Parallel()
	db, _ := migrated(t)
	pool, err := db.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(1)
	for name, act := range each {
		for says, slip := range map[string]func() error{
			"a nil *barrier_test.typedError as an error": func() error { var e *typedError; return e },
			"one of its methods panics: no words":        func() error { return unspeakable{} },
			"panic: ":                                    func() error { panic(nil) }, //nolint:govet // on purpose
			"cannot be used":                             func() error { panic(unspeakable{}) },
			"ended its goroutine":                        func() error { runtime.Goexit(); return nil },
		} {
			id := uuid.NewString()
			err := act(t.Context(), db, id, func(tx *gorm.DB) error {
				require.NoError(t, placeOrder(tx, id))
				return slip()
			})
			require.ErrorContains(t, err, says, name)
			require.Zero(t, orders(t, db, id), name)
			require.Zero(t, pool.Stats().InUse, name)
			if name == "Run" {
				continue // it is rolled back once for all
			}
			require.NoError(t, act(t.Context(), db, id, func(tx *gorm.DB) error { return placeOrder(tx, id) }), name)
			require.Equal(t, 1, orders(t, db, id), name)
		}
	}
}
