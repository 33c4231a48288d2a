package sagas

import "go.temporal.io/sdk/workflow"

// Observed is the workflow [Saga], and tells ended of each saga that ends in
// this process, before that is recorded, but not of those that are replayed. ended
// must not block, and decides nothing.
func Observed(ended func(Status)) func(workflow.Context, Input) (Status, error) {
	return func(ctx workflow.Context, in Input) (Status, error) {
		status, err := Saga(ctx, in)
		if err == nil && !workflow.IsReplaying(ctx) {
			ended(status)
		}
		return status, err
	}
}
