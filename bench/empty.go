package main

import (
	"context"

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
