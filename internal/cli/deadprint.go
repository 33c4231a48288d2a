package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/shell"
	"github.com/holdfastmq/holdfast/workflows"
)

// print implements shown.
func (d deadDetail) print(w io.Writer, now time.Time) error {
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
	printCommands(w, d.Commands)
	if err := printMessages(w, []messageDetail{d.Message}); err != nil {
		return err
	}
	if d.whole != "" {
		printf(w, "  all of it: %s\n", d.whole)
	}
	if d.Kept != "" {
		printf(w, "  only its beginning is here: the whole of it is in queue %s\n", oneLine(d.Kept))
	}
	return printSteps(w, "Steps", d.Steps, d.Cut, now)
}

func printDeadFields(w io.Writer, d deadDetail, now time.Time) error {
	t := newTable(w)
	field := func(name, value string) {
		if value != "" {
			t.row(name, value)
		}
	}
	at := func(when time.Time) string { return clock(when, now) }
	field("message", d.ID)
	field("consumer", orDash(d.Consumer))
	field("queue", d.Queue)
	field("topic", orDash(d.Topic))
	field("key", d.Key)
	field("state", d.State)
	field("unknown", d.Unknown)
	if d.Status != nil {
		field("reason", d.Status.Reason)
		if !d.Status.Next.IsZero() {
			field("next try", clock(d.Status.Next, now))
		}
		if d.Status.Redeliveries > 0 {
			field("redeliveries", strconv.Itoa(d.Status.Redeliveries))
		}
		if d.Status.Duplicates > 0 {
			field("duplicates", strconv.Itoa(d.Status.Duplicates))
		}
	}
	for _, p := range d.Pending {
		field("under way", p.sentence())
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
	return t.flush()
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
			delays = append(delays, age(d))
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

func printAttempts(w io.Writer, d deadDetail, now time.Time) error {
	if len(d.Log) == 0 {
		return nil
	}
	printf(w, "\nAttempts\n")
	t := newTable(w, "  N", "TIME", "CLASS", "ERROR")
	last := 0
	for _, a := range d.Log {
		if a.N > last+1 && last > 0 {
			t.row("  …", fmt.Sprintf("%d more", a.N-last-1), "", "")
		}
		last = a.N
		t.row("  "+strconv.Itoa(a.N), a.At.In(now.Location()).Format(dateTime), orDash(string(a.Class)), orDash(a.Error))
	}
	return t.flush()
}

func printStory(w io.Writer, events []workflows.DeadLetterEvent, now time.Time) error {
	if len(events) == 0 {
		return nil
	}
	printf(w, "\nWhat happened\n")
	t := newTable(w, "  TIME", "WHAT", "BY", "WHY")
	for _, e := range events {
		t.row("  "+e.At.In(now.Location()).Format(dateTime), e.What, orDash(e.Operator), orDash(e.Text))
	}
	return t.flush()
}

// possible are the commands that an operator can type now.
func (d *deadDetail) possible() (commands []string) {
	if isLost(d.status) {
		return []string{d.say.command("dead restart", d.WorkflowID, withReason()...)}
	}
	if d.Status == nil {
		return nil
	}
	for _, name := range d.Status.Actions {
		var flags []string
		if name == workflows.UpdateRedeliverEdited {
			name, flags = workflows.UpdateRedeliver, []string{"--edit", shell.File}
		}
		commands = append(commands, d.say.command("dead "+name, d.WorkflowID, withReason(flags...)...))
	}
	return commands
}
