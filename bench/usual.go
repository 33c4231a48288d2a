package main

import (
	"context"
	"time"

	"go.temporal.io/sdk/client"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
)

// usual is how the same is usually done with Temporal: a step, an activity.
var usual = competitor{
	name: "usual",
	about: "a workflow with three activities one after the other (half message published, " +
		"database transaction with one insert, message published), started and awaited; the SDK's defaults",
	most: slowMost,
	open: func(ctx context.Context, s *servers) (*entry, error) {
		topic, err := s.topic(ctx, "usual")
		if err != nil {
			return nil, err
		}
		if err := s.broker.DeclareGroup(ctx, "usual"); err != nil {
			return nil, err
		}
		queue := s.prefix + ".usual"
		w := sdkworker.New(s.temporal, queue, sdkworker.Options{})
		w.RegisterWorkflowWithOptions(threeActivities, workflow.RegisterOptions{Name: "Usual"})
		w.RegisterActivity(&usualSteps{s})
		if err := w.Start(); err != nil {
			return nil, err
		}
		return &entry{
			drive: closedLoop(func(ctx context.Context) error {
				id, ms := newTransaction(topic)
				return s.execute(ctx, client.StartWorkflowOptions{TaskQueue: queue}, "Usual", id, ms)
			}),
			settle: func(ctx context.Context) error {
				if err := s.closed(ctx, "Usual", queue); err != nil {
					return err
				}
				return s.purge(s.broker.HalfQueue("usual"), s.broker.ConsumerQueue("usual"))
			},
			close: w.Stop,
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
type usualSteps struct{ s *servers }

func (u *usualSteps) PublishHalf(ctx context.Context, id string, ms []holdfast.Message) error {
	return u.s.broker.PublishHalf(ctx, holdfast.Half{TxID: id, Group: "usual", Messages: ms, At: time.Now()})
}

func (u *usualSteps) Insert(ctx context.Context, _ string, ms []holdfast.Message) error {
	return insertAlone(ctx, u.s.db, ms[0].Key)
}

func (u *usualSteps) Publish(ctx context.Context, id string, ms []holdfast.Message) error {
	return u.s.broker.PublishMessages(ctx, "usual", id, ms)
}
