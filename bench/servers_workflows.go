package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

const (
	// lookEvery is the pause between two looks at what Temporal lists.
	lookEvery = 50 * time.Millisecond
)

// execute starts a workflow and awaits its end.
func (s *servers) execute(ctx context.Context, o client.StartWorkflowOptions, name string, args ...any) error {
	o.ID = s.prefix + "/" + uuid.NewString()
	run, err := s.temporal.ExecuteWorkflow(ctx, o, name, args...)
	if err != nil {
		return err
	}
	return run.Get(ctx, nil)
}

// closed waits until no workflow of a type is running on a task queue.
func (s *servers) closed(ctx context.Context, workflowType, queue string) error {
	open := countRequest(s.stack.Namespace(), workflowType)
	open.Query += " AND TaskQueue = '" + queue + "'" // others may use the same server
	for {
		answer, err := s.temporal.CountWorkflow(ctx, open)
		if err != nil {
			return err
		}
		if answer.GetCount() == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d workflows are still running: %w", answer.GetCount(), ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func countRequest(namespace, workflowType string) *workflowservice.CountWorkflowExecutionsRequest {
	return &workflowservice.CountWorkflowExecutionsRequest{Namespace: namespace,
		Query: "WorkflowType = '" + workflowType + "' AND ExecutionStatus = 'Running'"}
}
