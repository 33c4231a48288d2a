package transactions_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// ofAnother is the answer of a process with another database than the transaction.
func ofAnother(tx activities.Tx) activities.LocalResult {
	return activities.LocalResult{ID: tx.ID, Elsewhere: true, Unreached: true, Error: "mine is another database"}
}

// A process with another database does not count: others are asked in the same
// check-back, and again by the schedule, which does not park for that.
func TestCheckBackPassesOtherDatabasesBy(t *testing.T) {
	for name, wrong := range map[string]int{"the next one knows": 1, "nobody for a while": 40} {
		t.Run(name, func(t *testing.T) {
			w := &world{check: func(tx activities.Tx, n int) activities.LocalResult {
				if n <= wrong {
					return ofAnother(tx)
				}
				return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Commit}
			}}
			got := ended(t, setup(t, w), input(tx("1", activities.Split)))
			require.Equal(t, workflows.Committed, got[0].State)
			require.Zero(t, got[0].Checks)
			require.Equal(t, wrong/8, got[0].Unreached, "eight are asked in each check-back")
			require.Equal(t, wrong+1, w.asked)
		})
	}
}

// A sweep goes on to other processes with what is of another database, and only
// with that.
func TestRecoveryPassesOtherDatabasesBy(t *testing.T) {
	wrong := true
	w := &world{check: func(tx activities.Tx, n int) activities.LocalResult {
		if tx.ID == "theirs" && wrong {
			wrong = n < 3 // the sweep asks about both, then other processes about one
			return ofAnother(tx)
		}
		return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Commit}
	}}
	env, own := recovering(t, w)
	s := recovered(t, env, tx("ours", activities.HandedOver), tx("theirs", activities.HandedOver))
	require.Equal(t, "2 transactions: 2 committed", s.Summary)
	require.Empty(t, own.started)
	require.Equal(t, 4, w.asked)
}

// whose is a process with that database.
type whose struct{ database string }

func (x whose) Database(activities.Tx) string { return x.database }

// What was started by somebody without a database belongs to that of the process
// which stores its half message.
func TestRegisteredBelongsToADatabase(t *testing.T) {
	var seen []string
	w := &world{databases: whose{"5f0c6f0e"}}
	w.local = func(tx activities.Tx, _ bool) activities.LocalResult {
		seen = append(seen, tx.Database)
		return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Commit}
	}
	env := setup(t, w)
	registered := tx("1", activities.Registered)
	registered.Handler = "place"
	ended(t, env, input(registered))
	require.Equal(t, []string{"5f0c6f0e"}, seen)
}
