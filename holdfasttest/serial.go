package holdfasttest

import (
	"context"
	"encoding/json"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

var keyState = temporal.NewSearchAttributeKeyKeyword(workflows.AttributeState)

// oneAtATime has the activities of a workflow run one after the other, in the
// order in which the workflow began them: also those of a parallel group, which
// then end in the same order each time.
type oneAtATime struct {
	interceptor.WorkerInterceptorBase
	k *Kit
}

func (o *oneAtATime) InterceptWorkflow(ctx workflow.Context,
	next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &inbound{WorkflowInboundInterceptorBase: interceptor.WorkflowInboundInterceptorBase{Next: next}, k: o.k}
}

func (o *oneAtATime) InterceptActivity(_ context.Context,
	next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &observed{ActivityInboundInterceptorBase: interceptor.ActivityInboundInterceptorBase{Next: next}, k: o.k}
}

type inbound struct {
	interceptor.WorkflowInboundInterceptorBase
	k *Kit
}

func (i *inbound) Init(next interceptor.WorkflowOutboundInterceptor) error {
	return i.Next.Init(&outbound{
		WorkflowOutboundInterceptorBase: interceptor.WorkflowOutboundInterceptorBase{Next: next}, k: i.k})
}

type outbound struct {
	interceptor.WorkflowOutboundInterceptorBase
	k    *Kit
	turn workflow.Mutex
}

// UpsertTypedSearchAttributes sees where a saga comes to stand.
func (o *outbound) UpsertTypedSearchAttributes(ctx workflow.Context,
	attributes ...temporal.SearchAttributeUpdate) error {
	if state, ok := temporal.NewSearchAttributes(attributes...).GetKeyword(keyState); ok {
		o.k.stands(workflow.GetInfo(ctx).WorkflowExecution.ID, state)
	}
	return o.Next.UpsertTypedSearchAttributes(ctx, attributes...)
}

func (o *outbound) ExecuteActivity(ctx workflow.Context, activityType string, args ...any) workflow.Future {
	return o.serve(ctx, func() workflow.Future { return o.Next.ExecuteActivity(ctx, activityType, args...) })
}

func (o *outbound) ExecuteLocalActivity(ctx workflow.Context, activityType string, args ...any) workflow.Future {
	return o.serve(ctx, func() workflow.Future { return o.Next.ExecuteLocalActivity(ctx, activityType, args...) })
}

func (o *outbound) serve(ctx workflow.Context, run func() workflow.Future) workflow.Future {
	if o.turn == nil {
		o.turn = workflow.NewMutex(ctx)
	}
	out, settle := workflow.NewFuture(ctx)
	workflow.Go(ctx, func(ctx workflow.Context) {
		if err := o.turn.Lock(ctx); err != nil {
			settle.SetError(err)
			return
		}
		defer o.turn.Unlock()
		f := run()
		ctx, _ = workflow.NewDisconnectedContext(ctx)
		_ = workflow.Await(ctx, f.IsReady)
		settle.Chain(f)
	})
	return out
}

// observed writes down the activities that are steps of sagas.
type observed struct {
	interceptor.ActivityInboundInterceptorBase
	k *Kit
}

func (o *observed) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (out any, err error) {
	step, ok := stepOf(in.Args)
	if !ok {
		return o.Next.ExecuteActivity(ctx, in)
	}
	returned := false
	defer func() { o.k.abandoned(step.Step, returned) }()
	err = o.k.around(step.Step, step.Undo, func() (err error) {
		out, err = o.Next.ExecuteActivity(ctx, in)
		return err
	})
	returned = true
	if err == nil {
		if f := o.k.strikes(faultLose, step.Step, step.Undo); f != nil {
			err = f.err
		}
	}
	return out, asActivity(err)
}

// asActivity says a fault as activities do.
func asActivity(err error) error {
	reason, refused := holdfast.IsRefused(err)
	switch {
	case refused:
		return temporal.NewNonRetryableApplicationError(reason, sagas.RefusedType, nil)
	case holdfast.IsPermanent(err):
		return temporal.NewNonRetryableApplicationError(err.Error(), "Permanent", nil)
	}
	return err
}

// stepOf returns the step that an activity was called for, if it was for one.
func stepOf(args []any) (in core.ActivityInput, ok bool) {
	if len(args) != 1 {
		return in, false
	}
	data, err := json.Marshal(args[0])
	if err != nil || json.Unmarshal(data, &in) != nil {
		return in, false
	}
	return in, in.Saga != "" && in.Step != "" && len(in.Data) > 0
}
