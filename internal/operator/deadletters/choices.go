package deadletters

import (
	"fmt"

	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/shell"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

// restart is the act that starts a lost workflow again.
const restart = "restart"

// Choices are the names of the acts that make sense now, without force.
func (d *Detail) Choices() (acts []string) {
	if server.IsLost(d.RunStatus) {
		return []string{restart}
	}
	if d.Status == nil {
		return nil
	}
	for _, name := range d.Status.Actions {
		if _, ok := ActNamed(name); ok {
			acts = append(acts, name)
		}
	}
	return acts
}

// possible are the commands that an operator can type now.
func (d *Detail) possible() (commands []string) {
	acts := d.Choices()
	if d.Status != nil && !server.IsLost(d.RunStatus) {
		acts = d.Status.Actions
	}
	for _, name := range acts {
		var flags []string
		if name == deadflow.UpdateRedeliverEdited {
			name, flags = deadflow.UpdateRedeliver, []string{"--edit", shell.File}
		}
		commands = append(commands, d.say.Command("dead "+name, d.WorkflowID, text.WithReason(flags...)...))
	}
	return commands
}

// Effects say what an act would do, in sentences.
func (d *Detail) Effects(act string) []string {
	consumer := d.Consumer
	if consumer == "" {
		consumer = "none: it died outside of a consumer"
	}
	switch act {
	case deadflow.UpdateRedeliver:
		return []string{fmt.Sprintf("The message goes back into the queue %s (consumer: %s), and into no other. It is tried "+
			"at once.", d.Queue, consumer), "If it fails again, it is parked again."}
	case workflows.UpdateCompensate:
		return []string{fmt.Sprintf("The Compensate of the producer group%s runs, once: it undoes what the message "+
			"was sent for.", d.groupName()), "Then the other consumers of the message are told, to undo theirs.",
			"A process of the group has to run; otherwise it happens as soon as one does, within a day."}
	case deadflow.UpdateDiscard:
		return []string{"The message is dropped for good. Nothing is published, and nothing is undone."}
	case restart:
		return []string{"Its workflow is started again, where it was. What was under way then is left to an operator."}
	}
	return nil
}

func (d *Detail) groupName() string {
	switch {
	case d.Status != nil && d.Status.Group != "":
		return " " + d.Status.Group
	case d.Producer != nil:
		return " " + d.Producer.Group
	}
	return ""
}
