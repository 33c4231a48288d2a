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
	if len(d.Commands) > 0 {
		printf(w, "\nWhat can be done\n")
		for _, line := range d.Commands {
			printf(w, "  %s\n", line)
		}
	}
	if d.data && d.Status != nil {
		printf(w, "\nState\n%s\n", printable(dataText(d.Status.Core.Data)))
	}
	if len(d.Steps) > 0 {
		return printSteps(w, "History", detail{Steps: d.Steps, Cut: d.Cut}, now)
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
		if cause := causeText(d.Status.Core.Cause); cause != d.Reason {
			field("cause", cause)
		}
		if d.Status.Late > 0 {
			field("late replies", strconv.Itoa(d.Status.Late))
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
}

// printTree draws the steps: what is in a group hangs below it.
func (d shownSaga) printTree(w io.Writer, now time.Time) error {
	printf(w, "\nSteps\n")
	t := newTable(w)
	t.painted("  STEP", "KIND", d.paint.paint("", "STATUS"), "TOOK", "TRIES", "NOTE")
	d.branch(t, d.Status.Plan.Steps, "  ", "", now)
	return t.flush()
}

// branch draws steps below each other. not is what those are that will never be
// done; empty: they may be.
func (d shownSaga) branch(t *table, steps []core.Step, indent, not string, now time.Time) {
	for i := range steps {
		s := &steps[i]
		here, below := "", ""
		if indent != "  " {
			here, below = edges(i == len(steps)-1)
		}
		at, note := d.at(s), not
		sign := marks[at.Status].sign
		if d.Status.Core.Phase == "" { // nobody could tell
			sign = "?"
		}
		name := indent + here + sign + " " + s.Name
		if s.Pivot {
			name += " ◆"
		}
		switch s.Kind {
		case core.Sequence, core.Parallel:
			name = indent + here + groupName(s)
			t.painted(oneLine(name), "", d.paint.paint("", ""), "", "", note)
			d.branch(t, s.Steps, indent+below, not, now)
			continue
		}
		m := marks[at.Status]
		word := m.word
		if d.Status.Core.Phase == "" {
			word = "unknown"
		}
		if not != "" && at.Status == core.Pending {
			word = not
		}
		t.painted(oneLine(name), oneLine(kindText(s)), d.paint.paint(m.level, word), took(at, now), triesText(at), oneLine(noteText(s, at, now)))
		d.cases(t, s, at, indent+below, not, now)
	}
}

// cases draws those of a choice.
func (d shownSaga) cases(t *table, s *core.Step, at core.StepState, indent, not string, now time.Time) {
	for i := range s.Steps {
		c := &s.Steps[i]
		here, below := edges(i == len(s.Steps)-1)
		left := not
		if at.Chosen != nil && chosenCase(s, *at.Chosen) != c {
			left = "not chosen"
		}
		t.painted(oneLine(indent+here+groupName(c)), "", d.paint.paint("", ""), "", "", left)
		d.branch(t, c.Steps, indent+below, left, now)
	}
}

// edges are what stands before a branch, and before what hangs below it.
func edges(last bool) (here, below string) {
	if last {
		return "└─ ", "   "
	}
	return "├─ ", "│  "
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

// noteText is what else there is to say of a step.
func noteText(s *core.Step, at core.StepState, now time.Time) string {
	var notes []string
	if s.Conditional && at.Status == core.Pending {
		notes = append(notes, "only if its condition holds")
	}
	if at.Chosen != nil {
		label := *at.Chosen
		if label == "" {
			label = "otherwise"
		}
		notes = append(notes, "chose "+label)
	}
	if at.NoWorker {
		notes = append(notes, "no process has this version")
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
