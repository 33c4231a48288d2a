package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	enumspb "go.temporal.io/api/enums/v1"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

// deadDetail is what `holdfast dead show --json` writes.
type deadDetail struct {
	deadRow
	Queue string `json:"queue"`
	// Status is where it stands, if that can be known; Unknown says why it
	// cannot.
	Status  *workflows.DeadLetterStatus `json:"status,omitempty"`
	Unknown string                      `json:"unknown,omitempty"`
	Message messageDetail               `json:"message"`
	// Kept is the queue that has the whole message, where only its beginning is
	// here.
	Kept     string             `json:"kept,omitempty"`
	Log      []holdfast.Attempt `json:"attempt_log,omitempty"`
	Policy   holdfast.Policy    `json:"policy,omitzero"`
	Producer *producer          `json:"producer,omitempty"`
	Pending  []pendingActivity  `json:"pending,omitempty"`
	// Commands are what an operator can type now.
	Commands []string `json:"commands,omitempty"`
	Steps    []step   `json:"steps"`
	Cut      bool     `json:"steps_cut,omitempty"`
	UI       string   `json:"ui,omitempty"`

	say   suggester
	whole string // the command that writes the whole body, where it is cut
}

// producer is the transaction that sent a message.
type producer struct {
	Tx    string `json:"tx"`
	Group string `json:"group"`
	// WorkflowID and State are its workflow's, if that was found; Note says why
	// it was not.
	WorkflowID string `json:"workflow_id,omitempty"`
	State      string `json:"state,omitempty"`
	Note       string `json:"note,omitempty"`
	UI         string `json:"ui,omitempty"`
}

// deadDetailOf reads all that is known of a dead letter.
func deadDetailOf(ctx context.Context, t *temporalServer, of deadRow, ui string, body int) (deadDetail, error) {
	described, err := t.DescribeWorkflowExecution(ctx, of.WorkflowID, of.RunID)
	if err != nil {
		return deadDetail{}, fmt.Errorf("workflow %s: %w", of.WorkflowID, err)
	}
	d := deadDetail{say: t.suggester, deadRow: deadRowOf(t, described.GetWorkflowExecutionInfo()), Pending: pendingActivities(described.GetPendingActivities())}
	d.UI = uiLink(ui, t.namespace, d.WorkflowID, d.RunID)
	var in workflows.DeadLetterInput
	if err := t.inputOf(ctx, d.WorkflowID, d.RunID, &in); err != nil {
		return deadDetail{}, err
	}
	d.letter(in.Letter, body)
	if d.Message.Cut > 0 {
		d.whole = t.command("dead show", d.WorkflowID, "--raw")
	}
	d.stands(ctx, t)
	d.Commands = d.possible()
	if in.Letter.TxID != "" {
		d.Producer = producerOf(ctx, t, in.Letter, ui)
	}
	events, cut, err := t.history(ctx, d.WorkflowID, d.RunID)
	if err != nil {
		return deadDetail{}, err
	}
	d.Steps, d.Cut = readHistory(events, t.data, "").steps, cut
	return d, nil
}

// letter takes from the workflow's input what does not change.
func (d *deadDetail) letter(l holdfast.DeadLetter, body int) {
	d.Message, d.Kept, d.Policy, d.Queue, d.Log = messageBeginning(l.Message, body), l.Kept, l.Policy, l.Queue, l.Failure.Log
	d.Message.Size = max(l.Size, d.Message.Size)
	d.ID, d.Consumer, d.Topic, d.Key = l.ID, l.Failure.Consumer, l.Message.Topic, l.Message.Key
}

// stands asks where it stands, or reads how it ended.
func (d *deadDetail) stands(ctx context.Context, t *temporalServer) {
	var status workflows.DeadLetterStatus
	var err error
	switch {
	case d.status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING:
		if err = t.askStatus(ctx, d.WorkflowID, d.RunID, &status); err != nil {
			err = fmt.Errorf("no process answered (start one with Temporal, which serves the task queue %s, to see more): %w", d.taskQueue, err)
		}
	case isLost(d.status):
		err = fmt.Errorf("its workflow was %s; %s starts it again", d.State, t.code("dead restart", d.WorkflowID, withReason()...))
	default:
		err = t.readResult(ctx, d.WorkflowID, d.RunID, &status)
	}
	if err != nil {
		d.Unknown = text(err)
		return
	}
	d.Status, d.State = &status, string(status.State)
	d.Class, d.Reason, d.Attempts = string(status.Failure.Class), status.Failure.Reason, status.Failure.Attempts
	if len(status.Failure.Log) > 0 {
		d.Log = status.Failure.Log
	}
}

// producerOf looks for the transaction that sent a message.
func producerOf(ctx context.Context, t *temporalServer, l holdfast.DeadLetter, ui string) *producer {
	p := &producer{Tx: l.TxID, Group: l.Group}
	id := workflows.ID{Kind: workflows.KindTransaction, Owner: l.Group, Key: l.TxID}
	found, err := oneTx(ctx, t, l.TxID, t.names(id))
	if errors.Is(err, holdfast.ErrNotFound) && l.Message.Key != "" {
		found, err = txByKey(ctx, t, l.Message.Key, l.Group) // in a workflow with others
	}
	switch {
	case errors.Is(err, holdfast.ErrNotFound):
		p.Note = "no workflow has it: it took the Express lane, or is older than the namespace keeps"
		return p
	case err != nil:
		p.Note = text(err)
		return p
	}
	described, err := t.DescribeWorkflowExecution(ctx, found.workflowID, found.runID)
	if err != nil {
		p.Note = text(err)
		return p
	}
	info := described.GetWorkflowExecutionInfo()
	rows := workflowRows(ctx, t, infoRow(t, info), info.GetStatus())
	at := slices.IndexFunc(rows, func(r row) bool { return r.Tx == l.TxID })
	if at < 0 {
		p.Note = "no workflow of its own; " + found.workflowID + " has its key"
		return p
	}
	p.WorkflowID, p.State, p.UI = found.workflowID, rows[at].State, uiLink(ui, t.namespace, found.workflowID, rows[at].RunID)
	return p
}
