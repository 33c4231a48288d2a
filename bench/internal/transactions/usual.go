package transactions

import (
	"context"
	"time"

	"go.temporal.io/sdk/client"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/orders"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
)

// Usual is how the same is usually done with Temporal: a step, an activity.
var Usual = contest.Competitor{
	Name: "usual",
	About: "a workflow with three activities one after the other (half message published, " +
		"database transaction with one insert, message published), started and awaited; the SDK's defaults",
	Most: contest.SlowMost,
	Open: func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
		topic, err := s.Topic(ctx, "usual")
		if err != nil {
			return nil, err
		}
		if err := s.Broker.DeclareGroup(ctx, "usual"); err != nil {
			return nil, err
		}
		queue := s.Prefix + ".usual"
		w := sdkworker.New(s.Temporal, queue, sdkworker.Options{})
		w.RegisterWorkflowWithOptions(threeActivities, workflow.RegisterOptions{Name: "Usual"})
		w.RegisterActivity(&usualSteps{s})
		if err := w.Start(); err != nil {
			return nil, err
		}
		return &contest.Entry{
			Drive: measure.ClosedLoop(func(ctx context.Context) error {
				id, ms := orders.NewTransaction(topic)
				return s.Execute(ctx, client.StartWorkflowOptions{TaskQueue: queue}, "Usual", id, ms)
			}),
			Settle: func(ctx context.Context) error {
				if err := s.AwaitClosed(ctx, "Usual", queue); err != nil {
					return err
				}
				return s.Purge(s.Broker.HalfQueue("usual"), s.Broker.ConsumerQueue("usual"))
			},
			Close: w.Stop,
		}, nil
	},
}

func threeActivities(ctx workflow.Context, id string, ms []holdfast.Message) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 30 * time.Second})
	for _, step := range []string{"PublishHalf", "Insert", "Publish"} {
		if err := workflow.ExecuteActivity(ctx, step, id, ms).Get(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

// usualSteps are the three activities.
type usualSteps struct{ s *servers.Servers }

func (u *usualSteps) PublishHalf(ctx context.Context, id string, ms []holdfast.Message) error {
	return u.s.Broker.PublishHalf(ctx, holdfast.Half{TxID: id, Group: "usual", Messages: ms, At: time.Now()})
}

func (u *usualSteps) Insert(ctx context.Context, _ string, ms []holdfast.Message) error {
	return orders.InsertAlone(ctx, u.s.DB, ms[0].Key)
}

func (u *usualSteps) Publish(ctx context.Context, id string, ms []holdfast.Message) error {
	return u.s.Broker.PublishMessages(ctx, "usual", id, ms)
}
