package cookbook

import (
	"context"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	sdkworker "go.temporal.io/sdk/worker"

	"github.com/holdfastmq/holdfast/saga"
)

// Scored has an activity that a worker of yours runs on a task queue of its own: in
// Go, Python, Java, TypeScript or any other language that Temporal has an SDK for.
var Scored = saga.Saga[Order]{
	Name: "scored-order",
	Steps: []saga.Step[Order]{
		saga.Local("create-order", createOrder, cancelOrder),
		saga.Activity("score", "ScoreOrder", "").On("risk").NoUndo().
			Receive(saga.Into(func(_ *Order, score float64) error {
				if score > 0.9 {
					return saga.Refuse("the risk is too high")
				}
				return nil
			})),
		saga.Local("confirm-order", confirmOrder, nil).NoUndo(),
	},
}

// ScoreOrder is the activity, here in Go.
func ScoreOrder(_ context.Context, in saga.ActivityInput) (float64, error) {
	return float64(len(in.Data)) / 1000, nil // in.Data is the saga's state, in JSON
}

// RiskWorker runs it.
func RiskWorker(c client.Client) sdkworker.Worker {
	w := sdkworker.New(c, "risk", sdkworker.Options{})
	w.RegisterActivityWithOptions(ScoreOrder, activity.RegisterOptions{Name: "ScoreOrder"})
	return w
}
