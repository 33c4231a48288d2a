package barrier_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
)

// first is a saga, and does its first steps, each of which places an order of its name.
type first struct {
	t  *testing.T
	db *gorm.DB
	b  barrier.BegunSaga
}

func firstOf(t *testing.T, db *gorm.DB) first {
	return first{t, db, barrier.BegunSaga{SagaStart: holdfast.SagaStart{Name: "travel", Version: 1, Key: "1",
		State: json.RawMessage(`{}`)}, Content: "c", Holder: "start"}}
}

func (f first) do(last string, steps ...string) (bool, error) {
	return barrier.DoFirst(f.t.Context(), f.db, "x", f.b,
		func(ctx context.Context, fs *barrier.FirstSteps) (json.RawMessage, error) {
			for _, step := range steps {
				if err := f.step(ctx, fs, step, nil); err != nil {
					return nil, err
				}
			}
			return json.RawMessage(last), nil
		})
}

func (f first) step(ctx context.Context, fs *barrier.FirstSteps, step string, failure error) error {
	_, err := fs.Do(ctx, step, []byte(`{"given": 1}`), func(_ context.Context, tx *gorm.DB) ([]byte, error) {
		return []byte(`"` + step + `"`), errors.Join(placeOrder(tx, step), failure)
	})
	return err
}

// TestDoFirst: the first steps of a saga, their rows and its begin row are written in one
// transaction, or nothing is.
func TestDoFirst(t *testing.T) {
	t.Parallel()
	db, _ := migrated(t)
	f := firstOf(t, db)
	did, err := f.do(`{"phase":"completed"}`, "a", "b")
	require.NoError(t, err)
	require.True(t, did)
	begun, err := barrier.ReadBegun(t.Context(), db, "x")
	require.NoError(t, err)
	require.Empty(t, begun.Holder)
	require.JSONEq(t, `{"phase":"completed"}`, string(begun.Last))
	for _, step := range []string{"a", "b"} {
		row, err := barrier.DidStep(t.Context(), db, "x", step)
		require.NoError(t, err)
		require.Equal(t, barrier.StepDid{Done: true, Given: []byte(`{"given":1}`), Result: []byte(`"` + step + `"`)}, row)
		require.Equal(t, 1, orders(t, db, step))
	}
	var transactions int
	require.NoError(t, db.Raw("SELECT count(DISTINCT xmin::text) FROM holdfast_steps").Scan(&transactions).Error)
	require.Equal(t, 1, transactions)

	did, err = f.do("", "c")
	require.NoError(t, err)
	require.False(t, did, "it was begun before")
	require.Zero(t, orders(t, db, "c"))
}

// TestDoFirstOfOneThatGoesOn: the begin row says who drives it.
func TestDoFirstOfOneThatGoesOn(t *testing.T) {
	t.Parallel()
	db, _ := migrated(t)
	f := firstOf(t, db)
	did, err := f.do("", "a")
	require.NoError(t, err)
	require.True(t, did)
	begun, err := barrier.ReadBegun(t.Context(), db, "x")
	require.NoError(t, err)
	require.Equal(t, f.b, begun)
}

// TestDoFirstOfWhatIsThere: a step that has a row is looked at by itself, and so are the others:
// none is tried, since what was undone must not be done.
func TestDoFirstOfWhatIsThere(t *testing.T) {
	t.Parallel()
	db, _ := migrated(t)
	f := firstOf(t, db)
	f.undo("b")
	did, err := barrier.DoFirst(t.Context(), db, "x", f.b,
		func(context.Context, *barrier.FirstSteps) (json.RawMessage, error) {
			t.Error("a step is tried")
			return nil, nil
		})
	require.NoError(t, err)
	require.False(t, did)
	f.nothing("a", "b")
}

// TestDoFirstOfWhatIsThereMeanwhile: where a step gets a row of another while they are done, all
// is rolled back, whether the saga has completed with them or goes on.
func TestDoFirstOfWhatIsThereMeanwhile(t *testing.T) {
	t.Parallel()
	for _, last := range []string{"", `{}`} {
		t.Run("last "+last, func(t *testing.T) {
			t.Parallel()
			db, _ := migrated(t)
			f := firstOf(t, db)
			did, err := barrier.DoFirst(t.Context(), db, "x", f.b,
				func(ctx context.Context, fs *barrier.FirstSteps) (json.RawMessage, error) {
					err := errors.Join(f.step(ctx, fs, "a", nil), f.step(ctx, fs, "b", nil))
					f.undo("b")
					return json.RawMessage(last), err
				})
			require.NoError(t, err)
			require.False(t, did)
			f.nothing("a", "b")
		})
	}
}

// undo undoes a step that was not done.
func (f first) undo(step string) {
	_, err := barrier.UndoStep(f.t.Context(), f.db, "x", step, "it is not wanted",
		func(context.Context, *gorm.DB, []byte) error { return nil })
	require.NoError(f.t, err)
}

// nothing checks that the saga was not begun, and that none of these steps was done.
func (f first) nothing(steps ...string) {
	for _, step := range steps {
		require.Zero(f.t, orders(f.t, f.db, step))
	}
	_, err := barrier.ReadBegun(f.t.Context(), f.db, "x")
	require.ErrorIs(f.t, err, holdfast.ErrNotFound)
}

// TestDoFirstSkipsAll: a saga that completes without a step has its begin row only.
func TestDoFirstSkipsAll(t *testing.T) {
	t.Parallel()
	db, _ := migrated(t)
	f := firstOf(t, db)
	did, err := f.do(`{"phase":"completed"}`)
	require.NoError(t, err)
	require.True(t, did)
	begun, err := barrier.ReadBegun(t.Context(), db, "x")
	require.NoError(t, err)
	require.JSONEq(t, `{"phase":"completed"}`, string(begun.Last))
}

// TestDoFirstWithoutItsBeginRow: what a step did is rolled back where its SQL deletes the begin row.
func TestDoFirstWithoutItsBeginRow(t *testing.T) {
	t.Parallel()
	for _, last := range []string{"", `{}`} {
		t.Run("last "+last, func(t *testing.T) {
			t.Parallel()
			db, _ := migrated(t)
			f := firstOf(t, db)
			did, err := barrier.DoFirst(t.Context(), db, "x", f.b,
				func(ctx context.Context, fs *barrier.FirstSteps) (json.RawMessage, error) {
					_, err := fs.Do(ctx, "a", nil, func(_ context.Context, tx *gorm.DB) ([]byte, error) {
						return nil, errors.Join(placeOrder(tx, "a"), tx.Exec("DELETE FROM holdfast_steps").Error)
					})
					return json.RawMessage(last), err
				})
			require.NoError(t, err)
			require.False(t, did)
			f.nothing("a")
		})
	}
}

// TestDoFirstFails: whatever one of the steps does, nothing is kept, and no step comes after one
// that has ended the transaction.
func TestDoFirstFails(t *testing.T) {
	t.Parallel()
	oops := errors.New("oops")
	for name, second := range map[string]func(context.Context, first, *barrier.FirstSteps) error{
		"error": func(ctx context.Context, f first, fs *barrier.FirstSteps) error { return f.step(ctx, fs, "b", oops) },
		"panic": func(ctx context.Context, _ first, fs *barrier.FirstSteps) error {
			_, err := fs.Do(ctx, "b", nil, func(context.Context, *gorm.DB) ([]byte, error) { panic("oops") })
			return err
		},
		"no JSON": func(ctx context.Context, _ first, fs *barrier.FirstSteps) error {
			_, err := fs.Do(ctx, "b", nil, func(context.Context, *gorm.DB) ([]byte, error) { return []byte("oops"), nil })
			return err
		},
		"time over": func(ctx context.Context, f first, fs *barrier.FirstSteps) error {
			ctx, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			_, err := fs.Do(ctx, "b", nil, func(context.Context, *gorm.DB) ([]byte, error) { cancel(nil); return nil, nil })
			require.ErrorIs(f.t, err, context.Canceled)
			return err
		},
		"failed statement": func(ctx context.Context, _ first, fs *barrier.FirstSteps) error {
			_, err := fs.Do(ctx, "b", nil, func(_ context.Context, tx *gorm.DB) ([]byte, error) {
				tx.Exec("SELECT 1/0")
				return nil, nil
			})
			return err
		},
		"rows left open": func(ctx context.Context, _ first, fs *barrier.FirstSteps) error {
			_, err := fs.Do(ctx, "b", nil, func(_ context.Context, tx *gorm.DB) ([]byte, error) {
				_, err := tx.Raw("SELECT generate_series(1, 100000)").Rows()
				return nil, err
			})
			return err
		},
		"rolled back": func(ctx context.Context, _ first, fs *barrier.FirstSteps) error {
			_, err := fs.Do(ctx, "b", nil, func(_ context.Context, tx *gorm.DB) ([]byte, error) {
				return nil, tx.Exec("ROLLBACK").Error
			})
			require.ErrorContains(t, err, "ended the transaction itself")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, _ := migrated(t)
			f := firstOf(t, db)
			did, err := barrier.DoFirst(t.Context(), db, "x", f.b,
				func(ctx context.Context, fs *barrier.FirstSteps) (json.RawMessage, error) {
					return json.RawMessage("{}"), errors.Join(f.step(ctx, fs, "a", nil), second(ctx, f, fs))
				})
			require.Error(t, err)
			require.Equal(t, name == "rolled back", errors.Is(err, barrier.ErrInDoubt), "only what a step has ended itself")
			require.False(t, did)
			require.Zero(t, orders(t, db, "a")+orders(t, db, "b"))
			var rows int
			require.NoError(t, db.Raw("SELECT count(*) FROM holdfast_steps").Scan(&rows).Error)
			require.Zero(t, rows)
		})
	}
}

// TestDoFirstOfAStepThatCommits: a step that ends the transaction has its row, and so has the one
// before it: they are not done again.
func TestDoFirstOfAStepThatCommits(t *testing.T) {
	t.Parallel()
	db, _ := migrated(t)
	f := firstOf(t, db)
	did, err := barrier.DoFirst(t.Context(), db, "x", f.b,
		func(ctx context.Context, fs *barrier.FirstSteps) (json.RawMessage, error) {
			if err := f.step(ctx, fs, "a", nil); err != nil {
				return nil, err
			}
			_, err := fs.Do(ctx, "b", nil, func(_ context.Context, tx *gorm.DB) ([]byte, error) {
				return nil, errors.Join(placeOrder(tx, "b"), tx.Exec("COMMIT").Error)
			})
			return json.RawMessage("{}"), err
		})
	require.ErrorContains(t, err, "ended the transaction itself")
	require.ErrorIs(t, err, barrier.ErrInDoubt)
	require.False(t, did)
	for step, result := range map[string][]byte{"a": []byte(`"a"`), "b": nil} {
		row, err := barrier.DidStep(t.Context(), db, "x", step)
		require.NoError(t, err)
		require.True(t, row.Done)
		require.Equal(t, result, row.Result)
		require.Equal(t, 1, orders(t, db, step))
	}
	begun, err := barrier.ReadBegun(t.Context(), db, "x")
	require.NoError(t, err)
	require.Equal(t, "start", begun.Holder)
}

// TestDoFirstOfAStepThatRollsBack: what a step rolled back has no row, also where another start has
// begun the saga since.
func TestDoFirstOfAStepThatRollsBack(t *testing.T) {
	t.Parallel()
	db, _ := migrated(t)
	f, other := firstOf(t, db), firstOf(t, db)
	other.b.Holder = "other"
	_, err := barrier.DoFirst(t.Context(), db, "x", f.b,
		func(ctx context.Context, fs *barrier.FirstSteps) (json.RawMessage, error) {
			_, err := fs.Do(ctx, "a", nil, func(_ context.Context, tx *gorm.DB) ([]byte, error) {
				if err := errors.Join(placeOrder(tx, "a"), tx.Exec("ROLLBACK").Error); err != nil {
					return nil, err
				}
				_, err := other.do("", "b")
				return nil, err
			})
			return nil, err
		})
	require.ErrorContains(t, err, "ended the transaction itself")
	row, err := barrier.DidStep(t.Context(), db, "x", "a")
	require.NoError(t, err)
	require.False(t, row.Done)
	require.Equal(t, 1, orders(t, db, "b"))
}

// TestDoFirstWithoutAnswer: after a COMMIT that nobody answered, the rows tell.
func TestDoFirstWithoutAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]cut{"before": eatCommit, "after": eatAnswer} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct, url := migrated(t)
			via, p := proxy(t, url)
			f := firstOf(t, open(t, via, nil))
			p.set(c)
			did, err := f.do("{}", "a")
			require.ErrorIs(t, err, barrier.ErrInDoubt)
			require.False(t, did)
			p.set(passCommit)
			begun, err := barrier.ReadBegun(t.Context(), direct, "x")
			if c == eatCommit {
				require.ErrorIs(t, err, holdfast.ErrNotFound)
				return
			}
			require.NoError(t, err)
			require.Empty(t, begun.Holder)
			require.Equal(t, 1, orders(t, direct, "a"))
		})
	}
}

// TestDoFirstAtOnce: of two starts one does the steps; the other waits for it, and does none.
func TestDoFirstAtOnce(t *testing.T) {
	t.Parallel()
	db, _ := migrated(t)
	did := make(chan bool, 8)
	for range cap(did) {
		go func() {
			is, err := firstOf(t, db).do("", "a", "b")
			if err != nil {
				t.Error(err)
			}
			did <- is
		}()
	}
	all := 0
	for range cap(did) {
		if <-did {
			all++
		}
	}
	require.Equal(t, 1, all)
	require.Equal(t, 1, orders(t, db, "a"))
}

// TestDoFirstElsewhere: the rows are where they were before a step set a search_path.
func TestDoFirstElsewhere(t *testing.T) {
	t.Parallel()
	db, _ := migrated(t)
	require.NoError(t, db.Exec("CREATE SCHEMA other").Error)
	f := firstOf(t, db)
	did, err := barrier.DoFirst(t.Context(), db, "x", f.b,
		func(ctx context.Context, fs *barrier.FirstSteps) (json.RawMessage, error) {
			_, err := fs.Do(ctx, "a", nil, func(_ context.Context, tx *gorm.DB) ([]byte, error) {
				return nil, tx.Exec("SET LOCAL search_path = other").Error
			})
			return json.RawMessage("{}"), err
		})
	require.NoError(t, err)
	require.True(t, did)
	row, err := barrier.DidStep(t.Context(), db, "x", "a")
	require.NoError(t, err)
	require.True(t, row.Done)
}
