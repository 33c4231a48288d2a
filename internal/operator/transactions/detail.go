package transactions

import (
	"context"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	enumspb "go.temporal.io/api/enums/v1"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/history"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/seal"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// Detail is what `holdfast tx show --json` writes.
type Detail struct {
	Row
	// Transactions are where the workflow's transactions stand, if that can be
	// known; Unknown says why it cannot.
	Transactions []txflow.MemberStatus `json:"transactions,omitempty"`
	Unknown      string                `json:"unknown,omitempty"`
	Messages     []MessageDetail       `json:"messages"`
	Steps        []history.Step        `json:"steps"`
	Cut          bool                  `json:"steps_cut,omitempty"`
	UI           string                `json:"ui,omitempty"`
	// Shared is how many transactions share the workflow, where it is several;
	// LeftFrom is the workflow that the transaction left.
	Shared   int    `json:"shared,omitempty"`
	LeftFrom string `json:"left_from,omitempty"`
	// Commands are what an operator can type now.
	Commands []string `json:"commands,omitempty"`
	// Choices are the names of the acts that make sense now, without force; none where
	// several transactions are meant. Lost says that the workflow was ended from outside.
	Choices []string `json:"-"`
	Lost    bool     `json:"-"`
	// Outcome is what the outcome row says, where there is no workflow.
	Outcome *outcomeRow `json:"outcome,omitempty"`

	say text.Suggester
}

// MessageDetail is a message, with its body only where that is asked for.
type MessageDetail struct {
	ID          string            `json:"id"`
	Topic       string            `json:"topic"`
	Key         string            `json:"key,omitempty"`
	ContentType string            `json:"content_type,omitempty"`
	Headers     map[string]string `json:"headers,omitempty"`
	Properties
	Size   int    `json:"size"`
	Text   string `json:"text,omitempty"`
	Base64 []byte `json:"base64,omitempty"`
	// Cut is how many bytes of the body are left out of Text or Base64.
	Cut int `json:"cut,omitempty"`
	// Encrypted says why nothing is shown of a body that is encrypted.
	Encrypted string `json:"encrypted,omitempty"`
}

// Describe reads all that is known of a transaction's workflow.
func Describe(ctx context.Context, t *server.Temporal, of target, body bool) (Detail, error) {
	described, err := t.DescribeWorkflowExecution(ctx, of.WorkflowID, of.RunID)
	if err != nil {
		return Detail{}, fmt.Errorf("workflow %s: %w", of.WorkflowID, err)
	}
	info := described.GetWorkflowExecutionInfo()
	if kind := info.GetType().GetName(); kind != txflow.Name && kind != txflow.RecoveryName {
		return Detail{}, text.Usagef("workflow %s is a %s, not a %s or a %s", of.WorkflowID, kind, txflow.Name,
			txflow.RecoveryName)
	}
	d := Detail{say: t.Suggester, Row: InfoRow(t, info), LeftFrom: info.GetParentExecution().GetWorkflowId()}
	only := ""
	if server.IsShared(d.WorkflowID) {
		only = of.Tx
	}
	told, cut, err := readStory(ctx, t, d.WorkflowID, d.RunID, only)
	if err != nil {
		return Detail{}, err
	}
	d.Steps, d.Cut = told.Steps, cut
	status, err := txStatus(ctx, t, d.Row, info.GetStatus())
	if err != nil {
		d.Unknown = text.Of(err)
		if server.IsShared(d.WorkflowID) {
			if status.Transactions, err = toldMembers(ctx, t, d.Row, told, info.GetStatus()); err != nil {
				return Detail{}, err
			}
		}
	}
	if n := len(status.Transactions); n > 1 {
		d.Shared = n
	}
	d.fill(ctx, t.Box, of, status, told, body)
	if len(d.Transactions) == 0 && server.ClosedStates[d.State] != 0 {
		d.choose([]string{txflow.UpdateRecheck})
		d.Commands = []string{d.say.Command("tx "+txflow.UpdateRecheck, of.Name(), text.WithReason()...)}
	}
	return d, nil
}

// fill takes from status and history what belongs to the transaction that was
// meant, or to all if none was.
func (d *Detail) fill(ctx context.Context, box *seal.Box, of target, status txflow.Status, told history.Story,
	body bool) {
	meant := func(id string, keys []string) bool {
		return of.Tx == id || of.Tx == "" && (of.key == "" || slices.Contains(keys, of.key))
	}
	for _, m := range status.Transactions {
		if meant(m.ID, m.Keys) {
			d.Transactions = append(d.Transactions, m)
		}
	}
	if len(d.Transactions) == 1 {
		m := d.Transactions[0]
		d.Commands = d.possible(m)
		d.choose(d.acts(m))
		d.Tx, d.State, d.Reason, d.Topics, d.Keys = m.ID, string(m.State), m.Reason, m.Topics, m.Keys
	}
	for _, id := range told.Order {
		ms := told.Messages[id]
		if !meant(id, history.KeysOf(ms)) {
			continue
		}
		for _, m := range ms {
			d.Messages = append(d.Messages, newMessageDetail(ctx, box, m, body))
		}
	}
}

// possible are the commands that an operator can type now.
func (d *Detail) possible(m txflow.MemberStatus) (commands []string) {
	for _, act := range d.acts(m) {
		commands = append(commands, d.say.Command("tx "+act, server.OwnID(d.WorkflowID, m.ID), text.WithReason()...))
	}
	return commands
}

func newMessageDetail(ctx context.Context, box *seal.Box, m holdfast.Message, body bool) MessageDetail {
	if body {
		return OpenedBeginning(ctx, box, m, m, math.MaxInt)
	}
	return OpenedBeginning(ctx, box, m, m, 0)
}

// OpenedBeginning is [MessageBeginning] of a message that may be encrypted, for a message with
// the ID and the topic of of. Where it cannot be decrypted it says so, and shows nothing.
func OpenedBeginning(ctx context.Context, box *seal.Box, m, of holdfast.Message, most int) MessageDetail {
	if !seal.IsSealed(m) {
		return MessageBeginning(m, most)
	}
	opened, err := box.Open(ctx, m, of.ID, of.Topic)
	if err != nil {
		d := MessageBeginning(m, 0)
		d.Encrypted = seal.Note(err)
		return d
	}
	return MessageBeginning(opened, most)
}

// MessageBeginning is a message with so many bytes of its body, at most; of a text,
// whole characters. 0: with nothing of it.
func MessageBeginning(m holdfast.Message, most int) MessageDetail {
	d := MessageDetail{ID: m.ID, Topic: m.Topic, Key: m.Key, ContentType: m.ContentType, Headers: m.Headers,
		Properties: propertiesOf(m), Size: len(m.Body)}
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
func txStatus(ctx context.Context, t *server.Temporal, r Row,
	s enumspb.WorkflowExecutionStatus) (txflow.Status, error) {
	var status txflow.Status
	switch s {
	case enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING:
		if err := t.AskStatus(ctx, r.WorkflowID, r.RunID, &status); err != nil {
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
