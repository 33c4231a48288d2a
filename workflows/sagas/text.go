package sagas

import (
	"fmt"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// alertTimeout bounds the telling of an alert.
const alertTimeout = 5 * time.Second

// sagaSubject names a saga in few words.
func sagaSubject(in Input) string {
	return workflows.OneLine(strings.TrimSpace(in.Name + " " + workflows.Clip(in.Key, 200)))
}

// sagaSummary is the line about a new saga that the Temporal UI shows beside its
// name; sagaDetails say there what it is for.
func sagaSummary(in Input) string { return workflows.Shorten("saga: " + sagaSubject(in)) }

func sagaDetails(in Input) string {
	s := fmt.Sprintf("Saga %s of producer group %s", workflows.Code(in.Name), workflows.Code(in.Group))
	if in.Key != "" {
		s += ", key " + workflows.Code(in.Key)
	}
	s += "."
	if in.Plan == nil {
		return s
	}
	s += fmt.Sprintf(" Version %d.\n\n", in.Plan.Version)
	n := 0
	in.Plan.Each(func(x *core.Step, depth int) {
		if n++; n <= maxRows {
			s += strings.Repeat("  ", depth) + "- " + stepLine(x) + "\n"
		}
	})
	return s
}

func undoSummary(in Input) string {
	return workflows.Shorten(fmt.Sprintf("undo saga %s: %s (%s)", sagaSubject(in), workflows.OneLine(in.Undo.Reason),
		workflows.OneLine(in.Undo.Operator)))
}

func undoDetails(in Input) string {
	return fmt.Sprintf("Undoes the saga %s, which has ended: run %s.\n\n%s wants it: %s",
		workflows.Code(in.ID), workflows.Code(in.Undo.RunID), workflows.Code(in.Undo.Operator),
		workflows.Cell(in.Undo.Reason))
}

// maxDetails is less than what Temporal takes as a workflow's details, in bytes: it
// would refuse to start the saga.
const maxDetails = 16 << 10

// maxRows limits the steps that a text lists.
const maxRows = 60

// stepLine says what a step is.
func stepLine(x *core.Step) string {
	s := workflows.Code(x.Name) + ": " + string(x.Kind)
	switch x.Kind {
	case core.Message:
		s += " " + workflows.Code(x.Topic)
	case core.Activity:
		s += " " + workflows.Code(x.Type)
	case core.Saga:
		if x.Saga != nil {
			s += " " + workflows.Code(x.Saga.Name)
		}
	}
	if x.Pivot {
		s += ", the pivot"
	}
	return s
}

// summary is the line that the Temporal UI shows beside a try.
func (s *sagaRun) summary(t *try) string {
	verb, topic := "do", t.step.Topic
	if t.undo {
		verb, topic = "undo", t.step.UndoTopic
	}
	line := verb + " " + t.step.Name
	if t.step.Kind == core.Message {
		line += " → " + topic
	}
	if t.n > 1 {
		line += fmt.Sprintf(", try %d", t.n)
	}
	if t.undo {
		line += ": " + workflows.OneLine(s.cause())
	}
	return line
}

func (s *sagaRun) againSummary(t *try) string { return s.summary(t) + ", asked again: no reply yet" }

func (s *sagaRun) prepareSummary(t *try) string {
	switch {
	case t.step.Kind == core.Choice:
		return "choose: " + t.step.Name
	case t.step.Kind == core.Wait:
		return "whether to wait for " + t.step.Name
	}
	return "input of " + t.step.Name
}

func (s *sagaRun) sleepSummary(step *core.Step) string {
	at := s.m.Step(step.Name)
	if at.Status == core.Reundoing {
		return fmt.Sprintf("until try %d to undo %s: %s", at.UndoTries+1, step.Name, workflows.OneLine(at.Error))
	}
	return fmt.Sprintf("until try %d of %s: %s", at.Tries+1, step.Name, workflows.OneLine(at.Error))
}

func (s *sagaRun) waitSummary(t *try) string {
	return fmt.Sprintf("until %s is answered, at most %v", t.step.Name, t.step.TryTimeout())
}

func (s *sagaRun) replySummary(t *try) string {
	topic := t.step.Topic
	if t.undo {
		topic = t.step.UndoTopic
	}
	return fmt.Sprintf("until %s is asked again: no reply from %s yet", t.step.Name, topic)
}

// unrepliedText says that a participant did not reply in time. trouble is why its
// message could not be published, if so.
func (s *sagaRun) unrepliedText(t *try, trouble string) string {
	topic := t.step.Topic
	if t.undo {
		topic = t.step.UndoTopic
	}
	text := fmt.Sprintf("no reply from %s within %v", topic, t.step.TryTimeout())
	if trouble != "" {
		text += ": " + trouble
	}
	return text
}

func (s *sagaRun) noWorkerText() string {
	if s.stranded != "" {
		return fmt.Sprintf("no worker of group %s that was asked %s", s.in.Group, s.stranded)
	}
	text := fmt.Sprintf("no worker of group %s has saga %s", s.in.Group, s.in.Name)
	if s.in.Plan.Version > 0 {
		text += fmt.Sprintf(" version %d", s.in.Plan.Version)
	}
	return text + ": start one that registers it"
}

// causeText says why a saga goes back, or went.
func causeText(c *core.Cause) string {
	switch {
	case c.Operator != "":
		return c.Operator + ": " + c.Reason
	case c.Refused:
		return "step " + c.Step + " was refused: " + c.Reason
	}
	return "step " + c.Step + " failed: " + c.Reason
}

// triedText says how a try ended, and what comes next.
func (s *sagaRun) triedText(at core.StepState) string {
	text := at.Error
	if !at.Next.IsZero() {
		text = workflows.Clip(text, maxError-60) + "; tried again at " + at.Next.UTC().Format(time.RFC3339)
	}
	return text
}

func answerLine(req Request) string {
	if req.Refuse {
		return "no: " + req.Reason
	}
	return "yes: " + req.Reason
}

func (s *sagaRun) parkedText(state, step, reason string) string {
	if state == core.StateCompensationFailed {
		return fmt.Sprintf("step %s could not be undone: %s", step, reason)
	}
	return fmt.Sprintf("step %s: %s", step, reason)
}

// remedy says for an alert what an operator can do.
func (s *sagaRun) remedy(state, step string) string {
	if state == core.StateCompensationFailed {
		return fmt.Sprintf("Mend the cause, then %s; or undo %s by hand, then %s.",
			s.command(UpdateRetry), step, s.command(UpdateSkip, "--step", step))
	}
	return fmt.Sprintf("Mend the cause, then %s; or %s.", s.command(UpdateRetry), s.command(workflows.UpdateCompensate))
}

// command is a command line by which an operator acts on the saga.
func (s *sagaRun) command(act string, flags ...string) string {
	return workflows.ActCommand(s.in.Prefix, "saga "+act, s.in.ID, flags...)
}

// currentDetails say in the Temporal UI where the saga stands, what an operator can
// do, and how its steps are.
func (s *sagaRun) currentDetails() string {
	state := s.standing()
	step, reason := s.reason(state)
	text := fmt.Sprintf("**%s**", state)
	if step != "" {
		text += ": " + workflows.Code(step)
	}
	if reason != "" {
		text += ": " + workflows.Cell(workflows.Clip(reason, maxError))
	}
	text += s.possibleText()
	return text + s.table()
}

func (s *sagaRun) possibleText() string {
	text := ""
	for i := range s.actions {
		if a := &s.actions[i]; s.possible(a) {
			text += fmt.Sprintf("\n- `%s` `%s`, or %s", a.name, a.example(), s.command(a.name, a.flags()...))
		}
	}
	if text == "" {
		return "\n\nNothing is left to do."
	}
	return "\n\nAn operator can, with an Update or with a command:\n" + text
}

// example is an argument of the Update.
func (a *sagaAction) example() string {
	if a.name == UpdateSkip || a.name == UpdateAnswer {
		return `{"operator": "…", "reason": "…", "step": "…"}`
	}
	return `{"operator": "…", "reason": "…"}`
}

// flags are those that the command of the action needs.
func (a *sagaAction) flags() []string {
	if a.name == UpdateSkip || a.name == UpdateAnswer {
		return []string{"--step", "STEP"}
	}
	return nil
}

// statusText is a step's status in the table; empty: it was not begun.
func statusText(s core.Status) string {
	if s == core.Pending {
		return ""
	}
	return s.String()
}

// table lists the steps.
func (s *sagaRun) table() string {
	text, n := "\n\n| step | state | tries | took | last error |\n|---|---|---|---|---|\n", 0
	s.in.Plan.Each(func(x *core.Step, depth int) {
		if x.Kind == core.Sequence || x.Kind == core.Parallel {
			return
		}
		if n++; n > maxRows {
			return
		}
		at := s.m.Step(x.Name)
		took := ""
		if !at.Ended.IsZero() {
			took = at.Ended.Sub(at.Began).Round(time.Millisecond).String()
		}
		trouble := at.Error
		if w, there := s.held[x.Name]; there {
			trouble = w.String()
		}
		text += fmt.Sprintf("| %s%s | %s | %d | %s | %s |\n", strings.Repeat("&nbsp;&nbsp;", depth),
			workflows.Code(x.Name), statusText(at.Status), at.Tries+at.UndoTries, took,
			workflows.Cell(workflows.Clip(trouble, 200)))
	})
	if n > maxRows {
		text += fmt.Sprintf("\n%d more steps.\n", n-maxRows)
	}
	return text
}
