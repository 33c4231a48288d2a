package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// byHandle is the way of a program that has the saga's handle.
func byHandle(s *site, h *worker.SagaHandle[journey], action string, req sagas.Request) string {
	by := worker.By{Operator: req.Operator, Reason: req.Reason}
	var err error
	switch action {
	case sagas.UpdatePause:
		err = h.Pause(s.ctx(), by)
	case sagas.UpdateResume:
		err = h.Resume(s.ctx(), by)
	case sagas.UpdateRetry:
		err = h.Retry(s.ctx(), req.Step, by)
	case sagas.UpdateSkip:
		err = h.Skip(s.ctx(), req.Step, by)
	case workflows.UpdateCompensate:
		err = h.Compensate(s.ctx(), by)
	case sagas.UpdateAnswer:
		err = h.Approve(s.ctx(), req.Step, req.Value, by)
	default:
		err = fmt.Errorf("what is %s?", action)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// TestHandleRefuses: what cannot be done is refused as it is to an operator, and changes
// nothing.
func TestHandleRefuses(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), saga.Wait("approve", 0), local("b"))
	w := s.agency(def)
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	s.awaitStanding(h.ID(), core.StateWaiting)
	ann := worker.By{Operator: "ann", Reason: "looked at the books"}
	for want, do := range map[string]func(context.Context) error{
		"By.Operator is empty":    func(ctx context.Context) error { return h.Pause(ctx, worker.By{Operator: " ", Reason: "why"}) },
		"By.Reason is empty":      func(ctx context.Context) error { return h.Compensate(ctx, worker.By{Operator: "ann"}) },
		`cannot be "policy"`:      func(ctx context.Context) error { return h.Resume(ctx, worker.By{Operator: "policy", Reason: "why"}) },
		"one line of at most 160": func(ctx context.Context) error { return h.Resume(ctx, worker.By{Operator: "a\nb", Reason: "why"}) },
		"is too long": func(ctx context.Context) error {
			return h.Resume(ctx, worker.By{Operator: strings.Repeat("x", 201), Reason: "y"})
		},
		"nothing to resume":         func(ctx context.Context) error { return h.Resume(ctx, ann) },
		"nothing to retry":          func(ctx context.Context) error { return h.Retry(ctx, "", ann) },
		"there is no step x":        func(ctx context.Context) error { return h.Retry(ctx, "x", ann) },
		"skip of step a is refused": func(ctx context.Context) error { return h.Skip(ctx, "a", ann) },
		"name the step to skip":     func(ctx context.Context) error { return h.Skip(ctx, "", ann) },
		`there is no wait "b"`:      func(ctx context.Context) error { return h.Refuse(ctx, "b", ann) },
	} {
		err := do(s.ctx())
		require.ErrorIs(t, err, holdfast.ErrInvalid, want)
		require.ErrorContains(t, err, want)
	}
	require.Equal(t, core.StateWaiting, s.sagaStatus(h.ID()).State)
	require.NoError(t, h.Refuse(s.ctx(), "approve", ann))
	_, err = h.Wait(s.ctx())
	stood(t, err, holdfast.ErrSagaCompensated)
	require.NoError(t, h.Compensate(s.ctx(), ann), "it is compensated already")
	for what, do := range map[string]func(context.Context, worker.By) error{"pause": h.Pause, "resume": h.Resume,
		"retry": func(ctx context.Context, by worker.By) error { return h.Retry(ctx, "", by) },
		"skip":  func(ctx context.Context, by worker.By) error { return h.Skip(ctx, "a", by) }} {
		err := do(s.ctx(), ann)
		require.ErrorIs(t, err, holdfast.ErrInvalid, what)
		require.ErrorContains(t, err, "it is compensated: nothing is left to "+what)
	}
	require.Equal(t, []string{"do a", "undo a"}, s.chronicle(j.ID))

	nobody := worker.JoinSaga(w.Worker, def, "nobody")
	require.ErrorIs(t, nobody.Compensate(s.ctx(), ann), holdfast.ErrNotFound)
	require.ErrorIs(t, nobody.Pause(s.ctx(), ann), holdfast.ErrNotFound)
	require.ErrorIs(t, nobody.Refuse(s.ctx(), "approve", ann), holdfast.ErrNotFound)
}

// TestHandleCompensatesAfterTheEnd: by a second workflow, that the same handle waits for
// and steers; twice is once.
func TestHandleCompensatesAfterTheEnd(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	broken := errors.New("the printer is out of paper")
	var mended atomic.Bool
	def := travel(local("a"), saga.Local("b",
		func(_ context.Context, tx *gorm.DB, j *journey) error { return write(tx, j.ID, "do b") },
		func(_ context.Context, tx *gorm.DB, j *journey) error {
			if !mended.Load() {
				return holdfast.Permanent(broken)
			}
			return write(tx, j.ID, "undo b")
		}))
	w := s.agency(def)
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	_, err = h.Wait(s.ctx())
	require.NoError(t, err)
	ann := worker.By{Operator: "ann", Reason: "the customer withdrew"}
	require.ErrorContains(t, h.Pause(s.ctx(), ann), "it is completed: nothing is left to pause; Compensate undoes what it did")

	require.NoError(t, h.Compensate(s.ctx(), ann))
	_, err = h.Wait(s.ctx())
	e := stood(t, err, holdfast.ErrSagaCompensationFailed)
	require.Contains(t, e.Reason, broken.Error())
	require.NoError(t, h.Compensate(s.ctx(), ann), "it goes back already")
	mended.Store(true)
	require.NoError(t, h.Retry(s.ctx(), "b", ann))
	_, err = h.Wait(s.ctx())
	e = stood(t, err, holdfast.ErrSagaCompensated)
	require.Contains(t, e.Reason, "the customer withdrew")
	require.NoError(t, h.Compensate(s.ctx(), ann), "all is undone already")
	require.NoError(t, worker.JoinSaga(w.Worker, def, j.ID).Compensate(s.ctx(), ann))
	require.Equal(t, []string{"do a", "do b", "undo a", "undo b"}, s.chronicle(j.ID), "what is stuck holds up nothing else")
}

// TestHandleCompensatesWhatWasTerminated: this process tells how far it came.
func TestHandleCompensatesWhatWasTerminated(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), saga.Wait("approve", 0), local("b"))
	w := s.agency(def)
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	s.awaitStanding(h.ID(), core.StateWaiting)
	require.NoError(t, s.temporal.TerminateWorkflow(s.ctx(), h.ID(), "", "a wrong click"))
	ann := worker.By{Operator: "ann", Reason: "a wrong click"}
	require.ErrorContains(t, h.Resume(s.ctx(), ann), "it is terminated: nothing is left to resume; Compensate undoes what it did")
	require.NoError(t, h.Compensate(s.ctx(), ann))
	_, err = h.Wait(s.ctx())
	stood(t, err, holdfast.ErrSagaCompensated)
	require.Equal(t, []string{"do a", "undo a"}, s.chronicle(j.ID))
}
