package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// print implements shown.
func (d shownSaga) print(w io.Writer, now time.Time) error {
	if err := d.printFields(w, now); err != nil {
		return err
	}
	if d.Status != nil {
		if err := d.printTree(w, now); err != nil {
			return err
		}
	} else if d.Plan != nil {
		if err := (shownSaga{sagaDetail: sagaDetail{Status: &workflows.SagaStatus{Plan: *d.Plan}}, paint: d.paint}).printTree(w, now); err != nil {
			return err
		}
	}
	if len(d.Next) > 0 {
		printf(w, "\nWhat comes next\n")
		for _, line := range d.Next {
			printf(w, "  %s\n", oneLine(line))
		}
	}
	if d.Status != nil {
		if err := printSagaStory(w, d.Status.Story, now); err != nil {
			return err
		}
	}
	printCommands(w, d.Commands)
	if d.data && d.Status != nil {
		printf(w, "\nState\n%s\n", printable(dataText(d.Status.Core.Data)))
	}
	if len(d.Steps) > 0 {
		return printSteps(w, "History", d.Steps, d.Cut, now)
	}
	return nil
}

func (d shownSaga) printFields(w io.Writer, now time.Time) error {
	t := newTable(w)
	field := func(name, value string) {
		if value != "" {
			t.row(name, value)
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
		field("under way", p.sentence())
	}
	field("part of", d.Parent)
	field("started", clock(d.Started, now))
	if d.Closed != nil {
		field("closed", clock(*d.Closed, now))
	}
	field("workflow", d.WorkflowID)
	field("run", d.RunID)
	field("ui", d.UI)
	field("ui of the first", d.Undoes)
	return t.flush()
}

func printSagaStory(w io.Writer, events []workflows.SagaEvent, now time.Time) error {
	if len(events) == 0 {
		return nil
	}
	printf(w, "\nWhat happened\n")
	t := newTable(w, "  TIME", "WHAT", "STEP", "BY", "WHY")
	for _, e := range events {
		t.row("  "+e.At.In(now.Location()).Format(dateTime), e.What, orDash(e.Step), orDash(e.Operator), orDash(e.Text))
	}
	return t.flush()
}

// marks are the statuses as signs, words and levels. The empty status is that of
// a step that was not begun.
var marks = map[core.Status]struct {
	sign, word string
	level      level
}{
	core.Pending:    {"·", "not begun", ""},
	core.Running:    {"▶", "under way", levelWarning},
	core.Retrying:   {"↻", "to be tried again", levelWarning},
	core.Done:       {"✓", "done", levelOK},
	core.Skipped:    {"»", "skipped", ""},
	core.Refused:    {"⊘", "refused", levelProblem},
	core.Failed:     {"✗", "failed", levelProblem},
	core.Stopped:    {"✗", "stopped", levelWarning},
	core.Undoing:    {"↶", "being undone", levelWarning},
	core.Reundoing:  {"↶", "undo to be tried again", levelWarning},
	core.Undone:     {"↩", "undone", levelOK},
	core.UndoFailed: {"‼", "undo failed", levelProblem},

	core.UnknownOutside: {"?", core.UnknownOutside.String(), levelWarning},
}

// printTree draws the steps: what is in a group hangs below it.
func (d shownSaga) printTree(w io.Writer, now time.Time) error {
	var drawn strings.Builder
	t := newTable(&drawn)
	t.painted("  STEP", "KIND", d.paint.paint("", "STATUS"), "TOOK", "TRIES", "NOTE")
	for i := range d.Status.Plan.Steps {
		d.draw(t, &d.Status.Plan.Steps[i], "  ", "  ", "", now)
	}
	if err := t.flush(); err != nil {
		return err
	}
	printf(w, "\nSteps\n")
	for line := range strings.Lines(drawn.String()) {
		printf(w, "%s\n", strings.TrimRight(line, " \n"))
	}
	return nil
}

// draw draws a step after here, and what is in it after below. not is what those
// are that will never be done; empty: it may be.
func (d shownSaga) draw(t *table, s *core.Step, here, below, not string, now time.Time) {
	at := d.at(s)
	if branches(s) {
		t.painted(oneLine(here+groupName(s)), "", d.paint.paint("", ""), "", "", not)
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
func (d shownSaga) drawStep(t *table, s *core.Step, at core.StepState, here, not string, now time.Time) {
	m := marks[at.Status]
	switch {
	case d.Status.Core.Phase == "": // nobody could tell
		m.sign, m.word = "?", "unknown"
	case not != "" && at.Status == core.Pending:
		m.word = not
	case at.NoWorker:
		m.word, m.level = "no worker", levelProblem
	case s.Kind == core.Wait && at.Status == core.Running:
		m.word = "waiting"
	}
	name := here + m.sign + " " + s.Name
	if s.Pivot {
		name += " ◆"
	}
	t.painted(oneLine(name), oneLine(kindText(s)), d.paint.paint(m.level, m.word), took(at, now), triesText(at), oneLine(noteText(s, at, d.Status.Core.Phase == core.Forwards, now)))
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
	return age(d)
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
		notes = append(notes, "next try "+clock(at.Next, now))
	}
	if at.Error != "" {
		e := at.Error
		if at.Class != "" && at.Class != "error" {
			e = string(at.Class) + ": " + e
		}
		notes = append(notes, cutText(e, 200))
	}
	if at.Status == core.Done && !s.Undo && !s.NoUndo && s.Kind != core.Choice && s.Kind != core.Wait {
		notes = append(notes, "no Undo")
	}
	if at.Status == core.Undone && !at.UndoEnded.IsZero() {
		notes = append(notes, fmt.Sprintf("undone at %s", at.UndoEnded.In(now.Location()).Format("15:04:05")))
	}
	return strings.Join(notes, "; ")
}
