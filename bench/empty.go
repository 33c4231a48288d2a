package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/client"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// empty is the least that a workflow costs.
var empty = competitor{
	name:  "empty",
	about: "an empty workflow, started (eager start, as the Traced lane) and awaited",
	most:  slowMost,
	open: func(_ context.Context, s *servers) (*entry, error) {
		queue := s.prefix + ".empty"
		w := sdkworker.New(s.temporal, queue, sdkworker.Options{})
		w.RegisterWorkflowWithOptions(func(workflow.Context) error { return nil }, workflow.RegisterOptions{Name: "Empty"})
		if err := w.Start(); err != nil {
			return nil, err
		}
		return &entry{
			drive: closedLoop(func(ctx context.Context) error {
				return s.execute(ctx, client.StartWorkflowOptions{TaskQueue: queue, EnableEagerStart: true}, "Empty")
			}),
			settle: func(ctx context.Context) error { return s.closed(ctx, "Empty", queue) },
			close:  w.Stop,
		}, nil
	},
}

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
