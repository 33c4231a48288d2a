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

// TestBeginRow: a saga's begin row is written once, together with its first step or
// alone, and tells what it was started with; another content is somebody else's.
func TestBeginRow(t *testing.T) {
	t.Parallel()
	db, _ := migrated(t)
	s := holdfast.SagaStart{Name: "travel", Version: 2, Key: "Zürich", State: json.RawMessage(`{"id":"<1>"}`), Tokens: true}
	with := func(owner, content string, failure error) error {
		_, err := barrier.DoStep(t.Context(), db, owner, "a", false, func(ctx context.Context, tx *gorm.DB) ([]byte, error) {
			return nil, errors.Join(barrier.BeginSaga(ctx, tx, owner, content, s), failure)
		})
		return err
	}
	begun := func(owner string) error {
		got, err := barrier.ReadBegun(t.Context(), db, owner)
		if err == nil {
			require.Equal(t, s.Key, got.Key)
			require.JSONEq(t, string(s.State), string(got.State))
			require.Equal(t, []any{s.Name, s.Version, s.Tokens}, []any{got.Name, got.Version, got.Tokens})
		}
		return err
	}
	require.ErrorIs(t, begun("x"), holdfast.ErrNotFound)
	require.ErrorContains(t, with("x", "c1", errors.New("oops")), "oops")
	require.ErrorIs(t, begun("x"), holdfast.ErrNotFound)
	require.NoError(t, with("x", "c1", nil))
	require.NoError(t, begun("x"))
	require.NoError(t, barrier.BeginSaga(t.Context(), db, "x", "c1", s), "once more")
	err := barrier.BeginSaga(t.Context(), db, "x", "c2", s)
	require.ErrorIs(t, err, holdfast.ErrDuplicate)
	require.True(t, holdfast.IsPermanent(err))

	require.NoError(t, barrier.BeginSaga(t.Context(), db, "y", "c1", s), "alone")
	require.ErrorIs(t, with("y", "c2", nil), holdfast.ErrDuplicate)
	did, err := barrier.DidStep(t.Context(), db, "y", "a")
	require.NoError(t, err)
	require.False(t, did.Done, "the step is rolled back with it")

	require.ErrorIs(t, barrier.BeginSaga(t.Context(), db, "z", "c", holdfast.SagaStart{}), holdfast.ErrInvalid)
	require.NoError(t, db.Exec("UPDATE holdfast_steps SET result = 'x' WHERE owner = 'x' AND step = ''").Error)
	require.ErrorIs(t, begun("x"), holdfast.ErrMalformed)
	_, err = barrier.DeleteSteps(t.Context(), db, 0, 0)
	require.NoError(t, err)
	require.ErrorIs(t, begun("y"), holdfast.ErrNotFound, "retention deletes it with the rest")
}
