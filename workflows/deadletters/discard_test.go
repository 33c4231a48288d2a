package deadletters_test

import (
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/deadletters"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

func halfLetter() holdfast.DeadLetter {
	l := letter(holdfast.Policy{})
	l.Queue, l.Failure.Consumer = "holdfast.half.orders#2", ""
	l.Envelope.Headers = map[string]string{"holdfast-kind": "half"}
	return l
}

// A half message is discarded only if its transaction is known to be rolled back.
func TestDiscardOfAHalfMessage(t *testing.T) {
	for name, tc := range map[string]struct {
		outcome activities.LocalResult
		refused string
	}{
		"committed":   {activities.LocalResult{Resolution: holdfast.Commit}, "COMMITTED"},
		"unknown":     {activities.LocalResult{Error: "the database is away"}, "nobody of group orders could say whether its transaction m-1 is committed (the database is away)"},
		"rolled back": {activities.LocalResult{Resolution: holdfast.Rollback}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := bury(t, halfLetter())
			b.outcome = tc.outcome
			done := b.ask(time.Minute, deadletters.UpdateDiscard, by("ann"))
			b.at(time.Hour, func() {
				if tc.refused != "" {
					require.Equal(t, workflows.Parked, b.status().State)
				}
			})
			if tc.refused != "" {
				b.signal(2*time.Hour, deadletters.UpdateDiscard, by("batch")) // refused, too
				b.discard(3 * time.Hour)
			}
			s := b.run()
			require.Equal(t, workflows.Discarded, s.State)
			if tc.refused == "" {
				require.NoError(t, done.err)
				require.Contains(t, event(t, s, deadletters.UpdateDiscard).Text, "rolled back")
				return
			}
			require.ErrorContains(t, done.err, tc.refused)
			require.ErrorContains(t, done.err, "force")
			require.Contains(t, event(t, s, "refused").Text, tc.refused)
			require.Equal(t, []string{"died", "refused", "refused", "discard"}, happened(s))
		})
	}
}

// What is no half message, and an op record, are discarded without a question.
func TestDiscardWithoutAQuestion(t *testing.T) {
	op := halfLetter()
	op.Envelope.Headers["holdfast-kind"] = "op"
	for _, l := range []holdfast.DeadLetter{letter(holdfast.Policy{}), op} {
		b := bury(t, l)
		done := b.ask(time.Minute, deadletters.UpdateDiscard, by("ann"))
		require.Equal(t, workflows.Discarded, b.run().State)
		require.NoError(t, done.err)
	}
}
