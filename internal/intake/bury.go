package intake

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/signals"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

// bury gives a dead letter its workflow. A letter is a copy of the one whose workflow
// has its ID only if the content is the same; then that is told, while it is open. What
// comes after it was settled is a copy only if it is the very same death: everything else
// gets a workflow of its own, and waits there, visibly.
func (in *Intake) bury(ctx context.Context, d holdfast.DeadLetter) error {
	if d.Failure.Redelivery == 0 {
		d.Copy = ""
	}
	for range 10 { // at most three letters to compare with, which may end meanwhile
		input := deadletters.Input{Prefix: in.o.Prefix, Letter: d}
		options := deadletters.StartOptions(input)
		options.ID = workflows.DeadLetterID(in.o.Prefix, d)
		if told, err := in.tellOlder(ctx, d, options.ID); told || err != nil {
			return err
		}
		_, err := in.o.Temporal.ExecuteWorkflow(ctx, options, deadletters.Name, input)
		var already *serviceerror.WorkflowExecutionAlreadyStarted
		switch {
		case err == nil:
			in.o.Logger.Warn("dead letter", "consumer", d.Failure.Consumer, "message", d.ID, "topic", d.Message.Topic,
				"class", d.Failure.Class, "workflow", options.ID)
			return nil
		case !errors.As(err, &already):
			return signals.Away(temporalerr.Unavailable("start workflow "+options.ID, err))
		}
		done, err := in.compare(ctx, options.ID, &d)
		if done || err != nil {
			return err
		}
	}
	return fmt.Errorf("dead letter %s of consumer %s: no workflow of it stays: it is tried again",
		d.ID, d.Failure.Consumer)
}

// compare tells the workflow that has the letter's ID of it, where it is a copy of that
// one's. Otherwise d.Copy is to be tried next.
func (in *Intake) compare(ctx context.Context, id string, d *holdfast.DeadLetter) (done bool, err error) {
	there, err := in.o.Temporal.DescribeWorkflow(ctx, id, "")
	var none *serviceerror.NotFound
	switch {
	case errors.As(err, &none):
		return false, nil // forgotten in between
	case err != nil:
		return false, signals.Away(temporalerr.Unavailable("look at workflow "+id, err))
	}
	content, death := letterMemo(there)
	open, again := there.Status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, d.Failure.Redelivery > 0
	same := again || content == "" || content == deadletters.Content(*d)
	sameDeath := again || death != "" && death == deadletters.Death(*d)
	switch {
	case same && open && (sameDeath || d.Envelope.MessageID != ""):
		return signals.Send(ctx, in.o.Temporal, id, deadletters.SignalDied, d.Failure)
	case same && sameDeath:
		in.o.Logger.Info("a copy of a dead letter that is settled", "workflow", id)
		return true, nil
	case !same && deadletters.OtherContent(d.Copy) == "":
		d.Copy = deadletters.CopyWith(deadletters.Content(*d))
	default:
		d.Copy = deadletters.CopyAfter(d.Copy, deathOf(*d))
	}
	in.o.Logger.Warn("a dead letter has the ID of another one", "workflow",
		id, "message", d.ID, "same content", same, "open", open)
	return false, nil
}

// deathOf names a death in a workflow's ID.
func deathOf(d holdfast.DeadLetter) string {
	if death := deadletters.Death(d); death != "" {
		return death
	}
	return uuid.NewString()[:13]
}

// letterMemo is what the memo of a dead letter's workflow tells it by; empty where an
// earlier version started it.
func letterMemo(d *client.WorkflowExecutionDescription) (content, death string) {
	plain, fields := converter.GetDefaultDataConverter(), d.Memo.GetFields()
	if p := fields[workflows.MemoContent]; p != nil {
		_ = plain.FromPayload(p, &content)
	}
	if p := fields[deadletters.MemoDeath]; p != nil {
		_ = plain.FromPayload(p, &death)
	}
	return content, death
}

// tellOlder tells the open workflow of a letter that was started before the prefix was
// part of its ID.
func (in *Intake) tellOlder(ctx context.Context, d holdfast.DeadLetter, id string) (told bool, err error) {
	older, there, err := workflows.Before(ctx, in.o.Temporal, in.o.Prefix, id)
	if err != nil {
		return false, signals.Away(temporalerr.Unavailable("look for an earlier workflow of "+id, err))
	}
	if !there || older.Status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return false, nil
	}
	return signals.Send(ctx, in.o.Temporal, older.WorkflowExecution.ID, deadletters.SignalDied, d.Failure)
}

// tellLetter signals a letter's workflow, also for the workflow that has the ID from before the prefix was
// part of it.
func (in *Intake) tellLetter(ctx context.Context, id, signal string, arg any) (told bool, err error) {
	if told, err = signals.Send(ctx, in.o.Temporal, id, signal, arg); told || err != nil {
		return told, err
	}
	older, there, err := workflows.Before(ctx, in.o.Temporal, in.o.Prefix, id)
	if err != nil || !there {
		return false, signals.Away(err)
	}
	return signals.Send(ctx, in.o.Temporal, older.WorkflowExecution.ID, signal, arg)
}
