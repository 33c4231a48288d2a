package worker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/cli"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// way is one by which an operator reaches a saga. It returns once what was asked for is
// done, or refused with this text.
type way func(s *site, h *worker.SagaHandle[journey], action string, req sagas.Request) (refusal string)

var ways = map[string]way{
	"Update": func(s *site, h *worker.SagaHandle[journey], action string, req sagas.Request) string {
		if _, err := s.steer(h.ID(), action, func(r *sagas.Request) { *r = req }); err != nil {
			return err.Error()
		}
		return ""
	},
	"signal": func(s *site, h *worker.SagaHandle[journey], action string, req sagas.Request) string {
		id := h.ID()
		began := len(s.sagaStatus(id).Story)
		require.NoError(s.t, s.temporal.SignalWorkflow(s.ctx(), id, "", action, req))
		var refusal string
		until(s.t, action+" is in the story", func() bool {
			for _, e := range s.sagaStatus(id).Story[began:] {
				if e.What == "rejected" && e.Operator == req.Operator && strings.HasPrefix(e.Text, action+": ") {
					refusal = e.Text
					return true
				}
				if e.What == action && e.Operator == req.Operator {
					return true
				}
			}
			return false
		})
		return refusal
	},
}

// ann is what she asks for about a step, or about the whole saga.
func ann(step string) sagas.Request {
	return sagas.Request{Operator: "ann", Reason: "looked at the books", Step: step}
}

// awaitStanding waits until a saga stands so.
func (s *site) awaitStanding(id, state string) {
	s.t.Helper()
	until(s.t, "the saga is "+state, func() bool { return s.sagaStatus(id).State == state })
}

// awaitStep waits until a step has the status.
func (s *site) awaitStep(id, step string, want core.Status) {
	s.t.Helper()
	until(s.t, "step "+step+" is "+string(want), func() bool {
		at := s.sagaStatus(id).Core.Steps[step]
		return at != nil && at.Status == want
	})
}

// TestSagaSteeredFromOutside brings a saga through everything that an operator can
// do, by Updates, by signals and by its handle.
func TestSagaSteeredFromOutside(t *testing.T) {
	t.Parallel()
	all := maps.Clone(ways)
	all["handle"] = byHandle
	for name, way := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sagaSite(t)
			var open atomic.Bool
			def := travel(local("a"), saga.Wait("approve", 0).Receive(saga.Into(func(j *journey, price int) error {
				j.Price = price
				return nil
			})), does("b", func(*journey) error {
				if open.Load() {
					return nil
				}
				return errOops
			}).Retry(saga.Retry{First: time.Hour, Max: time.Hour}), seat(), local("c"), saga.Wait("depart", 0))
			w := s.agency(def)
			j := journey{ID: newID()}
			h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
			require.NoError(t, err)
			ask := func(action string, req sagas.Request) {
				t.Helper()
				require.Empty(t, way(s, h, action, req))
			}

			s.awaitStanding(h.ID(), core.StateWaiting)
			ask(sagas.UpdatePause, ann(""))
			require.Equal(t, core.StatePaused, s.sagaStatus(h.ID()).State)
			approval := ann("approve")
			approval.Value = json.RawMessage("42")
			ask(sagas.UpdateAnswer, approval)
			s.awaitStep(h.ID(), "approve", core.Done)
			require.Equal(t, []string{"do a"}, s.chronicle(j.ID), "nothing is begun while it is paused")
			ask(sagas.UpdateResume, ann(""))
			s.awaitStep(h.ID(), "b", core.Retrying)
			open.Store(true)
			ask(sagas.UpdateRetry, ann("b"))
			s.awaitStep(h.ID(), "seat", core.Running)
			ask(sagas.UpdateSkip, ann("seat"))
			s.awaitStanding(h.ID(), core.StateWaiting)
			require.Equal(t, core.Skipped, s.sagaStatus(h.ID()).Core.Steps["seat"].Status)
			require.Equal(t, []string{"do a", "do b", "do c"}, s.chronicle(j.ID))
			s.participants(s.seats(nil)) // what was asked of it may still be there
			ask(workflows.UpdateCompensate, ann(""))

			got, err := h.Wait(s.ctx())
			e := stood(t, err, holdfast.ErrSagaCompensated)
			require.Contains(t, e.Reason, "looked at the books")
			require.Equal(t, 42, got.Price)
			require.Equal(t, []string{"do a", "do b", "do c", "undo c", "undo b", "undo a"}, s.chronicle(j.ID))
			for _, line := range s.sagaStatus(h.ID()).Story {
				if line.Operator != "" {
					require.Contains(t, []string{"ann", workflows.Claimed("ann")}, line.Operator)
				}
			}
		})
	}
}

// TestSagaRefusesOperators: what cannot be done is refused, with what is possible,
// and changes nothing.
func TestSagaRefusesOperators(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), saga.Wait("approve", 0), local("b"))
	w := s.agency(def)
	valued, nobody := ann(""), ann("")
	valued.Value, nobody.Reason = json.RawMessage("1"), ""
	refusing := ann("")
	refusing.Refuse = true
	large := ann("approve")
	large.Value = json.RawMessage(`"` + strings.Repeat("x", core.MaxData) + `"`)
	rows := []struct {
		name, action string
		req          sagas.Request
		want         string
	}{
		{"no reason", sagas.UpdatePause, nobody, "say who asks and why"},
		{"a step", sagas.UpdatePause, ann("a"), `pause is for the saga as a whole: leave out the step "a"`},
		{"a value", sagas.UpdateResume, valued, `"refuse" and "value" are for answer`},
		{"a refusal", workflows.UpdateCompensate, refusing, `"refuse" and "value" are for answer`},
		{"not paused", sagas.UpdateResume, ann(""), "the saga is waiting and not paused: nothing to resume"},
		{"nothing failed", sagas.UpdateRetry, ann(""), "the saga is waiting and no step has failed: nothing to retry"},
		{"not failed", sagas.UpdateRetry, ann("a"), "step a is done: only what failed can be retried"},
		{"no such step", sagas.UpdateRetry, ann("x"), "there is no step x in saga travel version 1"},
		{"done", sagas.UpdateSkip, ann("a"), "step a is done while the saga is waiting: skip is for what waits or failed"},
		{"no step", sagas.UpdateSkip, ann(""), "name the step to skip"},
		{"no wait", sagas.UpdateAnswer, ann("b"), `there is no wait "b" in saga travel: it has approve`},
		{"too large", sagas.UpdateAnswer, large, "the limit is"},
	}
	for name, way := range ways {
		j := journey{ID: newID()}
		h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
		require.NoError(t, err)
		s.awaitStanding(h.ID(), core.StateWaiting)
		for _, row := range rows {
			require.Contains(t, way(s, h, row.action, row.req), row.want, "%s: %s", name, row.name)
		}
		status := s.sagaStatus(h.ID())
		require.Equal(t, core.StateWaiting, status.State)
		require.ElementsMatch(t, []string{"answer", "skip", "pause", "compensate"}, status.Actions, "what would be accepted")
		require.Empty(t, way(s, h, sagas.UpdateAnswer, ann("approve")))
		_, err = h.Wait(s.ctx())
		require.NoError(t, err)
		require.Equal(t, []string{"do a", "do b"}, s.chronicle(j.ID))
		_, err = s.steer(h.ID(), sagas.UpdateSkip)
		require.ErrorContains(t, err, "already completed")
	}
}

// holdfast runs the program holdfast against this site.
func (s *site) holdfast(args ...string) (status int, out, errs string) {
	s.t.Helper()
	var o, e bytes.Buffer
	status = cli.Main(s.ctx(), args, frame.Surroundings{In: strings.NewReader(""), Out: &o, Err: &e, Now: time.Now, Environ: []string{"USER=ann",
		"HOLDFAST_PREFIX=" + s.at.Prefix, "HOLDFAST_GROUP=" + group, "TEMPORAL_ADDRESS=" + s.at.Temporal, "TEMPORAL_NAMESPACE=" + s.at.Namespace,
		"AMQP_URL=" + s.at.AMQPURL, "DATABASE_URL=" + s.at.OrdersURL}})
	return status, o.String(), e.String()
}

// TestSagaCompensatedTwice after it has completed: by a workflow of its own, which
// says what it undoes; the second time there is nothing left.
func TestSagaCompensatedTwice(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), seat(), local("b"))
	w := s.agency(def)
	s.participants(s.seats(nil))
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	_, err = h.Wait(s.ctx())
	require.NoError(t, err)
	first := s.completed(h.ID())

	want := []string{"do a", "do seat", "do b", "undo b", "undo seat", "undo a"}
	for range 2 {
		status, out, errs := s.holdfast("saga", "compensate", h.ID(), "--reason", "changed her mind")
		require.Zero(t, status, out+errs)
		require.Contains(t, out, "compensated")
		require.Equal(t, want, s.chronicle(j.ID))
	}
	began := s.historyOf(workflows.SagaUndoID(h.ID())).Events[0].GetWorkflowExecutionStartedEventAttributes()
	var in sagas.Input
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(began.GetInput(), &in))
	d, err := s.temporal.DescribeWorkflowExecution(s.ctx(), h.ID(), "")
	require.NoError(t, err)
	require.Equal(t, d.GetWorkflowExecutionInfo().GetExecution().GetRunId(), in.Undo.RunID, "linked to the run that it undoes")
	require.Equal(t, "ann (claimed)", in.Undo.Operator)

	// Another workflow finds that all is undone.
	s.undo(h.ID(), j.ID, first, false)
	require.Equal(t, want, s.chronicle(j.ID))
	_, err = worker.JoinSaga(w.Worker, def, j.ID).Wait(s.ctx())
	stood(t, err, holdfast.ErrSagaCompensated)
}

// completed is the result of a saga's workflow.
func (s *site) completed(id string) (status sagas.Status) {
	s.t.Helper()
	require.NoError(s.t, s.temporal.GetWorkflow(s.ctx(), id, "").Get(s.ctx(), &status))
	return status
}

// TestSagaCancelledInACall: a request to cancel that comes while a participant is
// at work undoes what that does in the end.
func TestSagaCancelledInACall(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), seat(), local("b"))
	w := s.agency(def)
	begun, release := make(chan struct{}, 10), make(chan struct{})
	s.participants(s.seats(func(journey) error { begun <- struct{}{}; <-release; return nil }))
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	next(t, begun)
	require.NoError(t, s.temporal.CancelWorkflow(s.ctx(), h.ID(), ""))
	until(t, "it goes back", func() bool { return s.sagaStatus(h.ID()).State == core.StateCompensating })
	close(release)
	_, err = h.Wait(s.ctx())
	e := stood(t, err, holdfast.ErrSagaCompensated)
	require.Contains(t, e.Reason, "the workflow was asked to cancel")
	require.Equal(t, []string{"do a", "do seat", "undo seat", "undo a"}, s.chronicle(j.ID))
	require.Equal(t, core.StateCompensated, s.completed(h.ID()).State, "it has come to an end of its own")
}

// TestSagaTerminatedInACall: doctor finds it, and the program undoes it from its
// history, also what a participant did that the saga never learned of.
func TestSagaTerminatedInACall(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), seat(), local("b"))
	w := s.agency(def)
	begun, release := make(chan struct{}, 10), make(chan struct{})
	s.participants(s.seats(func(journey) error { begun <- struct{}{}; <-release; return nil }))
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	next(t, begun)
	s.awaitStep(h.ID(), "seat", core.Running)
	require.NoError(t, s.temporal.TerminateWorkflow(s.ctx(), h.ID(), "", "a wrong click"))
	close(release)
	until(t, "the seat is taken", func() bool { return len(s.chronicle(j.ID)) == 2 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = h.Wait(ctx)
	stood(t, err, holdfast.ErrSagaParked)

	until(t, "doctor finds it", func() bool {
		_, out, _ := s.holdfast("doctor")
		return strings.Contains(out, "holdfast saga show "+h.ID())
	})
	status, out, errs := s.holdfast("saga", "compensate", h.ID(), "--reason", "a wrong click")
	require.Zero(t, status, out+errs)
	require.Equal(t, []string{"do a", "do seat", "undo seat", "undo a"}, s.chronicle(j.ID))
	_, err = worker.JoinSaga(w.Worker, def, j.ID).Wait(s.ctx())
	require.True(t, errors.Is(err, holdfast.ErrSagaCompensated), "%v", err)
	until(t, "doctor no longer finds it, but step b, which may have been begun before it was terminated", func() bool {
		_, out, _ = s.holdfast("doctor")
		return !strings.Contains(out, "holdfast saga show "+h.ID()) && strings.Contains(out, "such as step b of "+h.ID())
	})
}
