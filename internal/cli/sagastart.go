package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/shell"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// sagaStarted is what it writes with --json.
type sagaStarted struct {
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

// startSaga starts the workflow, as the group's own processes do.
func startSaga(ctx context.Context, t *temporalServer, in workflows.SagaInput, wait time.Duration, prefix string) (sagaStarted, error) {
	got := sagaStarted{ID: in.ID, Group: in.Group, Name: in.Name, Key: in.Key, State: core.StateRunning, WorkflowID: in.ID}
	id, run, err := workflows.StartSaga(ctx, t, workflows.SagaStart{Prefix: prefix}, in)
	in.ID, got.ID, got.WorkflowID = id, id, id
	var there *serviceerror.WorkflowExecutionAlreadyStarted
	switch {
	case errors.Is(err, holdfast.ErrDuplicate):
		return got, withRemedy(err, "%s says how it stands; use another --key for new work", t.code("saga show", in.ID))
	case errors.As(err, &there):
		return got, withRemedy(fmt.Errorf("%w: saga %s is there already", holdfast.ErrDuplicate, in.ID),
			"%s says how it stands; use another --key for new work", t.code("saga show", in.ID))
	case err != nil:
		return got, withRemedy(fmt.Errorf("start saga %s: %w", in.ID, err),
			"%s says what is missing; starting again with --key %s is safe", t.code("doctor", "", "--group", in.Group), shell.Word(in.Key))
	}
	got.RunID = run.GetRunID()
	if wait == 0 {
		return got, nil
	}
	return got, awaitSaga(ctx, t, &got, wait, workflows.TaskQueue(prefix, in.Group))
}

// awaitSaga waits until a saga has ended, or waits for somebody, or the time is
// over.
func awaitSaga(ctx context.Context, t *temporalServer, got *sagaStarted, wait time.Duration, queue string) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		var status workflows.SagaStatus
		if t.stands(ctx, got.WorkflowID, &status) == nil {
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
func whyNoEnd(ctx context.Context, t *temporalServer, got *sagaStarted, queue string) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if n, err := t.pollers(ctx, queue, enumspb.TASK_QUEUE_TYPE_WORKFLOW); err == nil && n == 0 {
		return withRemedy(fmt.Errorf("saga %s is started, but no worker of group %s runs", got.ID, got.Group),
			"it goes on as soon as a process of the group is started; %s says how it ended", t.code("saga show", got.ID))
	}
	return nil
}

func (s sagaStarted) sentence() string {
	line := fmt.Sprintf("Saga %s is %s", s.ID, s.State)
	if why := stepReason(s.Step, s.Reason); why != "" {
		line += ", " + why
	}
	return oneLine(line)
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
