package sagas

import (
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/saga/core"
)

// tooLong reports whether the rest should happen in a new run. From then on nothing
// is begun; what only waits is left to the next run, and the rest ends.
func (s *sagaRun) tooLong(ctx workflow.Context) bool {
	if !s.renewing && !s.m.Ended() && workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
		s.renewing = true
	}
	return s.renewing
}

// renewed is the input of the next run.
func (s *sagaRun) renewed() Input {
	in, status := s.in, s.status()
	status.Plan, status.Actions = core.Plan{}, nil
	in.Resumed, in.Renewed = &status, s.planned
	if !s.planned {
		in.Plan = nil
	}
	return in
}

// resume takes over what is known of the saga.
func (s *sagaRun) resume(from Status) {
	if len(from.Core.Data) == 0 {
		from.Core.Data = s.in.Data
	}
	if from.Core.Phase == "" {
		from.Core.Phase = core.Forwards
	}
	s.m = core.Resume(s.in.Plan, from.Core)
	s.late, s.untrusted, s.story = from.Late, from.Untrusted, slices.Clone(from.Story)
	if s.in.Database == "" {
		s.in.Database = from.Database
	}
	if from.State == core.StatePaused {
		s.paused = from.Reason
	}
	if s.in.Undo != nil && !s.in.Renewed {
		return // answers and waits ended with it
	}
	if from.Answers != nil {
		s.answers = from.Answers
	}
	if from.Since != nil {
		s.since = from.Since
	}
	if from.Waits != nil {
		s.held = from.Waits
	}
}
