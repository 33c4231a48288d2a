package transactions

import (
	"context"

	"go.temporal.io/sdk/client"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
)

// Empty is the least that a workflow costs.
var Empty = contest.Competitor{
	Name:  "empty",
	About: "an empty workflow, started (eager start, as the Traced lane) and awaited",
	Most:  contest.SlowMost,
	Open: func(_ context.Context, s *servers.Servers) (*contest.Entry, error) {
		queue := s.Prefix + ".empty"
		w := sdkworker.New(s.Temporal, queue, sdkworker.Options{})
		w.RegisterWorkflowWithOptions(func(workflow.Context) error { return nil }, workflow.RegisterOptions{Name: "Empty"})
		if err := w.Start(); err != nil {
			return nil, err
		}
		return &contest.Entry{
			Drive: measure.ClosedLoop(func(ctx context.Context) error {
				return s.Execute(ctx, client.StartWorkflowOptions{TaskQueue: queue, EnableEagerStart: true}, "Empty")
			}),
			Settle: func(ctx context.Context) error { return s.AwaitClosed(ctx, "Empty", queue) },
			Close:  w.Stop,
		}, nil
	},
}
