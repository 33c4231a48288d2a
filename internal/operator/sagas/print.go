package sagas

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/internal/operator/history"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/saga/core"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// Print implements frame.Shown.
func (d shownSaga) Print(w io.Writer, now time.Time) error {
	if err := d.printFields(w, now); err != nil {
		return err
	}
	if d.Status != nil {
		if err := d.printTree(w, now); err != nil {
			return err
		}
	} else if d.Plan != nil {
		if err := (shownSaga{Detail: Detail{Status: &sagaflow.Status{Plan: *d.Plan}}, Paint: d.Paint}).printTree(w,
			now); err != nil {
			return err
		}
	}
	if len(d.Next) > 0 {
		text.Printf(w, "\nWhat comes next\n")
		for _, line := range d.Next {
			text.Printf(w, "  %s\n", text.OneLine(line))
		}
	}
	if d.Status != nil {
		if err := printSagaStory(w, d.Status.Story, now); err != nil {
			return err
		}
	}
	text.PrintCommands(w, d.Commands)
	if d.data && d.Status != nil {
		text.Printf(w, "\nState\n%s\n", text.Printable(dataText(d.Status.Core.Data)))
	}
	if len(d.Steps) > 0 {
		return history.PrintSteps(w, "History", d.Steps, d.Cut, now)
	}
	return nil
}

func (d shownSaga) printFields(w io.Writer, now time.Time) error {
	t := text.NewTable(w)
	field := func(name, value string) {
		if value != "" {
			t.Row(name, value)
		}
	}
	field("saga", d.ID)
	field("name", d.Name)
	if d.Version > 0 {
		field("version", strconv.Itoa(d.Version))
	}
	field("key", d.Key)
	field("group", d.Group)
	field("state", d.stateText())
	if d.Status != nil {
		field("reason", d.Reason)
		if d.State != core.StateCompensating && d.State != core.StateCompensated { // else the reason says it
			field("cause", causeText(d.Status.Core.Cause))
		}
		if d.Status.Late > 0 {
			field("late replies", strconv.Itoa(d.Status.Late))
		}
		if d.Status.Untrusted > 0 {
			field("replies that did not count", strconv.Itoa(d.Status.Untrusted))
		}
	}
	field("unknown", d.Unknown)
	for _, p := range d.Pending {
		field("under way", p.Sentence())
	}
	field("part of", d.Parent)
	field("started", text.Clock(d.Started, now))
	if d.Closed != nil {
		field("closed", text.Clock(*d.Closed, now))
	}
	field("workflow", d.WorkflowID)
	field("run", d.RunID)
	field("ui", d.UI)
	field("ui of the first", d.Undoes)
	return t.Flush()
}

func printSagaStory(w io.Writer, events []sagaflow.Event, now time.Time) error {
	if len(events) == 0 {
		return nil
	}
	text.Printf(w, "\nWhat happened\n")
	t := text.NewTable(w, "  TIME", "WHAT", "STEP", "BY", "WHY")
	for _, e := range events {
		t.Row("  "+e.At.In(now.Location()).Format(text.DateTime), e.What, text.OrDash(e.Step), text.OrDash(e.Operator),
			text.OrDash(e.Text))
	}
	return t.Flush()
}

// marks are the statuses as signs, words and levels. The empty status is that of
// a step that was not begun.
var marks = map[core.Status]struct {
	sign, word string
	level      text.Level
}{
	core.Pending:    {"·", "not begun", ""},
	core.Running:    {"▶", "under way", text.LevelWarning},
	core.Retrying:   {"↻", "to be tried again", text.LevelWarning},
	core.Done:       {"✓", "done", text.LevelOK},
	core.Skipped:    {"»", "skipped", ""},
	core.Refused:    {"⊘", "refused", text.LevelProblem},
	core.Failed:     {"✗", "failed", text.LevelProblem},
	core.Stopped:    {"✗", "stopped", text.LevelWarning},
	core.Undoing:    {"↶", "being undone", text.LevelWarning},
	core.Reundoing:  {"↶", "undo to be tried again", text.LevelWarning},
	core.Undone:     {"↩", "undone", text.LevelOK},
	core.UndoFailed: {"‼", "undo failed", text.LevelProblem},

	core.UnknownOutside: {"?", core.UnknownOutside.String(), text.LevelWarning},
}

// printTree draws the steps: what is in a group hangs below it.
func (d shownSaga) printTree(w io.Writer, now time.Time) error {
	var drawn strings.Builder
	t := text.NewTable(&drawn)
	t.Painted("  STEP", "KIND", d.Paint.Paint("", "STATUS"), "TOOK", "TRIES", "NOTE")
	for i := range d.Status.Plan.Steps {
		d.draw(t, &d.Status.Plan.Steps[i], "  ", "  ", "", now)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	text.Printf(w, "\nSteps\n")
	for line := range strings.Lines(drawn.String()) {
		text.Printf(w, "%s\n", strings.TrimRight(line, " \n"))
	}
	return nil
}

// draw draws a step after here, and what is in it after below. not is what those
// are that will never be done; empty: it may be.
func (d shownSaga) draw(t *text.Table, s *core.Step, here, below, not string, now time.Time) {
	at := d.at(s)
	if branches(s) {
		t.Painted(text.OneLine(here+groupName(s)), "", d.Paint.Paint("", ""), "", "", not)
	} else {
		d.drawStep(t, s, at, here, not, now)
	}
	for i := range s.Steps {
		in, left := &s.Steps[i], not
		if at.Chosen != nil && chosenCase(s, *at.Chosen) != in {
			left = "not chosen"
		}
		first, rest := "├─ ", "│  "
		if i == len(s.Steps)-1 {
			first, rest = "└─ ", "   "
		}
		d.draw(t, in, below+first, below+rest, left, now)
	}
}

// drawStep draws a step that has a status of its own.
func (d shownSaga) drawStep(t *text.Table, s *core.Step, at core.StepState, here, not string, now time.Time) {
	m := marks[at.Status]
	switch {
	case d.Status.Core.Phase == "": // nobody could tell
		m.sign, m.word = "?", "unknown"
	case not != "" && at.Status == core.Pending:
		m.word = not
	case at.NoWorker:
		m.word, m.level = "no worker", text.LevelProblem
	case s.Kind == core.Wait && at.Status == core.Running:
		m.word = "waiting"
	}
	name := here + m.sign + " " + s.Name
	if s.Pivot {
		name += " ◆"
	}
	t.Painted(text.OneLine(name), text.OneLine(kindText(s)), d.Paint.Paint(m.level, m.word), took(at, now), triesText(at),
		text.OneLine(noteText(s, at, d.Status.Core.Phase == core.Forwards, now)))
}

func (d shownSaga) at(s *core.Step) core.StepState {
	if at := d.Status.Core.Steps[s.Name]; at != nil {
		return *at
	}
	return core.StepState{}
}

// groupName names what holds other steps.
func groupName(s *core.Step) string {
	switch {
	case s.Kind == core.Parallel:
		return "∥ " + s.Name
	case s.Case != "":
		return "case " + s.Case
	case strings.HasSuffix(s.Name, ".otherwise"):
		return "otherwise"
	}
	return "→ " + s.Name
}

// kindText says what a step is.
func kindText(s *core.Step) string {
	var more string
	switch s.Kind {
	case core.Message:
		more = s.Topic
	case core.Activity:
		more = s.Type
	case core.Saga:
		if s.Saga != nil {
			more = s.Saga.Name
		}
	}
	return strings.TrimSpace(string(s.Kind) + " " + more)
}

// took is how long a step has taken, from its beginning to the end of its Do, or
// until now.
func took(at core.StepState, now time.Time) string {
	switch {
	case at.Began.IsZero():
		return ""
	case at.Status == core.Running || at.Status == core.Retrying || at.Ended.Before(at.Began):
		return span(now.Sub(at.Began))
	}
	return span(at.Ended.Sub(at.Began))
}

// span is a duration, in milliseconds where it is short.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0ms"
	case d < 10*time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	}
	return text.Age(d)
}

func triesText(at core.StepState) string {
	if at.Tries == 0 {
		return ""
	}
	s := strconv.Itoa(at.Tries)
	if at.UndoTries > 0 {
		s += ", undo " + strconv.Itoa(at.UndoTries)
	}
	return s
}

// noteText is what else there is to say of a step; open says that the saga goes
// forward.
func noteText(s *core.Step, at core.StepState, open bool, now time.Time) string {
	var notes []string
	if s.Conditional && at.Status == core.Pending && open {
		notes = append(notes, "only if its condition holds")
	}
	if at.Chosen != nil {
		label := *at.Chosen
		if label == "" {
			label = "otherwise"
		}
		notes = append(notes, "chose "+label)
	}
	if !at.Next.IsZero() && (at.Status == core.Retrying || at.Status == core.Reundoing) {
		notes = append(notes, "next try "+text.Clock(at.Next, now))
	}
	if at.Error != "" {
		e := at.Error
		if at.Class != "" && at.Class != "error" {
			e = string(at.Class) + ": " + e
		}
		notes = append(notes, text.CutText(e, 200))
	}
	if at.Status == core.Done && !s.Undo && !s.NoUndo && s.Kind != core.Choice && s.Kind != core.Wait {
		notes = append(notes, "no Undo")
	}
	if at.Status == core.Undone && !at.UndoEnded.IsZero() {
		notes = append(notes, fmt.Sprintf("undone at %s", at.UndoEnded.In(now.Location()).Format("15:04:05")))
	}
	return strings.Join(notes, "; ")
}
