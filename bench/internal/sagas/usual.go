package sagas

import (
	"context"
	"time"

	"go.temporal.io/sdk/client"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
	"github.com/holdfastmq/holdfast/compensation"
)

// LocalUsual is how the local saga is usually written with Temporal.
var LocalUsual = contest.Competitor{
	Name: "saga-usual",
	About: "a workflow written by hand with the same three inserts " +
		"as activities one after the other and a stack of compensations, started and awaited; the SDK's defaults",
	Most: contest.SlowMost,
	Open: func(_ context.Context, s *servers.Servers) (*contest.Entry, error) {
		return openUsual(s, "saga-usual", usualLocalSaga, &books{db: s.DB, local: 3}, nil)
	},
}

// MixedUsual is how the mixed one is.
var MixedUsual = contest.Competitor{
	Name: "saga-mixed-usual",
	About: "the same with two activities of this process and two of the participants', " +
		"which polls a task queue of its own; the SDK's defaults",
	Most: contest.SlowMost,
	Open: func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
		p, err := newParticipants(ctx, s, participantActivities, "saga-mixed-usual")
		if err != nil {
			return nil, err
		}
		return openUsual(s, "saga-mixed-usual", usualMixedSaga(participantQueue(s.Prefix, "saga-mixed-usual")),
			&books{db: s.DB, participants: p.db, local: 2, remote: 2}, p)
	},
}

type usualSaga func(ctx workflow.Context, o order) (order, error)

// openUsual runs a workflow, under the name of its competitor, in a worker of this
// process.
func openUsual(s *servers.Servers, name string, body usualSaga, b *books, p *participants) (*contest.Entry, error) {
	queue := s.Prefix + "." + name
	w := sdkworker.New(s.Temporal, queue, sdkworker.Options{})
	w.RegisterWorkflowWithOptions(body, workflow.RegisterOptions{Name: name})
	w.RegisterActivity(&usualSteps{s.DB})
	if err := w.Start(); err != nil {
		return nil, err
	}
	e := newEntry(s, name, queue, b, p, func(ctx context.Context, o order) (order, error) {
		run, err := s.Temporal.ExecuteWorkflow(ctx,
			client.StartWorkflowOptions{ID: s.Prefix + "/" + o.Number, TaskQueue: queue}, name, o)
		if err != nil {
			return o, err
		}
		err = run.Get(ctx, &o)
		return o, err
	})
	e.Close = w.Stop
	return e, nil
}

func usualLocalSaga(ctx workflow.Context, o order) (_ order, err error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 30 * time.Second})
	var undo compensation.Stack
	defer func() { err = undo.RunAfter(ctx, err) }()
	var steps *usualSteps
	for _, step := range []string{stepCreate, stepInvoice, stepConfirm} {
		compensation.AddNamed(&undo, "undo "+step, "Delete", o, step)
		if err := workflow.ExecuteActivity(ctx, steps.Insert, o, step).Get(ctx, &o); err != nil {
			return o, err
		}
	}
	return o, nil
}

func usualMixedSaga(participants string) usualSaga {
	return func(ctx workflow.Context, o order) (_ order, err error) {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 30 * time.Second})
		there := workflow.WithTaskQueue(ctx, participants)
		var undo compensation.Stack
		defer func() { err = undo.RunAfter(ctx, err) }()
		undoThere := &compensation.Stack{Activity: workflow.ActivityOptions{TaskQueue: participants}}
		var steps *usualSteps
		var their *participantSteps

		compensation.AddNamed(&undo, "cancel the order", "Delete", o, stepCreate)
		if err := workflow.ExecuteActivity(ctx, steps.Insert, o, stepCreate).Get(ctx, &o); err != nil {
			return o, err
		}
		undo.Nest("participants", undoThere)
		compensation.Add(undoThere, "release the stock", their.Unreserve, o)
		if err := workflow.ExecuteActivity(there, their.Reserve, o).Get(ctx, nil); err != nil {
			return o, err
		}
		compensation.Add(undoThere, "refund the payment", their.Refund, o)
		if err := workflow.ExecuteActivity(there, their.Charge, o).Get(ctx, nil); err != nil {
			return o, err
		}
		compensation.AddNamed(&undo, "unconfirm the order", "Delete", o, stepConfirm)
		err = workflow.ExecuteActivity(ctx, steps.Insert, o, stepConfirm).Get(ctx, &o)
		return o, err
	}
}

// usualSteps are the activities of this process.
type usualSteps struct{ db *gorm.DB }

func (u *usualSteps) Insert(ctx context.Context, o order, step string) (order, error) {
	err := u.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		id, err := insertStep(tx, o, step)
		o.Rows = append(o.Rows, id)
		return err
	})
	return o, err
}

func (u *usualSteps) Delete(ctx context.Context, o order, step string) error {
	return u.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error { return deleteStep(tx, o, step) })
}
