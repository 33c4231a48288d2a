package sagas

import (
	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// A participant that cannot work on its calls, because its database is away, say, is
// nobody's fault: the saga waits for it beyond the step's Timeout. So the time that it
// is known to wait does not count. The processes of a participant are asked each time
// that the message is published again, and once more before its time is over.

// looksLast reports whether the participant is asked once more before a try is given up:
// not in what was recorded before that was so.
func (s *sagaRun) looksLast(ctx workflow.Context) bool {
	return workflow.GetVersion(ctx, "participants that wait", workflow.DefaultVersion, 1) != workflow.DefaultVersion
}

// noteWaits notes whether the participant of t waits itself, and reports whether the time
// for its reply begins anew: as long as it waits, and once it does not any more.
func (s *sagaRun) noteWaits(ctx workflow.Context, t *try, o core.Outcome, w *activities.SagaWaits) bool {
	step := t.step.Name
	_, before := s.held[step]
	if w == nil || o.Kind != core.OutcomePending || !s.hasPatience(ctx, t) || !s.looksLast(ctx) {
		delete(s.held, step)
		s.changed = s.changed || before
		return before && w == nil
	}
	now := Waits{Who: workflows.Clip(w.Who, 300), Since: w.Since, Reason: workflows.Clip(w.Reason, maxError)}
	s.held[step], s.changed = now, true
	if !before {
		s.tell(ctx, Event{What: "waits", Step: step, Text: now.String()})
	}
	return true
}

// hasPatience reports whether t waits for a participant that waits. An Undo has to be
// done, however long that takes.
func (s *sagaRun) hasPatience(ctx workflow.Context, t *try) bool {
	return t.undo && t.step.Patience >= 0 || t.step.HasPatience(workflow.Now(ctx).Sub(s.m.Step(t.step.Name).Began))
}
