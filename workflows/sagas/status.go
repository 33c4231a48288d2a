package sagas

import (
	"slices"

	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// standing is where the saga stands, in one of core's words.
func (s *sagaRun) standing() string {
	if s.detailed && (!s.planned && !s.m.Ended() || s.opening) {
		return core.StateNoWorker
	}
	state := s.m.Standing()
	if state == core.StateWaiting && s.waitsFor() == "" {
		return core.StateRunning // whether it waits is being decided
	}
	return state
}

// status is what the query answers, and the result.
func (s *sagaRun) status() Status {
	state := s.standing()
	out := Status{ID: s.in.ID, Group: s.in.Group, Name: s.in.Name, Version: s.in.Plan.Version, Key: s.in.Key,
		State: state, Database: s.in.Database,
		Plan: *s.in.Plan, Core: *s.m.State(), Answers: s.answers, Since: s.since, Waits: s.held,
		Story: slices.Clone(s.story), Late: s.late, Untrusted: s.untrusted, Content: s.in.Content,
		Began: s.in.Began, Trace: s.in.Trace}
	out.Step, out.Reason = s.reason(state)
	for _, a := range s.actions {
		if s.possible(&a) {
			out.Actions = append(out.Actions, a.name)
		}
	}
	return s.fitting(out)
}

// possible reports whether an action would be accepted now, for some step.
func (s *sagaRun) possible(a *sagaAction) bool {
	if s.m.Ended() {
		return false // a completed saga is undone by another workflow
	}
	steps := []string{""}
	if a.name == UpdateSkip || a.name == UpdateAnswer {
		steps = nil
		s.in.Plan.Each(func(x *core.Step, _ int) { steps = append(steps, x.Name) })
	}
	return slices.ContainsFunc(steps, func(step string) bool { return a.check(Request{Step: step}) == nil })
}

// reason names the step that the state is about, and says why it is so.
func (s *sagaRun) reason(state string) (step, reason string) {
	name, at := s.m.Troubled()
	switch state {
	case core.StateNoWorker:
		return name, s.noWorkerText()
	case core.StatePaused:
		return "", s.paused
	case core.StateParked, core.StateCompensationFailed:
		return name, at.Error
	case core.StateCompensating, core.StateCompensated:
		if c := s.m.State().Cause; c != nil {
			return c.Step, causeText(c)
		}
	case core.StateWaiting:
		name = s.waitsFor()
		return name, "for an answer"
	}
	for _, t := range s.tries {
		if w, there := s.held[t.step.Name]; there {
			return t.step.Name, w.String()
		}
		if at := s.m.Step(t.step.Name); at.Error != "" {
			return t.step.Name, at.Error
		}
	}
	return "", ""
}

// waitsFor is the wait that is under way, and not only being decided about.
func (s *sagaRun) waitsFor() string {
	for _, t := range s.tries {
		if _, began := s.since[t.step.Name]; began && t.step.Kind == core.Wait {
			return t.step.Name
		}
	}
	return ""
}

// cause says why the saga goes back; empty: it does not.
func (s *sagaRun) cause() string {
	if c := s.m.State().Cause; c != nil {
		return causeText(c)
	}
	return ""
}

// show says in the Temporal UI, and in the search attribute, where the saga stands.
// A saga that never left its happy path writes nothing.
func (s *sagaRun) show(ctx workflow.Context) {
	s.changed = false
	state := s.standing()
	s.detailed = s.detailed || state != core.StateRunning && state != core.StateCompleted
	if s.detailed {
		workflow.SetCurrentDetails(ctx, s.currentDetails())
	}
	if state == s.shown || s.shown == "" && (state == core.StateRunning || state == core.StateCompleted) {
		return
	}
	s.shown = state
	_ = workflow.UpsertTypedSearchAttributes(ctx, workflows.KeyState.ValueSet(state))
	if state == core.StateParked || state == core.StateCompensationFailed {
		s.alert(ctx, state)
	}
}

// alert tells whoever should know that an operator is needed. That it cannot be
// told changes nothing.
func (s *sagaRun) alert(ctx workflow.Context, state string) {
	step, reason := s.reason(state)
	s.tell(ctx, Event{What: state, Step: step, Text: reason})
	_, at := s.m.Troubled()
	a := holdfast.Alert{Kind: holdfast.AlertParked, At: workflow.Now(ctx), Group: s.in.Group, ID: s.in.ID,
		Topic: s.in.Name, Key: s.in.Key,
		WorkflowID: workflow.GetInfo(ctx).WorkflowExecution.ID, Parked: true, Class: at.Class,
		Reason: s.parkedText(state, step, reason), Remedy: s.remedy(state, step)}
	s.raise(ctx, state, a)
}

// raise has an alert told, beside everything else.
func (s *sagaRun) raise(ctx workflow.Context, state string, a holdfast.Alert) {
	s.alerting++
	workflow.GoNamed(ctx, "alert", func(ctx workflow.Context) {
		lctx := workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
			StartToCloseTimeout: alertTimeout, RetryPolicy: once, Summary: workflows.Shorten("alert: " + state + ", " +
				sagaSubject(s.in))})
		_ = workflow.ExecuteLocalActivity(lctx, activities.Alert, a).Get(ctx, nil)
		s.alerting--
	})
}

// tell adds a line to the story. Of the same step's failures, the last one stays.
func (s *sagaRun) tell(ctx workflow.Context, e Event) {
	e.At, e.Step, e.Operator, e.Text = workflow.Now(ctx), workflows.Clip(e.Step, 200),
		workflows.Clip(e.Operator, 200), workflows.Clip(e.Text, maxError)
	if n := len(s.story); n > 0 && (e.What == "failed" || e.What == "undo-failed") && s.story[n-1].What == e.What &&
		s.story[n-1].Step == e.Step {
		s.story[n-1] = e
		return
	}
	s.story = workflows.AddTo(s.story, e)
}

// tellEvent tells what is worth it of what happened to the machine.
func (s *sagaRun) tellEvent(ctx workflow.Context, e core.Event) {
	at := s.m.Step(e.Step)
	switch e.Kind {
	case core.DoEnded, core.UndoEnded:
		switch at.Status {
		case core.Retrying, core.Reundoing, core.Failed, core.Refused, core.UndoFailed:
			s.tell(ctx, Event{What: tried(at.Status), Step: e.Step, Text: s.triedText(at)})
		case core.UnknownOutside:
			s.tell(ctx, Event{What: string(at.Status), Step: e.Step, Text: unknownOutside(at)})
		}
	case core.Stranded:
		if e.Found {
			s.tell(ctx, Event{What: "found", Step: e.Step, Text: "a worker that has the saga's version and database"})
		} else {
			s.tell(ctx, Event{What: core.StateNoWorker, Step: e.Step, Text: s.noWorkerText()})
		}
	case core.Pause, core.Continue, core.RetryNow, core.Skip, core.Undo:
		if e.Kind == core.Pause {
			s.paused = workflows.Clip(e.Operator+": "+e.Reason, maxError)
		}
		s.tell(ctx, Event{What: string(e.Kind), Step: e.Step, Operator: e.Operator, Text: e.Reason})
	}
}

// unknownOutside says what is known of a step whose Undo found no row.
func unknownOutside(at core.StepState) string {
	begun := "was begun"
	if at.Tries == 0 {
		begun = "may have been begun"
	}
	return "its Do " + begun + " and has no row in its database: no Undo was run, and what it did elsewhere is not known"
}

// tried is the word for how a try ended that did not end well.
func tried(status core.Status) string {
	switch status {
	case core.Refused:
		return "refused"
	case core.UndoFailed, core.Reundoing:
		return "undo-failed"
	}
	return "failed"
}
