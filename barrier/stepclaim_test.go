package barrier_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
)

// TestStepRowOfSomebodyElse: a row that was written for another start of the saga's key,
// or by another participant, is neither repeated nor undone. Rows of earlier versions
// have no claim.
func TestStepRowOfSomebodyElse(t *testing.T) {
	t.Parallel()
	db, _ := migrated(t)
	mine, none := barrier.StepClaim{Content: "abc", By: "seat.take"}, barrier.StepClaim{}
	begin := func(id string, claim barrier.StepClaim, run do) (barrier.StepResult, error) {
		return barrier.DoStepGiven(t.Context(), db, id, "reserve", claim, false, nil, run)
	}
	undo := func(id string, claim barrier.StepClaim) (ran bool, r barrier.StepUndone) {
		r, err := barrier.UndoStepGiven(t.Context(), db, id, "reserve", claim, "cancelled", false, func(context.Context, *gorm.DB, barrier.StepDid) ([]byte, error) {
			ran = true
			return nil, nil
		})
		require.NoError(t, err)
		return ran, r
	}
	for name, first := range map[string]do{"done": doing("x", `{"n":1}`, nil), "done without a result": doing("x", "", nil), "refused": doing("x", "", refuse("no"))} {
		_, err := begin(name, mine, first)
		require.NoError(t, err)
		for _, other := range []barrier.StepClaim{{Content: "def", By: "seat.take"}, {Content: "abc", By: "pay"}} {
			_, err = begin(name, other, neverDo(t))
			require.ErrorIs(t, err, holdfast.ErrDuplicate, name)
			require.True(t, holdfast.IsPermanent(err))
			ran, r := undo(name, other)
			require.False(t, ran, name)
			require.Equal(t, barrier.StepUndone{Did: barrier.Blocked}, r)
		}
		for _, same := range []barrier.StepClaim{mine, none} {
			r, err := begin(name, same, neverDo(t))
			require.NoError(t, err, name)
			require.True(t, r.Repeated)
		}
		ran, _ := undo(name, mine)
		require.Equal(t, name != "refused", ran)
		_, r := undo(name, barrier.StepClaim{Content: "def"})
		require.Equal(t, barrier.StepUndone{Did: barrier.Blocked}, r, "nor is what was undone")
	}
	_, err := begin("earlier", none, doing("x", "", nil))
	require.NoError(t, err)
	r, err := begin("earlier", mine, neverDo(t))
	require.NoError(t, err)
	require.True(t, r.Repeated)
}
