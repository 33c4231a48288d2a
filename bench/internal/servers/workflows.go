package servers

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/holdfastmq/holdfast/bench/internal/measure"
)

// LookEvery is the pause between two looks at what Temporal lists, or at how long
// a queue is.
const LookEvery = 50 * time.Millisecond

// Execute starts a workflow and awaits its end.
func (s *Servers) Execute(ctx context.Context, o client.StartWorkflowOptions, name string, args ...any) error {
	o.ID = s.Prefix + "/" + uuid.NewString()
	run, err := s.Temporal.ExecuteWorkflow(ctx, o, name, args...)
	if err != nil {
		return err
	}
	return run.Get(ctx, nil)
}

// AwaitClosed waits until no workflow of a type is running on a task queue.
func (s *Servers) AwaitClosed(ctx context.Context, workflowType, queue string) error {
	open := CountRequest(s.Stack.Namespace(), workflowType)
	open.Query += " AND TaskQueue = '" + queue + "'" // others may use the same server
	for {
		answer, err := s.Temporal.CountWorkflow(ctx, open)
		if err != nil {
			return err
		}
		if answer.GetCount() == 0 {
			return nil
		}
		if measure.Pause(ctx, LookEvery) != nil {
			return fmt.Errorf("%d workflows are still running: %w", answer.GetCount(), ctx.Err())
		}
	}
}

// CountStarted counts the workflows of a type on a task queue, the closed ones, too.
func (s *Servers) CountStarted(ctx context.Context, workflowType, queue string) (int64, error) {
	answer, err := s.Temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{
		Namespace: s.Stack.Namespace(),
		Query:     "WorkflowType = '" + workflowType + "' AND TaskQueue = '" + queue + "'"})
	return answer.GetCount(), err
}

// CountRequest counts the running workflows of a type.
func CountRequest(namespace, workflowType string) *workflowservice.CountWorkflowExecutionsRequest {
	return &workflowservice.CountWorkflowExecutionsRequest{Namespace: namespace,
		Query: "WorkflowType = '" + workflowType + "' AND ExecutionStatus = 'Running'"}
}
