package transactions

import (
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/holdfastmq/holdfast/internal/operator/history"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// Print implements frame.Shown.
func (d Detail) Print(w io.Writer, now time.Time) error {
	t := text.NewTable(w)
	field := func(name, value string) {
		if value != "" {
			t.Row(name, value)
		}
	}
	at := func(when time.Time) string {
		return fmt.Sprintf("%s (%s ago)", when.In(now.Location()).Format(text.DateTime), text.Age(now.Sub(when)))
	}
	field("transaction", text.OrDash(d.Tx))
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
		field("shared", "with "+text.Others(d.Shared-1))
	}
	field("left", d.LeftFrom)
	field("run", d.RunID)
	field("ui", d.UI)
	if err := t.Flush(); err != nil {
		return err
	}
	if len(d.Transactions) > 1 {
		if err := printMembers(w, d.say, d.WorkflowID, d.Transactions); err != nil {
			return err
		}
	}
	text.PrintCommands(w, d.Commands)
	if err := PrintMessages(w, d.Messages); err != nil {
		return err
	}
	if d.WorkflowID == "" {
		return nil
	}
	return history.PrintSteps(w, "Steps", d.Steps, d.Cut, now)
}

func member(field func(name, value string), m txflow.MemberStatus) {
	field("resolution", m.Resolution.String())
	field("reason", m.Reason)
	field("decided by", m.Decided)
	if m.Checks+m.Unreached > 0 {
		field("check-backs", fmt.Sprintf("%d answered, %d not", m.Checks, m.Unreached))
	}
}

func printMembers(w io.Writer, say text.Suggester, workflowID string, ms []txflow.MemberStatus) error {
	text.Printf(w, "\nTransactions\n")
	t := text.NewTable(w, "  TX", "STATE", "KEY", "REASON")
	left := ""
	for _, m := range ms {
		t.Row("  "+m.ID, string(m.State), text.Few(m.Keys), text.OrDash(m.Reason))
		if m.State == workflows.Left && left == "" {
			left = server.OwnID(workflowID, m.ID)
		}
	}
	if err := t.Flush(); err != nil || left == "" {
		return err
	}
	text.Printf(w, "  What left goes on in a workflow of its own: %s\n", say.Command("tx show", left))
	return nil
}

// PrintMessages writes messages, and their bodies where these are known.
func PrintMessages(w io.Writer, ms []MessageDetail) error {
	if len(ms) == 0 {
		return nil
	}
	text.Printf(w, "\nMessages\n")
	t := text.NewTable(w, "  ID", "TOPIC", "KEY", "TYPE", "BYTES")
	for _, m := range ms {
		t.Row("  "+m.ID, m.Topic, text.OrDash(m.Key), text.OrDash(m.ContentType), strconv.Itoa(m.Size))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, m := range ms {
		if p := m.Line(); p != "" {
			text.Printf(w, "\nProperties of %s\n%s\n", text.OneLine(m.ID), text.OneLine(p))
		}
		switch {
		case m.Encrypted != "":
			text.Printf(w, "\nBody of %s\n%s\n", text.OneLine(m.ID), text.OneLine(m.Encrypted))
		case m.Text != "":
			text.Printf(w, "\nBody of %s\n%s\n", text.OneLine(m.ID), text.Printable(m.Text))
		case len(m.Base64) > 0:
			text.Printf(w, "\nBody of %s (binary)\n%s", text.OneLine(m.ID),
				hex.Dump(m.Base64[:min(len(m.Base64), text.BinaryShown)]))
			m.Cut += max(0, len(m.Base64)-text.BinaryShown)
		}
		if m.Cut > 0 {
			text.Printf(w, "… and %s more\n", text.Plural(m.Cut, "byte"))
		}
	}
	return nil
}
