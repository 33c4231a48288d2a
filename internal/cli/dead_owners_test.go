package cli

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/workflows"
)

// TestConsumersWithDeadLettersAreAllFound: also those whose letters are behind many of
// others, on a real server.
func TestConsumersWithDeadLettersAreAllFound(t *testing.T) {
	t.Parallel()
	g := newGraveyard(t)
	var letters []holdfast.DeadLetter
	letters = append(letters, g.ghost("old", func(l *holdfast.DeadLetter) { l.Failure.Consumer = "mails" }))
	g.bury(letters...)
	letters = nil
	for i := range deadletters.OwnersPage + 1 {
		letters = append(letters, g.ghost(fmt.Sprint(i), nil))
	}
	g.bury(letters...)
	r := g.holdfast("show", g.prefix+".old")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	require.Regexp(t, `consumer +mails`, r.out)
	r = g.holdfast("show", g.prefix+".nobody")
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, "no dead letter has the ID or the key")
	require.NotContains(t, r.err, "doctor")

	// The process that had them last may have forgotten them: their tasks are given to
	// any, with the whole history. Otherwise Temporal's SDK fails each of these first.
	eventually(t, func() bool { // what is not answered in time is asked again
		r = g.holdfast("discard", "--all", "--reason", "x", "--yes")
		return r.status == frame.ExitOK
	}, func() string { return r.out + r.err })
	g.list(count(deadletters.OwnersPage+2), "--state", "discarded")
	for _, l := range letters[:5] {
		it := g.c.GetWorkflowHistory(t.Context(), workflows.DeadLetterID(g.prefix, l), "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for it.HasNext() {
			e, err := it.Next()
			require.NoError(t, err)
			if queue := e.GetWorkflowTaskScheduledEventAttributes().GetTaskQueue(); queue != nil {
				require.Equal(t, enumspb.TASK_QUEUE_KIND_NORMAL, queue.GetKind(), l.ID)
			}
		}
	}
}
