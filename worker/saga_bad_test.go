package worker_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// TestSagaStateGrowsTooLarge: the step that makes it too large has failed. A local
// one is rolled back; what a participant did is undone.
func TestSagaStateGrowsTooLarge(t *testing.T) {
	t.Parallel()
	large := func(n int) string { return strings.Repeat("x", n) }
	for name, x := range map[string]struct {
		step  saga.StepDef
		seats func(s *site) worker.Participant
		do    string
		want  string
	}{
		"by a local step": {does("grow", func(j *journey) error { j.By = large(core.MaxData); return nil }), nil, "", "the saga's state has 262"},
		"by far":          {does("grow", func(j *journey) error { j.By = large(4 * core.MaxData); return nil }), nil, "", "store large data elsewhere"},
		"by a participant's result": {seat(), func(s *site) worker.Participant {
			p := s.seats(nil)
			p.Do = worker.TypedParticipation(func(_ context.Context, tx *gorm.DB, j journey) (string, error) {
				return large(core.MaxData), write(tx, j.ID, "do seat")
			})
			return p
		}, "seat", "the saga's state has 262"},
		"by a result that nothing takes": {seat(), func(s *site) worker.Participant {
			p := s.seats(nil)
			p.Do = worker.TypedParticipation(func(_ context.Context, tx *gorm.DB, j journey) (string, error) {
				return large(2 * core.MaxData), write(tx, j.ID, "do seat")
			})
			return p
		}, "", "answer a reference"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sagaSite(t)
			def := travel(local("a"), x.step, local("b"))
			w := s.agency(def)
			if x.seats != nil {
				s.participants(x.seats(s))
			}
			j, err := s.travels(w, def)
			e := stood(t, err, holdfast.ErrSagaCompensated)
			require.Contains(t, e.Reason, x.want)
			require.Less(t, len(e.Reason), 2000)
			require.Empty(t, j.By+j.Seat, "the state is as it was")
			want := []string{"do a", "undo a"}
			if x.do != "" {
				want = []string{"do a", "do " + x.do, "undo " + x.do, "undo a"}
			}
			require.Equal(t, want, s.chronicle(j.ID))
		})
	}
}

// TestSagaThatNoWorkerHas waits, visibly, until a worker comes that has it.
func TestSagaThatNoWorkerHas(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"))
	s.producer() // of the group, without sagas
	j := journey{ID: newID()}
	data, err := json.Marshal(j)
	require.NoError(t, err)
	in := sagas.Input{ID: workflows.SagaID(s.at.Prefix, group, def.Name, j.ID), Group: group, Prefix: s.at.Prefix, Name: def.Name, Key: j.ID, Data: data}
	_, err = s.temporal.ExecuteWorkflow(s.ctx(), sagas.StartOptions(s.at.Prefix, in), sagas.Name, in)
	require.NoError(t, err)
	until(t, "Temporal shows that it has no worker", func() bool {
		d, err := s.temporal.DescribeWorkflow(s.ctx(), in.ID, "")
		require.NoError(t, err)
		state, _ := d.TypedSearchAttributes.GetKeyword(temporal.NewSearchAttributeKeyKeyword(workflows.AttributeState))
		return state == core.StateNoWorker
	})
	until(t, "doctor names it", func() bool {
		_, out, _ := s.holdfast("doctor")
		return strings.Contains(out, "start a process of group orders that registers travel")
	})
	until(t, "it says what it waits for", func() bool {
		d, err := s.temporal.DescribeWorkflowExecution(s.ctx(), in.ID, "")
		require.NoError(t, err)
		for _, a := range d.GetPendingActivities() {
			if strings.Contains(a.GetLastFailure().GetMessage(), "does not have saga travel: start one that registers it") {
				return true
			}
		}
		return false
	})

	w := s.agency(def)
	_, err = worker.JoinSaga(w.Worker, def, j.ID).Wait(s.ctx())
	require.NoError(t, err)
	require.Equal(t, []string{"do a"}, s.chronicle(j.ID))
}

// TestUndoThatPanics is tried again, and then waits for an operator, while the others
// are undone; mended and retried, it ends.
func TestUndoThatPanics(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	var mended atomic.Bool
	var tries atomic.Int32
	def := travel(local("a"),
		saga.Local("b", func(_ context.Context, tx *gorm.DB, j *journey) error { return write(tx, j.ID, "do b") },
			func(_ context.Context, tx *gorm.DB, j *journey) error {
				err := write(tx, j.ID, "undo b")
				if !mended.Load() {
					tries.Add(1)
					panic("nobody is at home")
				}
				return err
			}).Retry(saga.Retry{First: time.Millisecond, Max: time.Millisecond}),
		does("c", func(*journey) error { return saga.Refuse("closed") }))
	w := s.agency(def)
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	_, err = h.Wait(s.ctx())
	e := stood(t, err, holdfast.ErrSagaCompensationFailed)
	require.Equal(t, "b", e.Step)
	require.Contains(t, e.Reason, "nobody is at home")
	require.EqualValues(t, core.UndoAttempts, tries.Load())
	require.Equal(t, []string{"do a", "do b", "undo a"}, s.chronicle(j.ID))
	require.Equal(t, holdfast.ClassPanic, s.sagaStatus(h.ID()).Core.Steps["b"].Class)

	mended.Store(true)
	_, err = s.steer(h.ID(), sagas.UpdateRetry)
	require.NoError(t, err)
	_, err = h.Wait(s.ctx())
	require.Equal(t, "c", stood(t, err, holdfast.ErrSagaCompensated).Step)
	require.Equal(t, []string{"do a", "do b", "undo a", "undo b"}, s.chronicle(j.ID))
}

// TestParticipantsUndoThatPanics: the participant gives up, and the saga waits for
// an operator; mended and retried, it ends.
func TestParticipantsUndoThatPanics(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	var mended atomic.Bool
	def := travel(local("a"), seat().Retry(saga.Retry{First: time.Millisecond, Max: time.Millisecond}),
		does("c", func(*journey) error { return saga.Refuse("closed") }))
	w := s.agency(def)
	p := s.seats(nil)
	undo := p.Undo
	p.Undo = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) (any, error) {
		v, err := undo(ctx, tx, m)
		if !mended.Load() {
			panic("nobody is at home")
		}
		return v, err
	}
	s.participants(p)
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	_, err = h.Wait(s.ctx())
	e := stood(t, err, holdfast.ErrSagaCompensationFailed)
	require.Equal(t, "seat", e.Step)
	require.Contains(t, e.Reason, "participant seat.take gave up")
	require.Contains(t, e.Reason, "nobody is at home")
	require.Equal(t, []string{"do a", "do seat", "undo a"}, s.chronicle(j.ID))

	mended.Store(true)
	_, err = s.steer(h.ID(), sagas.UpdateRetry)
	require.NoError(t, err)
	_, err = h.Wait(s.ctx())
	stood(t, err, holdfast.ErrSagaCompensated)
	require.Equal(t, []string{"do a", "do seat", "undo a", "undo seat"}, s.chronicle(j.ID))
}
