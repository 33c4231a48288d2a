package deadletters

import (
	"errors"
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/shell"
	"github.com/holdfastmq/holdfast/workflows"
)

// letterSubject names a letter's message in few words.
func letterSubject(l holdfast.DeadLetter) string {
	s := l.Message.Topic
	if s == "" {
		s = "message " + l.ID
	}
	if l.Message.Key != "" {
		s += " " + l.Message.Key
	}
	return workflows.OneLine(s) + " → " + ownerOf(l)
}

// ownerOf is the consumer that gave it up or, where there is none, the queue.
func ownerOf(l holdfast.DeadLetter) string {
	if l.Failure.Consumer != "" {
		return l.Failure.Consumer
	}
	return l.Queue
}

func (d *deadLetter) subject() string { return letterSubject(d.in.Letter) }

// failureLine says in one line how a consumer failed.
func failureLine(f holdfast.Failure) string {
	s := "it was given up"
	switch {
	case f.Class == holdfast.ClassDropped:
		s = "it died outside of its consumer"
	case f.Consumer != "":
		s = f.Consumer + " gave it up"
	}
	switch {
	case f.Attempts == 1:
		s += " after 1 attempt"
	case f.Attempts > 1:
		s += fmt.Sprintf(" after %d attempts", f.Attempts)
	}
	if f.Redelivery > 0 {
		s += fmt.Sprintf(" in redelivery %d", f.Redelivery)
	}
	return fmt.Sprintf("%s (%s): %s", s, f.Class, workflows.OrNone(workflows.Clip(f.Reason, 500)))
}

// deadDetails say in the Temporal UI what a new workflow is for.
func deadDetails(prefix string, l holdfast.DeadLetter) string {
	s := fmt.Sprintf("Dead letter: message %s for consumer %s.\n\n", workflows.Code(l.ID), workflows.Code(ownerOf(l)))
	s += fmt.Sprintf("- Topic: %s\n", workflows.Code(l.Message.Topic))
	if l.Message.Key != "" {
		s += fmt.Sprintf("- Key: %s\n", workflows.Code(l.Message.Key))
	}
	s += fmt.Sprintf("- Queue: %s\n- Size: %d bytes\n", workflows.Code(l.Queue), l.Size)
	if l.Group != "" {
		s += fmt.Sprintf("- Sent by producer group %s in transaction %s: workflow %s\n", workflows.Code(l.Group),
			workflows.Code(l.TxID), workflows.Code(workflows.WorkflowID(prefix, l.Group, l.TxID)))
	}
	if b := bound(l); b != "" {
		s += fmt.Sprintf("- To be dealt with by hand: %s\n", b)
	}
	s += fmt.Sprintf("- Policy: %s\n", policyLine(firstDeath(l).policy))
	return s
}

func policyLine(p holdfast.Policy) string {
	s := "wait for an operator"
	switch p.Action {
	case holdfast.PolicyCompensate:
		s = "compensate at once"
	case holdfast.PolicyCompensatePermanent:
		s = "compensate at once what failed permanently, else wait for an operator"
	case holdfast.PolicyRedeliver:
		var delays []string
		for _, x := range p.Redeliver {
			delays = append(delays, x.String())
		}
		s = workflows.Clip("redeliver after "+strings.Join(delays, ", "), 300) + ", then wait for an operator"
	}
	if p.AllowEdits {
		s += "; edits are allowed"
	}
	return s
}

// currentDetails say in the Temporal UI what happened, where it stands and what
// an operator can do.
func (d *deadLetter) currentDetails() string {
	s := fmt.Sprintf("**%s**: %s", d.state, workflows.OrNone(workflows.Clip(d.reason, 1500)))
	if d.state == workflows.Waits {
		s += fmt.Sprintf("\n\nThe policy redelivers it at %s.", d.next.UTC().Format(time.RFC3339))
	}
	s += d.possible()
	f := d.failure
	if last := failureLine(f); !strings.Contains(d.reason, last) {
		s += "\n\nLast death: " + workflows.Cell(last)
	}
	if d.redeliveries > 0 {
		s += fmt.Sprintf("\n\nRedeliveries: %d", d.redeliveries)
	}
	if len(f.Log) > 0 {
		s += "\n\n| attempt | at | class | error |\n|---|---|---|---|\n"
		for _, a := range f.Log {
			s += fmt.Sprintf("| %d | %s | %s | %s |\n", a.N, a.At.UTC().Format(time.RFC3339), a.Class, workflows.Cell(a.Error))
		}
	}
	return s
}

// possible says in the Temporal UI what an operator can do, above what may be long.
func (d *deadLetter) possible() string {
	can := d.allowed()
	if len(can) == 0 {
		return "\n\n" + d.remedy()
	}
	s := "\n\nAn operator can, with an Update or with a command:\n"
	for _, a := range can {
		s += fmt.Sprintf("\n- `%s` %s, or %s", a.name, a.example(d.state), d.command(a))
	}
	return s
}

// remedy says for an alert what an operator can do.
func (d *deadLetter) remedy() string {
	switch {
	case d.state.Final():
		return "Nothing is left to do."
	case d.state == workflows.Compensating:
		return fmt.Sprintf("Wait: group %s compensates it. If no process of it runs, start one.", d.in.Letter.Group)
	}
	var can []string
	for _, a := range d.allowed() {
		can = append(can, d.command(a))
	}
	return "An operator can, with one of these commands, or with the Update of that name: " + strings.Join(can, ", ") + "."
}

// command is a command line by which an operator does a.
func (d *deadLetter) command(a deadAction) string {
	name, flags := a.name, []string(nil)
	switch {
	case name == UpdateRedeliverEdited:
		name, flags = UpdateRedeliver, []string{"--edit", shell.File}
	case d.state == workflows.Redelivering && (name == workflows.UpdateCompensate || name == UpdateDiscard):
		flags = []string{"--force"}
	}
	return workflows.ActCommand(d.in.Prefix, "dead "+name, d.id, flags...)
}

// allowed are the Updates that would be accepted now, by force if need be.
func (d *deadLetter) allowed() (can []deadAction) {
	if d.state.Final() || d.state == workflows.Compensating {
		return nil
	}
	for _, a := range d.actions {
		if a.allowed(true) == nil {
			can = append(can, a)
		}
	}
	return can
}

// example is an argument of the Update.
func (a deadAction) example(s workflows.State) string {
	more := ""
	switch a.name {
	case UpdateRedeliverEdited:
		more = `, "text": "…"`
	case workflows.UpdateCompensate, UpdateDiscard:
		if s == workflows.Redelivering {
			more = `, "force": true`
		}
	}
	return "`" + `{"operator": "…", "reason": "…"` + more + "}`"
}

func (d *deadLetter) timerSummary() string {
	return fmt.Sprintf("until redelivery %d of at most %d by the policy → %s", d.redeliveries+1,
		len(d.policy.Redeliver), ownerOf(d.in.Letter))
}

func (d *deadLetter) redeliverSummary(r *redelivery) string {
	edited := ""
	if r.edit != nil {
		edited = " with another body"
	}
	return fmt.Sprintf("redelivery %d of %s%s: %s (%s)", r.n, d.subject(), edited, workflows.OneLine(r.reason),
		workflows.OneLine(r.operator))
}

func (d *deadLetter) compensateSummary() string {
	return fmt.Sprintf("compensate %s %s in group %s: %s (%s)", workflows.OneLine(d.in.Letter.Message.Topic),
		workflows.OneLine(d.in.Letter.Message.Key), d.in.Letter.Group,
		workflows.OneLine(d.compensation.reason), workflows.OneLine(d.compensation.operator))
}

func (d *deadLetter) notifySummary() string {
	return fmt.Sprintf("tell the other consumers: %s%s %s", workflows.OneLine(d.in.Letter.Message.Topic),
		holdfast.CompensatedSuffix, workflows.OneLine(d.in.Letter.Message.Key))
}

func compensatedLine(group string, repeated bool) string {
	if repeated {
		return "group " + group + " had compensated it before"
	}
	return "by group " + group
}

// compensateError says why group did not compensate, and what to do.
func (d *deadLetter) compensateError(err error) string {
	group := d.in.Letter.Group
	var timeout *temporal.TimeoutError
	if !errors.As(err, &timeout) {
		return workflows.RootMessage(err)
	}
	switch timeout.TimeoutType() {
	case enumspb.TIMEOUT_TYPE_START_TO_CLOSE:
		return fmt.Sprintf("group %s did not end it within 5m", group)
	case enumspb.TIMEOUT_TYPE_HEARTBEAT:
		return fmt.Sprintf("the process of group %s that ran it was lost, %d times", group, compensateAttempts)
	}
	return fmt.Sprintf("no process of group %s compensated it within 24h: start one, then compensate again", group)
}
