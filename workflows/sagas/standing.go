package sagas

import (
	"fmt"
	"strings"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
)

// Standing says where the saga stands, for programs and people.
func (s Status) Standing() holdfast.SagaStanding {
	out := holdfast.SagaStanding{ID: s.ID, State: s.State, Step: s.Step, Reason: s.Reason}
	switch s.State {
	case core.StatePaused:
		out.WaitsFor, out.Since = "an operator, who resumes it", s.lastTold(string(core.Pause))
	case core.StateNoWorker:
		out.WaitsFor, out.Since = s.worker(), s.lastTold(core.StateNoWorker)
	case core.StateParked, core.StateCompensationFailed:
		out.WaitsFor, out.Since = "an operator", s.lastTold(s.State)
	case core.StateWaiting:
		if out.WaitsFor, out.Since = "an answer", s.Since[s.Step]; s.Step != "" { // nobody may have answered which
			out.WaitsFor += " to step " + s.Step
		}
	case core.StateRunning, core.StateCompensating:
		s.underWay(&out)
	}
	return out
}

// worker says which worker is missing.
func (s Status) worker() string {
	if strings.Contains(s.Reason, "has the saga's database") {
		return "a worker of group " + s.Group + " that has the saga's database"
	}
	text := "a worker of group " + s.Group + " that has saga " + s.Name
	if s.Version > 0 {
		text += fmt.Sprintf(" version %d", s.Version)
	}
	return text
}

// lastTold is when something happened last; the zero time if that is not known.
func (s Status) lastTold(what string) (at time.Time) {
	for _, e := range s.Story {
		if e.What == what {
			at = e.At
		}
	}
	return at
}

// underWay says what the first step that is under way waits for.
func (s Status) underWay(out *holdfast.SagaStanding) {
	found := false
	s.Plan.Each(func(step *core.Step, _ int) {
		at := s.Core.Steps[step.Name]
		if found || at == nil || step.Kind == core.Sequence || step.Kind == core.Parallel {
			return
		}
		waits, since := waitsOf(step, at)
		if found = waits != ""; !found {
			return
		}
		if out.Step = step.Name; s.State == core.StateRunning {
			out.Reason = at.Error // of the last try
		}
		if held, there := s.Waits[step.Name]; there {
			out.Reason = held.String()
		}
		out.WaitsFor, out.Since = waits, since
		if began, there := s.Since[step.Name]; there {
			out.Since = began
		}
	})
}

// waitsOf says what a step that is under way waits for, and since when as far as that is
// known; empty: it is not under way.
func waitsOf(step *core.Step, at *core.StepState) (waits string, since time.Time) {
	switch at.Status {
	case core.Retrying:
		return fmt.Sprintf("try %d of step %s, at %s", at.Tries+1, step.Name, at.Next.UTC().Format(time.RFC3339)), at.Began
	case core.Reundoing:
		return fmt.Sprintf("try %d of the Undo of step %s, at %s", at.UndoTries+1, step.Name,
			at.Next.UTC().Format(time.RFC3339)), at.Ended
	case core.Undoing:
		if step.Kind == core.Message {
			return "the reply of the participant of " + step.UndoTopic, at.Ended
		}
		return "the Undo of step " + step.Name, at.Ended
	case core.Running:
	default:
		return "", time.Time{}
	}
	switch step.Kind {
	case core.Message:
		return "the reply of the participant of " + step.Topic, at.Began
	case core.Wait:
		return "an answer to step " + step.Name, at.Began
	case core.Saga:
		return "the end of the saga of step " + step.Name, at.Began
	}
	return "step " + step.Name, at.Began
}

// AnsweredBy says who answered a wait of the saga before, and how; empty if nobody did,
// as far as is known.
func (s Status) AnsweredBy(step string) string {
	if early, there := s.Answers[step]; there {
		return "by " + early.Operator
	}
	var by string
	for _, e := range s.Story {
		switch {
		case e.Step != step:
		case e.What == UpdateAnswer:
			by = fmt.Sprintf("by %s at %s (%s)", e.Operator, e.At.UTC().Format(time.RFC3339), e.Text)
		case e.What == "rejected" && strings.HasPrefix(e.Text, "step "), e.What == string(core.RetryNow):
			by = "" // the step could not take it, or begins anew: it is waited for again
		}
	}
	at := s.Core.Steps[step]
	if by == "" && at != nil && at.Status == core.Done && s.Plan.Find(step) != nil &&
		s.Plan.Find(step).Kind == core.Wait && s.lastOf(step) != string(core.Skip) {
		by = "before"
	}
	return by
}

// lastOf is what happened last to a step, as far as the story says.
func (s Status) lastOf(step string) (what string) {
	for _, e := range s.Story {
		if e.Step == step {
			what = e.What
		}
	}
	return what
}
