package deadletters

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/history"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

// Print implements shown.
func (d Detail) Print(w io.Writer, now time.Time) error {
	if err := printDeadFields(w, d, now); err != nil {
		return err
	}
	if err := printAttempts(w, d, now); err != nil {
		return err
	}
	if d.Status != nil {
		if err := printStory(w, d.Status.Story, now); err != nil {
			return err
		}
	}
	text.PrintCommands(w, d.Commands)
	if err := transactions.PrintMessages(w, []transactions.MessageDetail{d.Message}); err != nil {
		return err
	}
	if d.Whole != "" {
		text.Printf(w, "  all of it: %s\n", d.Whole)
	}
	if d.Kept != "" {
		text.Printf(w, "  only its beginning is here: the whole of it is in queue %s\n", text.OneLine(d.Kept))
	}
	return history.PrintSteps(w, "Steps", d.Steps, d.Cut, now)
}

func printDeadFields(w io.Writer, d Detail, now time.Time) error {
	t := text.NewTable(w)
	field := func(name, value string) {
		if value != "" {
			t.Row(name, value)
		}
	}
	at := func(when time.Time) string { return text.Clock(when, now) }
	field("message", d.ID)
	field("consumer", text.OrDash(d.Consumer))
	field("queue", d.Queue)
	field("topic", text.OrDash(d.Topic))
	field("key", d.Key)
	field("state", d.State)
	field("unknown", d.Unknown)
	if d.Status != nil {
		field("reason", d.Status.Reason)
		if !d.Status.Next.IsZero() {
			field("next try", text.Clock(d.Status.Next, now))
		}
		if d.Status.Redeliveries > 0 {
			field("redeliveries", strconv.Itoa(d.Status.Redeliveries))
		}
		if d.Status.Duplicates > 0 {
			field("duplicates", strconv.Itoa(d.Status.Duplicates))
		}
	}
	for _, p := range d.Pending {
		field("under way", p.Sentence())
	}
	field("class", d.Class)
	field("error", d.Reason)
	field("attempts", strconv.Itoa(d.Attempts))
	field("policy", policyText(d.Policy))
	if p := d.Producer; p != nil {
		field("transaction", p.Tx+" of group "+p.Group)
		field("  workflow", p.WorkflowID)
		field("  state", p.State)
		field("  unknown", p.Note)
		field("  ui", p.UI)
	}
	field("came", at(d.Started))
	if d.Closed != nil {
		field("closed", at(*d.Closed))
	}
	field("workflow", d.WorkflowID)
	field("run", d.RunID)
	field("ui", d.UI)
	return t.Flush()
}

// policyText says what a policy does.
func policyText(p holdfast.Policy) string {
	var s string
	switch p.Action {
	case holdfast.PolicyWait:
		s = "wait for an operator"
	case holdfast.PolicyCompensate:
		s = "compensate at once"
	case holdfast.PolicyCompensatePermanent:
		s = "compensate at once what failed for good, else wait for an operator"
	case holdfast.PolicyRedeliver:
		var delays []string
		for _, d := range p.Redeliver {
			delays = append(delays, text.Age(d))
		}
		s = "redeliver after " + strings.Join(delays, ", ") + ", then wait for an operator"
	default:
		s = string(p.Action)
	}
	if p.AllowEdits {
		s += "; edits are allowed"
	}
	return s
}

func printAttempts(w io.Writer, d Detail, now time.Time) error {
	if len(d.Log) == 0 {
		return nil
	}
	text.Printf(w, "\nAttempts\n")
	t := text.NewTable(w, "  N", "TIME", "CLASS", "ERROR")
	last := 0
	for _, a := range d.Log {
		if a.N > last+1 && last > 0 {
			t.Row("  …", fmt.Sprintf("%d more", a.N-last-1), "", "")
		}
		last = a.N
		t.Row("  "+strconv.Itoa(a.N), a.At.In(now.Location()).Format(text.DateTime), text.OrDash(string(a.Class)),
			text.OrDash(a.Error))
	}
	return t.Flush()
}

func printStory(w io.Writer, events []deadflow.Event, now time.Time) error {
	if len(events) == 0 {
		return nil
	}
	text.Printf(w, "\nWhat happened\n")
	t := text.NewTable(w, "  TIME", "WHAT", "BY", "WHY")
	for _, e := range events {
		t.Row("  "+e.At.In(now.Location()).Format(text.DateTime), e.What, text.OrDash(e.Operator), text.OrDash(e.Text))
	}
	return t.Flush()
}
