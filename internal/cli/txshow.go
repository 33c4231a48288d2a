package cli

import (
	"context"
	"fmt"
	"slices"
	"unicode/utf8"

	enumspb "go.temporal.io/api/enums/v1"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

// detail is what `holdfast tx show --json` writes.
type detail struct {
	row
	// Transactions are where the workflow's transactions stand, if that can be
	// known; Unknown says why it cannot.
	Transactions []workflows.MemberStatus `json:"transactions,omitempty"`
	Unknown      string                   `json:"unknown,omitempty"`
	Messages     []messageDetail          `json:"messages"`
	Steps        []step                   `json:"steps"`
	Cut          bool                     `json:"steps_cut,omitempty"`
	UI           string                   `json:"ui,omitempty"`
	// Shared is how many transactions share the workflow, where it is several;
	// LeftFrom is the workflow that the transaction left.
	Shared   int    `json:"shared,omitempty"`
	LeftFrom string `json:"left_from,omitempty"`
	// Commands are what an operator can type now.
	Commands []string `json:"commands,omitempty"`
	// Outcome is what the outcome row says, where there is no workflow.
	Outcome *outcomeRow `json:"outcome,omitempty"`

	say suggester
}

// messageDetail is a message, with its body only where that is asked for.
type messageDetail struct {
	ID          string            `json:"id"`
	Topic       string            `json:"topic"`
	Key         string            `json:"key,omitempty"`
	ContentType string            `json:"content_type,omitempty"`
	Headers     map[string]string `json:"headers,omitempty"`
	Size        int               `json:"size"`
	Text        string            `json:"text,omitempty"`
	Base64      []byte            `json:"base64,omitempty"`
	// Cut is how many bytes of the body are left out of Text or Base64.
	Cut int `json:"cut,omitempty"`
}

// detailOf reads all that is known of a transaction's workflow.
func detailOf(ctx context.Context, t *temporalServer, of target, body bool) (detail, error) {
	described, err := t.DescribeWorkflowExecution(ctx, of.workflowID, of.runID)
	if err != nil {
		return detail{}, fmt.Errorf("workflow %s: %w", of.workflowID, err)
	}
	info := described.GetWorkflowExecutionInfo()
	if kind := info.GetType().GetName(); kind != workflows.Name && kind != workflows.RecoveryName {
		return detail{}, usagef("workflow %s is a %s, not a %s or a %s", of.workflowID, kind, workflows.Name, workflows.RecoveryName)
	}
	d := detail{say: t.suggester, row: infoRow(t, info), LeftFrom: info.GetParentExecution().GetWorkflowId()}
	only := ""
	if shared(d.WorkflowID) {
		only = of.tx
	}
	told, cut, err := readStory(ctx, t, d.WorkflowID, d.RunID, only)
	if err != nil {
		return detail{}, err
	}
	d.Steps, d.Cut = told.steps, cut
	status, err := txStatus(ctx, t, d.row, info.GetStatus())
	if err != nil {
		d.Unknown = text(err)
		if shared(d.WorkflowID) {
			if status.Transactions, err = toldMembers(ctx, t, d.row, told, info.GetStatus()); err != nil {
				return detail{}, err
			}
		}
	}
	if n := len(status.Transactions); n > 1 {
		d.Shared = n
	}
	d.fill(of, status, told, body)
	if len(d.Transactions) == 0 && closedStates[d.State] != 0 {
		d.Commands = []string{d.say.command("tx "+workflows.UpdateRecheck, of.name(), withReason()...)}
	}
	return d, nil
}

// fill takes from status and history what belongs to the transaction that was
// meant, or to all if none was.
func (d *detail) fill(of target, status workflows.Status, told story, body bool) {
	meant := func(id string, keys []string) bool {
		return of.tx == id || of.tx == "" && (of.key == "" || slices.Contains(keys, of.key))
	}
	for _, m := range status.Transactions {
		if meant(m.ID, m.Keys) {
			d.Transactions = append(d.Transactions, m)
		}
	}
	if len(d.Transactions) == 1 {
		m := d.Transactions[0]
		d.Commands = d.possible(m)
		d.Tx, d.State, d.Reason, d.Topics, d.Keys = m.ID, string(m.State), m.Reason, m.Topics, m.Keys
	}
	for _, id := range told.order {
		ms := told.messages[id]
		if !meant(id, keysOf(ms)) {
			continue
		}
		for _, m := range ms {
			d.Messages = append(d.Messages, newMessageDetail(m, body))
		}
	}
}

// possible are the commands that an operator can type now.
func (d *detail) possible(m workflows.MemberStatus) (commands []string) {
	acts := m.Actions
	switch {
	case m.State.Final():
	case closedStates[d.State] != 0:
		acts = []string{workflows.UpdateRecheck}
	case len(acts) > 0 || m.State != workflows.Parked: // a process that runs an older version does not say
	case m.Resolution == holdfast.Unknown:
		acts = []string{workflows.UpdateCommit, workflows.UpdateRollback, workflows.UpdateRecheck}
	default:
		acts = []string{workflows.UpdateRecheck}
	}
	for _, act := range acts {
		commands = append(commands, d.say.command("tx "+act, ownID(d.WorkflowID, m.ID), withReason()...))
	}
	return commands
}

func newMessageDetail(m holdfast.Message, body bool) messageDetail {
	if body {
		return messageBeginning(m, len(m.Body))
	}
	return messageBeginning(m, 0)
}

// messageBeginning is a message with so many bytes of its body, at most; of a text,
// whole characters. 0: with nothing of it.
func messageBeginning(m holdfast.Message, most int) messageDetail {
	d := messageDetail{ID: m.ID, Topic: m.Topic, Key: m.Key, ContentType: m.ContentType, Headers: m.Headers, Size: len(m.Body)}
	if most == 0 {
		return d
	}
	text := utf8.Valid(m.Body)
	end := min(most, len(m.Body))
	for text && end > 0 && end < len(m.Body) && !utf8.RuneStart(m.Body[end]) {
		end--
	}
	d.Cut = len(m.Body) - end
	if text {
		d.Text = string(m.Body[:end])
	} else {
		d.Base64 = m.Body[:end]
	}
	return d
}

// txStatus asks an open workflow where it stands, and reads the result of a
// completed one.
func txStatus(ctx context.Context, t *temporalServer, r row, s enumspb.WorkflowExecutionStatus) (workflows.Status, error) {
	var status workflows.Status
	switch s {
	case enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING:
		if err := t.askStatus(ctx, r.WorkflowID, r.RunID, &status); err != nil {
			return status, fmt.Errorf("no process of group %s answered (start one to see more): %w", r.Group, err)
		}
	case enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		if err := t.GetWorkflow(ctx, r.WorkflowID, r.RunID).Get(ctx, &status); err != nil {
			return status, fmt.Errorf("the result cannot be read: %w", err)
		}
	default:
		return status, fmt.Errorf("its workflow ended without deciding: %s", r.State)
	}
	return status, nil
}
