package sagas

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/holdfastmq/holdfast/internal/operator/history"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/saga/core"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// Detail is what `holdfast saga show --json` writes.
type Detail struct {
	Row
	// Status is where it stands, if that can be known; Unknown says why it cannot,
	// and what is known instead.
	Status  *sagaflow.Status `json:"status,omitempty"`
	Unknown string           `json:"unknown,omitempty"`
	// Encrypted says why the state, or some of it, is not shown.
	Encrypted string `json:"encrypted,omitempty"`
	// Plan is its definition, where there is no status.
	Plan *core.Plan `json:"plan,omitempty"`
	// Next is what comes next, Commands what can be typed now; Choices are the same.
	Next     []string                  `json:"next,omitempty"`
	Commands []string                  `json:"commands,omitempty"`
	Choices  []Choice                  `json:"-"`
	Pending  []history.PendingActivity `json:"pending,omitempty"`
	// Undoes is the link to its own workflow, where UI is that of the undoing.
	Undoes string `json:"undoes_ui,omitempty"`
	UI     string `json:"ui,omitempty"`
	// Steps are those of the workflow's history.
	Steps []history.Step `json:"history,omitempty"`
	Cut   bool           `json:"history_cut,omitempty"`
}

// shownSaga is a saga that is shown, in colours or without.
type shownSaga struct {
	Detail
	data  bool
	Paint text.Palette
}

// Describe reads all that is known of a saga.
func Describe(ctx context.Context, t *server.Temporal, of Row, data, steps bool, now time.Time) (shownSaga, error) {
	d := shownSaga{Detail: Detail{Row: of}, data: data}
	if of.Cohort != "" {
		d.Unknown = runsShared(t, of)
		return d, nil
	}
	described, err := t.DescribeWorkflowExecution(ctx, of.WorkflowID, of.RunID)
	if err != nil {
		return d, fmt.Errorf("workflow %s: %w", of.WorkflowID, err)
	}
	d.Pending = history.Pending(described.GetPendingActivities())
	if err := d.stands(ctx, t, now); err != nil {
		return d, err
	}
	switch {
	case d.Status != nil && !data:
		d.Status = withoutData(*d.Status)
	case d.Status != nil:
		d.open(ctx, t.Box)
	}
	if steps || d.Status == nil {
		events, cut, err := t.History(ctx, of.WorkflowID, of.RunID)
		if err != nil {
			return d, err
		}
		d.Steps, d.Cut = history.Read(events, t.Data, "").Steps, cut
	}
	return d, nil
}

// open opens the state, and what else of the business is in the status, to be shown.
func (d *shownSaga) open(ctx context.Context, box *seal.Box) {
	plain, err := json.Marshal(d.Status)
	if err != nil {
		return // it was read from JSON
	}
	shown, err := box.Shown(ctx, plain)
	if err != nil {
		d.Encrypted = seal.Note(err)
	}
	var status sagaflow.Status
	if json.Unmarshal(shown, &status) == nil {
		d.Status = &status
	}
}

// stands asks where it stands, or reads how it ended. Of what was ended from
// outside, a process can tell from its history how far it came.
func (d *shownSaga) stands(ctx context.Context, t *server.Temporal, now time.Time) error {
	var status sagaflow.Status
	var err error
	if d.status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED {
		err = t.ReadResult(ctx, d.WorkflowID, d.RunID, &status)
	} else if err = t.AskStatus(ctx, d.WorkflowID, d.RunID, &status); err == nil && status.Core.Phase == "" {
		err = fmt.Errorf("its workflow had not begun")
	}
	if err == nil {
		d.Status, d.Version, d.Step, d.Reason = &status, status.Version, status.Step, status.Reason
		if !server.IsLost(d.status) {
			d.State = status.State
		}
		d.Next = whatNext(status, now)
		d.choose(t.Suggester, status)
		return nil
	}
	d.Unknown = fmt.Sprintf("no process answered: start one of group %s, which serves the task queue %s, to see its "+
		"steps (%s)", d.Group, d.taskQueue, text.Of(err))
	if d.status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED {
		d.Unknown = "its result cannot be read: " + text.Of(err)
	}
	var began sagaflow.Input
	if err := t.InputOf(ctx, d.WorkflowID, d.RunID, &began); err != nil {
		return err
	}
	if d.Plan = planOf(ctx, t, d.Row, began); d.Plan != nil {
		d.Version = d.Plan.Version
	}
	d.choose(t.Suggester, sagaflow.Status{})
	return nil
}

// choose says what can be asked of it now.
func (d *shownSaga) choose(say text.Suggester, s sagaflow.Status) {
	d.Choices, d.Commands = d.choices(s), d.possible(say, s)
}

// withoutData is a status without what the saga's business is.
func withoutData(s sagaflow.Status) *sagaflow.Status {
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
