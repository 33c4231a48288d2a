package sagas

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/saga/core"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// Line is a step of a saga for people to read.
type Line struct {
	// Indent draws the tree that the step hangs in.
	Indent string
	// Sign is the status as one character; empty where the step only holds others.
	Sign, Name string
	// Pivot says that there is no way back after it.
	Pivot bool
	// Kind is what the step is, Status where it stands, Level how bad that is.
	Kind, Status string
	Level        text.Level
	// Took, Tries and Note are empty where there is nothing to say.
	Took, Tries, Note string
}

// Title is the step's name with its signs.
func (l Line) Title() string {
	title := l.Name
	if l.Sign != "" {
		title = l.Sign + " " + title
	}
	if l.Pivot {
		title += " ◆"
	}
	return title
}

// Lines are the steps in the plan's order, what is in a group below it. Where nobody could
// tell how they stand, they are those of the definition; without that there are none.
func (d Detail) Lines(now time.Time) (lines []Line) {
	s := d.Status
	if s == nil && d.Plan != nil {
		s = &sagaflow.Status{Plan: *d.Plan}
	}
	if s == nil {
		return nil
	}
	t := tree{status: s, now: now}
	for i := range s.Plan.Steps {
		t.draw(&s.Plan.Steps[i], "", "", "")
	}
	return t.lines
}

// tree gathers the lines of a saga.
type tree struct {
	status *sagaflow.Status
	now    time.Time
	lines  []Line
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

// draw draws a step after here, and what is in it after below. not is what those
// are that will never be done; empty: it may be.
func (t *tree) draw(s *core.Step, here, below, not string) {
	at := t.at(s)
	if branches(s) {
		t.lines = append(t.lines, Line{Indent: here, Name: groupName(s), Note: not})
	} else {
		t.lines = append(t.lines, t.line(s, at, here, not))
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
		t.draw(in, below+first, below+rest, left)
	}
}

// line is a step that has a status of its own.
func (t *tree) line(s *core.Step, at core.StepState, here, not string) Line {
	m := marks[at.Status]
	switch {
	case t.status.Core.Phase == "": // nobody could tell
		m.sign, m.word = "?", "unknown"
	case not != "" && at.Status == core.Pending:
		m.word = not
	case at.NoWorker:
		m.word, m.level = "no worker", text.LevelProblem
	case s.Kind == core.Wait && at.Status == core.Running:
		m.word = "waiting"
	}
	return Line{Indent: here, Sign: m.sign, Name: s.Name, Pivot: s.Pivot, Kind: kindText(s), Status: m.word,
		Level: m.level, Took: took(at, t.now), Tries: triesText(at),
		Note: noteText(s, at, t.status.Core.Phase == core.Forwards, t.now)}
}

func (t *tree) at(s *core.Step) core.StepState {
	if at := t.status.Core.Steps[s.Name]; at != nil {
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
