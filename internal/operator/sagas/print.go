package sagas

import (
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
	if d.Status != nil || d.Plan != nil {
		if err := d.printTree(w, now); err != nil {
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
	switch {
	case d.data && d.Encrypted != "":
		text.Printf(w, "\nState\n%s\n", text.OneLine(d.Encrypted))
	case d.data && d.Status != nil:
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

// printTree draws the steps: what is in a group hangs below it.
func (d shownSaga) printTree(w io.Writer, now time.Time) error {
	var drawn strings.Builder
	t := text.NewTable(&drawn)
	t.Painted("  STEP", "KIND", d.Paint.Paint("", "STATUS"), "TOOK", "TRIES", "NOTE")
	for _, l := range d.Lines(now) {
		t.Painted(text.OneLine("  "+l.Indent+l.Title()), text.OneLine(l.Kind), d.Paint.Paint(l.Level, l.Status), l.Took,
			l.Tries, text.OneLine(l.Note))
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
