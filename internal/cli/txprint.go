package cli

import (
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/holdfastmq/holdfast/workflows"
)

// print implements shown.
func (d detail) print(w io.Writer, now time.Time) error {
	t := newTable(w)
	field := func(name, value string) {
		if value != "" {
			t.row(name, value)
		}
	}
	at := func(when time.Time) string {
		return fmt.Sprintf("%s (%s ago)", when.In(now.Location()).Format(dateTime), age(now.Sub(when)))
	}
	field("transaction", orDash(d.Tx))
	field("group", d.Group)
	field("state", d.State)
	field("unknown", d.Unknown)
	for _, m := range d.Transactions {
		if len(d.Transactions) == 1 {
			member(field, m)
		}
	}
	if d.Outcome != nil {
		field("outcome row", d.Outcome.Resolution.String()+", "+at(d.Outcome.CreatedAt))
	}
	if !d.Started.IsZero() {
		field("started", at(d.Started))
	}
	if d.Closed != nil {
		field("closed", at(*d.Closed))
	}
	field("workflow", d.WorkflowID)
	if d.Shared > 1 && d.Tx != "" {
		field("shared", "with "+others(d.Shared-1))
	}
	field("left", d.LeftFrom)
	field("run", d.RunID)
	field("ui", d.UI)
	if err := t.flush(); err != nil {
		return err
	}
	if len(d.Transactions) > 1 {
		if err := printMembers(w, d.say, d.WorkflowID, d.Transactions); err != nil {
			return err
		}
	}
	printCommands(w, d.Commands)
	if err := printMessages(w, d.Messages); err != nil {
		return err
	}
	if d.WorkflowID == "" {
		return nil
	}
	return printSteps(w, "Steps", d.Steps, d.Cut, now)
}

func member(field func(name, value string), m workflows.MemberStatus) {
	field("resolution", m.Resolution.String())
	field("reason", m.Reason)
	field("decided by", m.Decided)
	if m.Checks+m.Unreached > 0 {
		field("check-backs", fmt.Sprintf("%d answered, %d not", m.Checks, m.Unreached))
	}
}

func printMembers(w io.Writer, say suggester, workflowID string, ms []workflows.MemberStatus) error {
	printf(w, "\nTransactions\n")
	t := newTable(w, "  TX", "STATE", "KEY", "REASON")
	left := ""
	for _, m := range ms {
		t.row("  "+m.ID, string(m.State), few(m.Keys), orDash(m.Reason))
		if m.State == workflows.Left && left == "" {
			left = ownID(workflowID, m.ID)
		}
	}
	if err := t.flush(); err != nil || left == "" {
		return err
	}
	printf(w, "  What left goes on in a workflow of its own: %s\n", say.command("tx show", left))
	return nil
}

func printMessages(w io.Writer, ms []messageDetail) error {
	if len(ms) == 0 {
		return nil
	}
	printf(w, "\nMessages\n")
	t := newTable(w, "  ID", "TOPIC", "KEY", "TYPE", "BYTES")
	for _, m := range ms {
		t.row("  "+m.ID, m.Topic, orDash(m.Key), orDash(m.ContentType), strconv.Itoa(m.Size))
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, m := range ms {
		switch {
		case m.Text != "":
			printf(w, "\nBody of %s\n%s\n", oneLine(m.ID), printable(m.Text))
		case len(m.Base64) > 0:
			printf(w, "\nBody of %s (binary)\n%s", oneLine(m.ID), hex.Dump(m.Base64[:min(len(m.Base64), binaryShown)]))
			m.Cut += max(0, len(m.Base64)-binaryShown)
		}
		if m.Cut > 0 {
			printf(w, "… and %s more\n", plural(m.Cut, "byte"))
		}
	}
	return nil
}
