package barrier_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
)

// TestBeginRow: a saga's begin row is written once, together with its first step or
// alone, and tells what it was started with and who drives it; another content is
// somebody else's.
func TestBeginRow(t *testing.T) {
	t.Parallel()
	db, _ := migrated(t)
	s := holdfast.SagaStart{Name: "travel", Version: 2, Key: "Zürich", State: json.RawMessage(`{"id":"<1>"}`), Tokens: true}
	row := func(holder, content string) barrier.BegunSaga {
		return barrier.BegunSaga{SagaStart: s, Holder: holder, Content: content}
	}
	with := func(owner string, b barrier.BegunSaga, failure error) error {
		_, err := barrier.DoStep(t.Context(), db, owner, "a", false, func(ctx context.Context, tx *gorm.DB) ([]byte, error) {
			_, err := barrier.BeginSaga(ctx, tx, owner, b)
			return nil, errors.Join(err, failure)
		})
		return err
	}
	begun := func(owner string) (barrier.BegunSaga, error) { return barrier.ReadBegun(t.Context(), db, owner) }
	_, err := begun("x")
	require.ErrorIs(t, err, holdfast.ErrNotFound)
	require.ErrorContains(t, with("x", row("1", "c1"), errors.New("oops")), "oops")
	_, err = begun("x")
	require.ErrorIs(t, err, holdfast.ErrNotFound, "it is rolled back with the step")
	require.NoError(t, with("x", row("1", "c1"), nil))
	got, err := begun("x")
	require.NoError(t, err)
	require.Equal(t, row("1", "c1"), got)

	_, err = barrier.BeginSaga(t.Context(), db, "x", row("1", "c1"))
	require.NoError(t, err, "once more")
	got, err = barrier.BeginSaga(t.Context(), db, "x", row("2", "c1"))
	require.ErrorIs(t, err, barrier.ErrNotHeld)
	require.Equal(t, "1", got.Holder)
	_, err = barrier.BeginSaga(t.Context(), db, "x", row("1", "c2"))
	require.ErrorIs(t, err, holdfast.ErrDuplicate)
	require.True(t, holdfast.IsPermanent(err))

	_, err = barrier.BeginSaga(t.Context(), db, "y", row("1", "c1"))
	require.NoError(t, err, "alone")
	require.ErrorIs(t, with("y", row("1", "c2"), nil), holdfast.ErrDuplicate)
	require.ErrorIs(t, with("y", row("2", "c1"), nil), barrier.ErrNotHeld)
	did, err := barrier.DidStep(t.Context(), db, "y", "a")
	require.NoError(t, err)
	require.False(t, did.Done, "the step is rolled back with it")

	_, err = barrier.BeginSaga(t.Context(), db, "z", barrier.BegunSaga{Holder: "1"})
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.NoError(t, db.Exec("UPDATE holdfast_steps SET result = 'x' WHERE owner = 'x' AND step = ''").Error)
	_, err = begun("x")
	require.ErrorIs(t, err, holdfast.ErrMalformed)
	_, err = barrier.DeleteSteps(t.Context(), db, 0, 0)
	require.NoError(t, err)
	_, err = begun("y")
	require.ErrorIs(t, err, holdfast.ErrNotFound, "retention deletes it with the rest")
}

// TestOneDrivesASaga: the begin row goes from a start to the workflow, or to its end, and
// none of them does what another one may do.
func TestOneDrivesASaga(t *testing.T) {
	t.Parallel()
	db, _ := migrated(t)
	ctx := t.Context()
	start := barrier.BegunSaga{SagaStart: holdfast.SagaStart{Name: "travel", Version: 1, Key: "1", State: json.RawMessage(`{}`)},
		Content: "c", Holder: "start"}
	hold := func(owner, holder string) error {
		return db.Transaction(func(tx *gorm.DB) error { return barrier.HoldSaga(ctx, tx, owner, holder) })
	}
	begin := func(owner string) {
		_, err := barrier.BeginSaga(ctx, db, owner, start)
		require.NoError(t, err)
	}
	require.ErrorIs(t, hold("x", "start"), barrier.ErrNotHeld, "nobody has begun it")
	require.ErrorIs(t, barrier.EndSaga(ctx, db, "x", start, nil), holdfast.ErrNotFound)

	begin("x")
	require.NoError(t, hold("x", "start"))
	_, _, err := barrier.TakeSaga(ctx, db, "x", "another", start, time.Second)
	require.ErrorIs(t, err, barrier.ErrNotHeld)
	found, took, err := barrier.TakeSaga(ctx, db, "x", "start", start, time.Second)
	require.NoError(t, err)
	require.Equal(t, []any{true, barrier.HolderWorkflow}, []any{took, found.Holder})
	require.ErrorIs(t, hold("x", "start"), barrier.ErrNotHeld)
	require.ErrorIs(t, barrier.EndSaga(ctx, db, "x", start, json.RawMessage(`{}`)), barrier.ErrNotHeld)
	_, took, err = barrier.TakeSaga(ctx, db, "x", "", start, time.Second)
	require.NoError(t, err)
	require.False(t, took, "it has it already")

	begin("y")
	require.NoError(t, barrier.EndSaga(ctx, db, "y", start, json.RawMessage(`{"phase":"completed"}`)))
	require.ErrorIs(t, hold("y", "start"), barrier.ErrNotHeld)
	found, took, err = barrier.TakeSaga(ctx, db, "y", "", start, time.Second)
	require.NoError(t, err)
	require.Equal(t, []any{false, "", `{"phase":"completed"}`}, []any{took, found.Holder, string(found.Last)})
	require.NoError(t, barrier.ReopenSaga(ctx, db, "y", "d", true, time.Second))
	found, err = barrier.ReadBegun(ctx, db, "y")
	require.NoError(t, err)
	require.Empty(t, found.Holder, "it is another saga that is to be undone")
	require.NoError(t, barrier.ReopenSaga(ctx, db, "y", "c", false, time.Second))
	found, err = barrier.ReadBegun(ctx, db, "y")
	require.NoError(t, err)
	require.Equal(t, []any{barrier.HolderWorkflow, `{"phase":"completed"}`}, []any{found.Holder, string(found.Last)})
	require.NoError(t, barrier.ReopenSaga(ctx, db, "y", "c", true, time.Second))
	found, err = barrier.ReadBegun(ctx, db, "y")
	require.NoError(t, err)
	require.Equal(t, []any{barrier.HolderWorkflow, 0}, []any{found.Holder, len(found.Last)})
	require.NoError(t, barrier.ReopenSaga(ctx, db, "none", "c", true, time.Second))

	_, took, err = barrier.TakeSaga(ctx, db, "z", "", barrier.BegunSaga{Content: "c"}, time.Second)
	require.NoError(t, err)
	require.True(t, took, "it has no row, and gets that of its workflow")
	_, err = barrier.BeginSaga(ctx, db, "z", start)
	require.ErrorIs(t, err, barrier.ErrNotHeld)
	start.Content = "d"
	_, _, err = barrier.TakeSaga(ctx, db, "z", "", start, time.Second)
	require.ErrorIs(t, err, holdfast.ErrDuplicate)
}

// TestAStepHoldsItsSaga: while a step is under way, the saga is not taken over.
func TestAStepHoldsItsSaga(t *testing.T) {
	t.Parallel()
	db, _ := migrated(t)
	start := barrier.BegunSaga{SagaStart: holdfast.SagaStart{Name: "travel", Version: 1, Key: "1", State: json.RawMessage(`{}`)},
		Content: "c", Holder: "start"}
	_, err := barrier.BeginSaga(t.Context(), db, "x", start)
	require.NoError(t, err)
	tx := db.Begin()
	defer tx.Rollback()
	require.NoError(t, barrier.HoldSaga(t.Context(), tx, "x", "start"))
	_, _, err = barrier.TakeSaga(t.Context(), db, "x", "", start, time.Second)
	require.ErrorContains(t, err, "a step of saga x is under way")
	require.NoError(t, tx.Commit().Error)
	_, took, err := barrier.TakeSaga(t.Context(), db, "x", "", start, time.Second)
	require.NoError(t, err)
	require.True(t, took)
}
