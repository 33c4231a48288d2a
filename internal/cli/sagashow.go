package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"

	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// sagaDetail is what `holdfast saga show --json` writes.
type sagaDetail struct {
	sagaRow
	// Status is where it stands, if that can be known; Unknown says why it cannot,
	// and what is known instead.
	Status  *workflows.SagaStatus `json:"status,omitempty"`
	Unknown string                `json:"unknown,omitempty"`
	// Plan is its definition, where there is no status.
	Plan *core.Plan `json:"plan,omitempty"`
	// Next is what comes next, Commands what can be typed now.
	Next     []string          `json:"next,omitempty"`
	Commands []string          `json:"commands,omitempty"`
	Pending  []pendingActivity `json:"pending,omitempty"`
	// Undoes is the link to its own workflow, where UI is that of the undoing.
	Undoes string `json:"undoes_ui,omitempty"`
	UI     string `json:"ui,omitempty"`
	// Steps are those of the workflow's history.
	Steps []step `json:"history,omitempty"`
	Cut   bool   `json:"history_cut,omitempty"`
}

func newSagaShowCommand(a *app) *cobra.Command {
	var group string
	var data, history bool
	c := a.showing(&cobra.Command{
		Use:   "show ID",
		Short: "Show a saga: its steps, what comes next, what can be done",
		Long: `Show a saga: each step, how it stands, how long it took, how often it was tried,
its error and its Undo; what comes next; what happened beside the usual; and the
commands that are possible now. For what an ID is, see holdfast saga --help.
Where no process of the group answers, its workflow's history is shown instead.

  ✓ done   ▶ under way   ↻ to be tried again   ✗ failed   ⊘ refused
  ↩ undone   ↶ being undone   ‼ could not be undone   » skipped   · not begun
  ◆ the pivot: after it there is no way back   ∥ all at once   → in sequence

JSON: id, group, name, key, version, state, step, reason, started, closed,
undone_later, parent, workflow_id, run_id; status (id, group, name, version,
key, state, step, reason; plan; core: phase, steps, stack, paused, cause, and
with --data the saga's data; answers; story: at, what, step, operator, text;
actions; late); unknown (why there is no status) and plan; next; commands;
pending (name, attempt, running, next, error); ui, undoes_ui; history (at, kind,
name, summary, result), history_cut (there is more).`,
		Example: "  holdfast saga show A-1007\n  holdfast saga show order-payment/A-1007 --data --history",
	}, func(ctx context.Context, t *temporalServer, id string) (shown, error) {
		found, err := findSaga(ctx, t, id, group, a.Prefix)
		if err != nil {
			return nil, err
		}
		d, err := sagaDetailOf(ctx, t, found, data, history, a.Now())
		if err != nil {
			return nil, err
		}
		d.UI = uiLink(a.UI, t.namespace, d.WorkflowID, d.RunID)
		if d.UndoneLater && d.run != "" {
			d.Undoes = uiLink(a.UI, t.namespace, d.ID, d.run)
		}
		d.paint = a.colours(a.Out)
		return d, nil
	})
	c.Flags().StringVar(&group, "group", "", "the producer group, where ID is NAME/KEY or a key")
	c.Flags().BoolVar(&data, "data", false, "show the saga's state")
	c.Flags().BoolVar(&history, "history", false, "show the steps of its workflow's history, too")
	return c
}

// shownSaga is a saga that is shown, in colours or without.
type shownSaga struct {
	sagaDetail
	data  bool
	paint palette
}

// sagaDetailOf reads all that is known of a saga.
func sagaDetailOf(ctx context.Context, t *temporalServer, of sagaRow, data, history bool, now time.Time) (shownSaga, error) {
	d := shownSaga{sagaDetail: sagaDetail{sagaRow: of}, data: data}
	described, err := t.DescribeWorkflowExecution(ctx, of.WorkflowID, of.RunID)
	if err != nil {
		return d, fmt.Errorf("workflow %s: %w", of.WorkflowID, err)
	}
	d.Pending = pendingActivities(described.GetPendingActivities())
	if err := d.stands(ctx, t, now); err != nil {
		return d, err
	}
	if d.Status != nil && !data {
		d.Status = withoutData(*d.Status)
	}
	if history || d.Status == nil {
		events, cut, err := t.history(ctx, of.WorkflowID, of.RunID)
		if err != nil {
			return d, err
		}
		d.Steps, d.Cut = readHistory(events, t.data, "").steps, cut
	}
	return d, nil
}

// stands asks where it stands, or reads how it ended. Of what was ended from
// outside, a process can tell from its history how far it came.
func (d *shownSaga) stands(ctx context.Context, t *temporalServer, now time.Time) error {
	var status workflows.SagaStatus
	var err error
	if d.status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED {
		err = t.readResult(ctx, d.WorkflowID, d.RunID, &status)
	} else if err = t.askStatus(ctx, d.WorkflowID, d.RunID, &status); err == nil && status.Core.Phase == "" {
		err = fmt.Errorf("its workflow had not begun")
	}
	if err == nil {
		d.Status, d.Version, d.Step, d.Reason = &status, status.Version, status.Step, status.Reason
		if !isLost(d.status) {
			d.State = status.State
		}
		d.Next, d.Commands = whatNext(status, now), d.possible(t.suggester, status)
		return nil
	}
	d.Unknown = fmt.Sprintf("no process answered: start one of group %s, which serves the task queue %s, to see its steps (%s)", d.Group, d.taskQueue, text(err))
	if d.status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED {
		d.Unknown = "its result cannot be read: " + text(err)
	}
	var began workflows.SagaInput
	if err := t.inputOf(ctx, d.WorkflowID, d.RunID, &began); err != nil {
		return err
	}
	if d.Plan = planOf(ctx, t, d.sagaRow, began); d.Plan != nil {
		d.Version = d.Plan.Version
	}
	d.Commands = d.possible(t.suggester, workflows.SagaStatus{})
	return nil
}

// withoutData is a status without what the saga's business is.
func withoutData(s workflows.SagaStatus) *workflows.SagaStatus {
	s.Core.Data, s.Core.Past, s.Answers = nil, nil, nil
	steps := map[string]*core.StepState{}
	for name, at := range s.Core.Steps {
		plain := *at
		plain.Sub = nil
		steps[name] = &plain
	}
	s.Core.Steps = steps
	return &s
}

// dataText is a saga's state for people to read.
func dataText(data json.RawMessage) string {
	var v any
	if json.Unmarshal(data, &v) != nil {
		return string(data)
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return string(data)
	}
	return string(b)
}
