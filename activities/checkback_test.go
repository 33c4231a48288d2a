package activities

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
)

// found is a Truth that knows this.
type found []LocalResult

func (f found) CheckBack(context.Context, string, Tx) LocalResult        { return f[0] }
func (f found) CheckBackAll(context.Context, string, []Tx) []LocalResult { return f }
func (f found) Decide(context.Context, string, Tx, holdfast.Resolution, bool) (LocalResult, error) {
	return LocalResult{}, nil
}

// TestCheckBackIsMeasuredOnce: the time of a batch is that of the batch, not of each of its
// members; who has another database has asked nobody.
func TestCheckBackIsMeasuredOnce(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		found found
		want  []holdfast.Resolution
	}{
		"all alike": {found{{Resolution: holdfast.Commit}, {Resolution: holdfast.Commit}, {Resolution: holdfast.Commit}},
			[]holdfast.Resolution{holdfast.Commit}},
		"mixed": {found{{Resolution: holdfast.Commit}, {}, {Resolution: holdfast.Commit}, {}},
			[]holdfast.Resolution{holdfast.Commit, holdfast.Unknown}},
		"some elsewhere": {found{{Elsewhere: true}, {Resolution: holdfast.Rollback}}, []holdfast.Resolution{holdfast.Rollback}},
		"all elsewhere":  {found{{Elsewhere: true}, {Elsewhere: true}}, nil},
	} {
		var got []holdfast.Resolution
		a := &Transactions{Truth: row.found, CheckedBack: func(r holdfast.Resolution, took time.Duration) {
			require.GreaterOrEqual(t, took, time.Duration(0))
			got = append(got, r)
		}}
		_, err := a.CheckBackAll(t.Context(), cohortOf("1", "2", "3", "4"))
		require.NoError(t, err, name)
		require.Equal(t, row.want, got, name)
	}
	counted := 0
	a := &Transactions{Truth: found{{Elsewhere: true}}, CheckedBack: func(holdfast.Resolution, time.Duration) { counted++ }}
	_, err := a.CheckBack(t.Context(), LocalInput{})
	require.Error(t, err)
	require.Zero(t, counted)
}
