package cli

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

// TestWhatWasNotAnsweredIsLookedAt: an answer that is lost leaves an action
// unknown until the letter is seen to be settled.
func TestWhatWasNotAnsweredIsLookedAt(t *testing.T) {
	g := newGraveyard(t)
	quiet, settled := g.ghost("quiet", nil), g.ghost("settled", nil)
	g.bury(quiet, settled)
	g.one("discard", workflows.DeadLetterID(g.prefix, settled))
	all := []actions.Outcome{{Outcome: actions.Unknown, Pending: true}, {Outcome: actions.Unknown, Pending: true}, {Outcome: actions.Handled}}
	rows := []deadletters.Row{{WorkflowID: workflows.DeadLetterID(g.prefix, quiet)}, {WorkflowID: workflows.DeadLetterID(g.prefix, settled)}, {}}
	ts := &server.Temporal{Client: g.c, Data: server.SearchAttributes, Prefix: g.prefix}
	b := &deadletters.Batch{T: ts, Act: deadletters.Acts[2], Crew: actions.Crew{Parallel: 2, Wait: time.Second, Tick: func() {}}}
	eventually(t, func() bool { // a busy server may be late
		b.Verify(t.Context(), rows, all)
		return all[0].Detail != "" && !all[1].Pending
	}, func() string { return fmt.Sprint(all) })
	require.Equal(t, actions.Unknown, all[0].Outcome)
	require.Contains(t, all[0].Detail, "no answer in time; it is parked: ")
	require.Equal(t, actions.Discarded, all[1].Outcome)
	require.Equal(t, actions.Outcome{Outcome: actions.Handled}, all[2])
}

// TestManyWithoutAnAnswerEndABatch: nobody waits hours for a worker that is gone.
func TestManyWithoutAnAnswerEndABatch(t *testing.T) {
	g := newGraveyard(t)
	const n = 30
	var letters []holdfast.DeadLetter
	var rows []deadletters.Row
	for i := range n {
		l := g.ghost(fmt.Sprint(i), nil)
		letters = append(letters, l)
		rows = append(rows, deadletters.Row{ID: l.ID, WorkflowID: workflows.DeadLetterID(g.prefix, l), State: "parked", RunStatus: enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING})
	}
	g.bury(letters...)
	g.stop()
	b := &deadletters.Batch{T: &server.Temporal{Client: g.c, Data: server.SearchAttributes, Prefix: g.prefix}, Act: deadletters.Acts[2],
		Crew: actions.Crew{Parallel: 2, Answer: time.Millisecond, Tick: func() {}},
		Req:  deadflow.Request{Operator: "ann", Reason: "x"}}
	unknown, unsent := 0, 0
	for _, o := range b.Run(t.Context(), rows) {
		switch o.Outcome {
		case actions.Unknown:
			unknown++
		case actions.Unsent:
			unsent++
			require.Equal(t, "stopped: no answer to many in a row", o.Detail)
		}
	}
	require.Equal(t, n, unknown+unsent)
	require.GreaterOrEqual(t, unknown, 8)
	require.LessOrEqual(t, unknown, 10)
}
