package transactions_test

import (
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/testsuite"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/workflows/internal/workflowtest"
)

// childMemos are the memos of the workflows that the workflow starts, by their IDs.
func childMemos(env *testsuite.TestWorkflowEnvironment) map[string]map[string]any {
	seen := memoWatch{memos: map[string]map[string]any{}}
	env.SetWorkerOptions(sdkworker.Options{DeadlockDetectionTimeout: workflowtest.Patience, Interceptors: []interceptor.WorkerInterceptor{&seen}})
	return seen.memos
}

type memoWatch struct {
	interceptor.WorkerInterceptorBase
	memos map[string]map[string]any
}

func (m *memoWatch) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	in := &memoInbound{memos: m.memos}
	in.Next = next
	return in
}

type memoInbound struct {
	interceptor.WorkflowInboundInterceptorBase
	memos map[string]map[string]any
}

func (m *memoInbound) Init(next interceptor.WorkflowOutboundInterceptor) error {
	out := &memoOutbound{memos: m.memos}
	out.Next = next
	return m.Next.Init(out)
}

type memoOutbound struct {
	interceptor.WorkflowOutboundInterceptorBase
	memos map[string]map[string]any
}

func (m *memoOutbound) ExecuteChildWorkflow(ctx workflow.Context, name string, args ...any) workflow.ChildWorkflowFuture {
	o := workflow.GetChildWorkflowOptions(ctx)
	m.memos[o.WorkflowID] = o.Memo
	return m.Next.ExecuteChildWorkflow(ctx, name, args...)
}
