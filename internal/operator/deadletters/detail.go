package deadletters

import (
	"context"
	"errors"
	"fmt"
	"slices"

	enumspb "go.temporal.io/api/enums/v1"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/history"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

// Detail is what `holdfast dead show --json` writes.
type Detail struct {
	Row
	Queue string `json:"queue"`
	// Status is where it stands, if that can be known; Unknown says why it
	// cannot.
	Status  *deadflow.Status           `json:"status,omitempty"`
	Unknown string                     `json:"unknown,omitempty"`
	Message transactions.MessageDetail `json:"message"`
	// Kept is the queue that has the whole message, where only its beginning is
	// here.
	Kept     string                    `json:"kept,omitempty"`
	Log      []holdfast.Attempt        `json:"attempt_log,omitempty"`
	Policy   holdfast.Policy           `json:"policy,omitzero"`
	Producer *Producer                 `json:"producer,omitempty"`
	Pending  []history.PendingActivity `json:"pending,omitempty"`
	// Commands are what an operator can type now.
	Commands []string       `json:"commands,omitempty"`
	Steps    []history.Step `json:"steps"`
	Cut      bool           `json:"steps_cut,omitempty"`
	UI       string         `json:"ui,omitempty"`

	say   text.Suggester
	Whole string `json:"-"` // the command that writes the whole body, where it is cut
}

// Producer is the transaction that sent a message.
type Producer struct {
	Tx    string `json:"tx"`
	Group string `json:"group"`
	// WorkflowID and State are its workflow's, if that was found; Note says why
	// it was not.
	WorkflowID string `json:"workflow_id,omitempty"`
	State      string `json:"state,omitempty"`
	Note       string `json:"note,omitempty"`
	UI         string `json:"ui,omitempty"`
}

// Describe reads all that is known of a dead letter.
func Describe(ctx context.Context, t *server.Temporal, of Row, ui string, body int) (Detail, error) {
	described, err := t.DescribeWorkflowExecution(ctx, of.WorkflowID, of.RunID)
	if err != nil {
		return Detail{}, fmt.Errorf("workflow %s: %w", of.WorkflowID, err)
	}
	d := Detail{say: t.Suggester, Row: deadRowOf(t, described.GetWorkflowExecutionInfo()),
		Pending: history.Pending(described.GetPendingActivities())}
	d.UI = server.UiLink(ui, t.Namespace, d.WorkflowID, d.RunID)
	var in deadflow.Input
	if err := t.InputOf(ctx, d.WorkflowID, d.RunID, &in); err != nil {
		return Detail{}, err
	}
	d.letter(ctx, t.Box, in.Letter, body)
	if d.Message.Cut > 0 {
		d.Whole = t.Command("dead show", d.WorkflowID, "--raw")
	}
	d.stands(ctx, t)
	d.Commands = d.possible()
	if in.Letter.TxID != "" {
		d.Producer = producerOf(ctx, t, in.Letter, ui)
	}
	events, cut, err := t.History(ctx, d.WorkflowID, d.RunID)
	if err != nil {
		return Detail{}, err
	}
	d.Steps, d.Cut = history.Read(events, t.Data, "").Steps, cut
	return d, nil
}

// letter takes from the workflow's input what does not change.
func (d *Detail) letter(ctx context.Context, box *seal.Box, l holdfast.DeadLetter, body int) {
	d.Message, d.Kept, d.Policy, d.Queue, d.Log = shown(ctx, box, l, body), l.Kept, l.Policy, l.Queue, l.Failure.Log
	if l.Kept != "" {
		d.Message.Size = l.Size
	}
	d.ID, d.Consumer, d.Topic, d.Key = l.ID, l.Failure.Consumer, l.Message.Topic, l.Message.Key
}

// stands asks where it stands, or reads how it ended.
func (d *Detail) stands(ctx context.Context, t *server.Temporal) {
	var status deadflow.Status
	var err error
	switch {
	case d.RunStatus == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING:
		if err = t.AskStatus(ctx, d.WorkflowID, d.RunID, &status); err != nil {
			err = fmt.Errorf("no process answered (start one with Temporal, which serves the task queue %s, to see more): %w",
				d.taskQueue, err)
		}
	case server.IsLost(d.RunStatus):
		err = fmt.Errorf("its workflow was %s; %s starts it again", d.State,
			t.Code("dead restart", d.WorkflowID, text.WithReason()...))
	default:
		err = t.ReadResult(ctx, d.WorkflowID, d.RunID, &status)
	}
	if err != nil {
		d.Unknown = text.Of(err)
		return
	}
	d.Status, d.State = &status, string(status.State)
	d.Class, d.Reason, d.Attempts = string(status.Failure.Class), status.Failure.Reason, status.Failure.Attempts
	if len(status.Failure.Log) > 0 {
		d.Log = status.Failure.Log
	}
}

// producerOf looks for the transaction that sent a message.
func producerOf(ctx context.Context, t *server.Temporal, l holdfast.DeadLetter, ui string) *Producer {
	p := &Producer{Tx: l.TxID, Group: l.Group}
	id := workflows.ID{Kind: workflows.KindTransaction, Owner: l.Group, Key: l.TxID}
	found, err := transactions.One(ctx, t, l.TxID, t.Names(id))
	if errors.Is(err, holdfast.ErrNotFound) && l.Message.Key != "" {
		found, err = transactions.ByKey(ctx, t, l.Message.Key, l.Group) // in a workflow with others
	}
	switch {
	case errors.Is(err, holdfast.ErrNotFound):
		p.Note = "no workflow has it: it took the Express lane, or is older than the namespace keeps"
		return p
	case err != nil:
		p.Note = text.Of(err)
		return p
	}
	described, err := t.DescribeWorkflowExecution(ctx, found.WorkflowID, found.RunID)
	if err != nil {
		p.Note = text.Of(err)
		return p
	}
	info := described.GetWorkflowExecutionInfo()
	rows := transactions.RowsOf(ctx, t, transactions.InfoRow(t, info), info.GetStatus())
	at := slices.IndexFunc(rows, func(r transactions.Row) bool { return r.Tx == l.TxID })
	if at < 0 {
		p.Note = "no workflow of its own; " + found.WorkflowID + " has its key"
		return p
	}
	p.WorkflowID, p.State, p.UI = found.WorkflowID, rows[at].State, server.UiLink(ui, t.Namespace, found.WorkflowID,
		rows[at].RunID)
	return p
}
