package sagas

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/shell"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// Started is what it writes with --json.
type Started struct {
	ID         string `json:"id"`
	Group      string `json:"group"`
	Name       string `json:"name"`
	Key        string `json:"key"`
	State      string `json:"state"`
	Step       string `json:"step,omitempty"`
	Reason     string `json:"reason,omitempty"`
	WorkflowID string `json:"workflow_id"`
	RunID      string `json:"run_id"`
}

// Start starts the workflow, as the group's own processes do.
func Start(ctx context.Context, t *server.Temporal, in sagaflow.Input, wait time.Duration,
	prefix string) (Started, error) {
	got := Started{ID: in.ID, Group: in.Group, Name: in.Name, Key: in.Key, State: core.StateRunning, WorkflowID: in.ID}
	id, run, err := sagaflow.Start(ctx, t, sagaflow.StartConfig{Prefix: prefix}, in)
	in.ID, got.ID, got.WorkflowID = id, id, id
	var there *serviceerror.WorkflowExecutionAlreadyStarted
	switch {
	case errors.Is(err, holdfast.ErrDuplicate):
		return got, text.WithRemedy(err, "%s says how it stands; use another --key for new work", t.Code("saga show", in.ID))
	case errors.As(err, &there):
		return got, text.WithRemedy(fmt.Errorf("%w: saga %s is there already", holdfast.ErrDuplicate, in.ID),
			"%s says how it stands; use another --key for new work", t.Code("saga show", in.ID))
	case err != nil:
		return got, text.WithRemedy(fmt.Errorf("start saga %s: %w", in.ID, err),
			"%s says what is missing; starting again with --key %s is safe", t.Code("doctor", "", "--group",
				in.Group), shell.Word(in.Key))
	}
	got.RunID = run.GetRunID()
	if wait == 0 {
		return got, nil
	}
	return got, awaitSaga(ctx, t, &got, wait, workflows.TaskQueue(prefix, in.Group))
}

// awaitSaga waits until a saga has ended, or waits for somebody, or the time is
// over.
func awaitSaga(ctx context.Context, t *server.Temporal, got *Started, wait time.Duration, queue string) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for pause := server.FirstPause; ; pause = min(2*pause, server.MostPause) {
		var status sagaflow.Status
		if t.Stands(ctx, got.WorkflowID, &status) == nil {
			got.State, got.Step, got.Reason = status.State, status.Step, status.Reason
			switch status.State {
			case core.StateRunning, core.StateCompensating, core.StateNoWorker:
			default:
				return nil
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return whyNoEnd(context.WithoutCancel(ctx), t, got, queue)
		}
	}
}

// whyNoEnd says why a saga has not ended in time, if nobody runs it.
func whyNoEnd(ctx context.Context, t *server.Temporal, got *Started, queue string) error {
	ctx, cancel := context.WithTimeout(ctx, server.QueryTimeout)
	defer cancel()
	if n, err := t.Pollers(ctx, queue, enumspb.TASK_QUEUE_TYPE_WORKFLOW); err == nil && n == 0 {
		return text.WithRemedy(fmt.Errorf("saga %s is started, but no worker of group %s runs", got.ID, got.Group),
			"it goes on as soon as a process of the group is started; %s says how it ended", t.Code("saga show", got.ID))
	}
	return nil
}

// Sentence says how a saga that was started stands.
func (s Started) Sentence() string {
	line := fmt.Sprintf("Saga %s is %s", s.ID, s.State)
	if why := stepReason(s.Step, s.Reason); why != "" {
		line += ", " + why
	}
	return text.OneLine(line)
}

// stepReason names a step and says what is to be said of it, once.
func stepReason(step, reason string) string {
	switch {
	case step == "" || strings.HasPrefix(reason, "step "+step+" "):
		return reason
	case reason == "":
		return "step " + step
	}
	return "step " + step + ": " + reason
}
