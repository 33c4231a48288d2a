package barrier_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/barrier"
)

// undoGiven undoes the step "reserve" of the saga id, and notes what it is told.
func undoGiven(t *testing.T, db *gorm.DB, id string, uncertain bool, told *[]barrier.StepDid) barrier.StepUndone {
	t.Helper()
	r, err := barrier.UndoStepGiven(t.Context(), db, id, "reserve", barrier.StepClaim{}, "cancelled", uncertain, func(_ context.Context, tx *gorm.DB, did barrier.StepDid) ([]byte, error) {
		*told = append(*told, did)
		return []byte(`{"n":0}`), nil
	})
	require.NoError(t, err)
	return r
}

func doGiven(t *testing.T, db *gorm.DB, id, given string, again bool, run do) (barrier.StepResult, error) {
	t.Helper()
	return barrier.DoStepGiven(t.Context(), db, id, "reserve", barrier.StepClaim{}, again, []byte(given), run)
}

// TestStepRowsKeepWhatTheUndoNeeds: what the Do was given that took effect, and what
// the Undo answered.
func TestStepRowsKeepWhatTheUndoNeeds(t *testing.T) {
	t.Parallel()
	db, _ := migrated(t)
	var told []barrier.StepDid
	did := func(given, result string) barrier.StepDid {
		d := barrier.StepDid{Done: true, Given: []byte(given)}
		if result != "" {
			d.Result = []byte(result)
		}
		return d
	}

	_, err := doGiven(t, db, "fails", `{"price":1}`, false, doing("fails", "", errBoom))
	require.ErrorIs(t, err, errBoom)
	for n, given := range []string{`{"price": 100}`, `{"price":50}`} { // the first run's answer was lost
		r, err := doGiven(t, db, "fails", given, false, doing("fails", `{"n":1}`, nil))
		require.NoError(t, err)
		require.Equal(t, n > 0, r.Repeated)
	}
	require.Equal(t, barrier.StepUndone{Did: barrier.Undone, Ran: true, Result: []byte(`{"n":0}`)}, undoGiven(t, db, "fails", false, &told))
	require.Equal(t, barrier.StepUndone{Did: barrier.Repeated, Ran: true, Result: []byte(`{"n":0}`)}, undoGiven(t, db, "fails", false, &told))
	require.Equal(t, []barrier.StepDid{did(`{"price":100}`, `{"n":1}`)}, told)

	told = nil
	_, err = doGiven(t, db, "silent", `{"price":2}`, false, doing("silent", "", nil))
	require.NoError(t, err)
	undoGiven(t, db, "silent", true, &told)
	require.Equal(t, []barrier.StepDid{did(`{"price":2}`, "")}, told)

	told = nil // refused, and then done with another state
	_, err = doGiven(t, db, "again", `{"price":3}`, false, doing("x", "", refuse("no")))
	require.NoError(t, err)
	_, err = doGiven(t, db, "again", `{"price":4}`, true, doing("again", "", nil))
	require.NoError(t, err)
	undoGiven(t, db, "again", false, &told)
	require.Equal(t, []barrier.StepDid{did(`{"price":4}`, "")}, told)

	told = nil // by an earlier version
	doStep(t, db, "earlier", false, doing("earlier", `{"n":1}`, nil))
	undoGiven(t, db, "earlier", false, &told)
	require.Equal(t, []barrier.StepDid{{Done: true, Result: []byte(`{"n":1}`)}}, told)
}

// TestUncertainUndo: run once although there is no Do, which is blocked from then on.
func TestUncertainUndo(t *testing.T) {
	t.Parallel()
	db, _ := migrated(t)
	for name, before := range map[string]func(id string){
		"never begun": func(string) {},
		"failed": func(id string) {
			_, err := doGiven(t, db, id, `{}`, false, doing("x", "", errBoom))
			require.ErrorIs(t, err, errBoom)
		},
		"refused": func(id string) {
			_, err := doGiven(t, db, id, `{}`, false, doing("x", "", refuse("no")))
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var told []barrier.StepDid
			for _, uncertain := range []bool{false, true} {
				id := name + map[bool]string{true: " uncertain"}[uncertain]
				before(id)
				first := undoGiven(t, db, id, uncertain, &told)
				require.Equal(t, uncertain, first.Ran)
				second := undoGiven(t, db, id, uncertain, &told)
				require.Equal(t, barrier.StepUndone{Did: barrier.Repeated, Ran: first.Ran, Result: first.Result}, second)
				require.Equal(t, barrier.StepBlocked, doStep(t, db, id, true, neverDo(t)).Outcome)
			}
			require.Equal(t, []barrier.StepDid{{}}, told)
		})
	}
}
