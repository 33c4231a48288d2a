package worker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/workflow"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// letters is a text of one letter, which tells who wrote it.
func letters(i, size int) string { return strings.Repeat(string(rune('a'+i%26)), size) }

// fills are local steps that each write so much into the state; their Undos book whose
// text they are given.
func fills(n, size int) (steps []saga.StepDef) {
	for i := range n {
		steps = append(steps, saga.Local(fmt.Sprintf("s%d", i),
			func(_ context.Context, tx *gorm.DB, j *journey) error {
				j.Room = letters(i, size)
				return write(tx, j.ID, "do %c", j.Room[0])
			},
			func(_ context.Context, tx *gorm.DB, j *journey) error { return write(tx, j.ID, "undo %c", j.Room[0]) }))
	}
	return steps
}

func all(steps ...[]saga.StepDef) (out []saga.Step[journey]) {
	for _, some := range steps {
		for _, x := range some {
			out = append(out, x)
		}
	}
	return out
}

// TestSagasOfLargeStates: whatever fits into the limits ends, is told only then, and
// its history can be replayed.
func TestSagasOfLargeStates(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	no := []saga.StepDef{does("no", func(*journey) error { return saga.Refuse("no") })}
	branches := make([]saga.StepDef, 16)
	for i, x := range fills(16, 250<<10) {
		branches[i] = x
	}
	define := func(name string, steps ...saga.Step[journey]) saga.Saga[journey] {
		return saga.Saga[journey]{Name: name, Key: journeyID, Steps: steps}
	}
	back, many := define("back", all(fills(20, 240<<10), no)...), define("many", all(fills(120, 40<<10))...)
	quick, wide := define("quick", all(fills(16, 250<<10))...), define("wide", saga.Parallel("p", branches...))
	w := s.agency(back, many, quick, wide)

	j, err := s.travels(w, back)
	require.ErrorIs(t, err, holdfast.ErrSagaCompensated)
	done := s.logged(s.orders, j.ID)
	require.Len(t, done, 40)
	for i := range 20 {
		require.Equal(t, "un"+done[i], done[39-i], "each with what its own Do was given, and made of it")
	}
	s.replays(s.sagaID("back", j.ID))
	for _, def := range []saga.Saga[journey]{many, quick, wide} {
		j, err := s.travels(w, def)
		require.NoError(t, err, def.Name)
		require.NotEmpty(t, j.Room)
		id := s.sagaID(def.Name, j.ID)
		ctx := s.ctx()
		require.NoError(t, s.temporal.GetWorkflow(ctx, id, "").Get(ctx, nil), "%s: the end that was told is recorded", def.Name)
		s.replays(id)
	}
}

// replays replays each run of a saga.
func (s *site) replays(id string) {
	s.t.Helper()
	r := stacktest.Replayer(s.t)
	r.RegisterWorkflowWithOptions(sagas.Saga, workflow.RegisterOptions{Name: sagas.Name})
	for run := s.firstRun(id); run != ""; {
		history := &historypb.History{}
		for i := s.temporal.GetWorkflowHistory(s.ctx(), id, run, false, 0); i.HasNext(); {
			e, err := i.Next()
			require.NoError(s.t, err)
			require.NotContains(s.t, e.EventType.String(), "TaskFailed", "%s: %v", id, e)
			history.Events = append(history.Events, e)
		}
		require.NoError(s.t, r.ReplayWorkflowHistory(nil, history), id)
		run = history.Events[len(history.Events)-1].GetWorkflowExecutionContinuedAsNewEventAttributes().GetNewExecutionRunId()
	}
}

// firstRun is the run with which a workflow began.
func (s *site) firstRun(id string) string {
	s.t.Helper()
	d, err := s.temporal.DescribeWorkflowExecution(s.ctx(), id, "")
	require.NoError(s.t, err)
	return d.WorkflowExecutionInfo.FirstRunId
}

// sagaID is the ID of a saga of this site.
func (s *site) sagaID(name, key string) string {
	return workflows.SagaID(s.at.Prefix, group, name, key)
}
