package workflows

import "go.temporal.io/sdk/workflow"

// ObservedSaga is the workflow [Saga], and tells ended of each saga that ends in
// this process, before that is recorded, but not of those that are replayed. ended
// must not block, and decides nothing.
func ObservedSaga(ended func(SagaStatus)) func(workflow.Context, SagaInput) (SagaStatus, error) {
	return func(ctx workflow.Context, in SagaInput) (SagaStatus, error) {
		status, err := Saga(ctx, in)
		if err == nil && !workflow.IsReplaying(ctx) {
			ended(status)
		}
		return status, err
	}
}
