package cli

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

// TestWhatWasNotAnsweredIsLookedAt: an answer that is lost leaves an action
// unknown until the letter is seen to be settled.
func TestWhatWasNotAnsweredIsLookedAt(t *testing.T) {
	g := newGraveyard(t)
	quiet, settled := g.ghost("quiet", nil), g.ghost("settled", nil)
	g.bury(quiet, settled)
	g.one("discard", workflows.DeadLetterID(g.prefix, settled))
	all := []outcome{{Outcome: isUnknown, pending: true}, {Outcome: isUnknown, pending: true}, {Outcome: isHandled}}
	rows := []deadRow{{WorkflowID: workflows.DeadLetterID(g.prefix, quiet)}, {WorkflowID: workflows.DeadLetterID(g.prefix, settled)}, {}}
	ts := &temporalServer{Client: g.c, data: searchAttributes, prefix: g.prefix}
	b := &batch{t: ts, act: deadActs[2], crew: crew{parallel: 2, wait: time.Second, tick: func() {}}}
	b.verify(t.Context(), rows, all)
	require.Equal(t, isUnknown, all[0].Outcome)
	require.Contains(t, all[0].Detail, "no answer in time; it is parked: ")
	require.Equal(t, isDiscarded, all[1].Outcome)
	require.Equal(t, outcome{Outcome: isHandled}, all[2])
}

// TestManyWithoutAnAnswerEndABatch: nobody waits hours for a worker that is gone.
func TestManyWithoutAnAnswerEndABatch(t *testing.T) {
	g := newGraveyard(t)
	const n = 30
	var letters []holdfast.DeadLetter
	var rows []deadRow
	for i := range n {
		l := g.ghost(fmt.Sprint(i), nil)
		letters = append(letters, l)
		rows = append(rows, deadRow{ID: l.ID, WorkflowID: workflows.DeadLetterID(g.prefix, l), State: "parked", status: enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING})
	}
	g.bury(letters...)
	g.stop()
	b := &batch{t: &temporalServer{Client: g.c, data: searchAttributes, prefix: g.prefix}, act: deadActs[2],
		crew: crew{parallel: 2, answer: time.Millisecond, tick: func() {}},
		req:  workflows.DeadLetterRequest{Operator: "ann", Reason: "x"}}
	unknown, unsent := 0, 0
	for _, o := range b.run(t.Context(), rows) {
		switch o.Outcome {
		case isUnknown:
			unknown++
		case isUnsent:
			unsent++
			require.Equal(t, "stopped: no answer to many in a row", o.Detail)
		}
	}
	require.Equal(t, n, unknown+unsent)
	require.GreaterOrEqual(t, unknown, 8)
	require.LessOrEqual(t, unknown, 10)
}
