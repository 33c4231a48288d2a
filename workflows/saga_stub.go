package workflows

import (
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
)

// Saga is the workflow of a saga.
func Saga(ctx workflow.Context, in SagaInput) (SagaStatus, error) {
	m := core.New(in.Plan, in.Data)
	status := func() SagaStatus {
		name, at := m.Troubled()
		return SagaStatus{ID: in.ID, Name: in.Name, Version: in.Plan.Version, State: m.Standing(), Step: name, Reason: at.Error, Plan: *in.Plan, Core: *m.State()}
	}
	_ = workflow.SetQueryHandler(ctx, QueryStatus, func() (SagaStatus, error) { return status(), nil })
	events := workflow.NewBufferedChannel(ctx, 100)
	_ = workflow.SetUpdateHandler(ctx, UpdateRetry, func(ctx workflow.Context, r SagaRequest) (SagaStatus, error) {
		events.Send(ctx, core.Event{Kind: core.RetryNow, Step: r.Step, Operator: r.Operator, Reason: r.Reason, At: workflow.Now(ctx)})
		return status(), nil
	})
	replies := workflow.GetSignalChannel(ctx, SignalReply)
	run := func(e core.Effect) {
		workflow.Go(ctx, func(ctx workflow.Context) {
			switch e.Kind {
			case core.EffectSleep:
				_ = workflow.Sleep(ctx, e.For)
				events.Send(ctx, core.Event{Kind: core.Slept, Step: e.Step.Name, At: workflow.Now(ctx)})
				return
			case core.EffectWake, core.EffectStop:
				return
			}
			s := activities.SagaStep{Saga: activities.SagaRef{ID: in.ID, Workflow: in.ID, Group: in.Group, Key: in.Key, Name: in.Name, Version: in.Plan.Version},
				Step: *e.Step, Try: e.Try, Again: e.Again, Data: m.State().Data, Wait: time.Second, Cause: "it goes back"}
			var r activities.SagaResult
			var err error
			kind := core.DoEnded
			if e.Kind == core.EffectDo {
				s.Last, s.Cause = m.Last(e.Step.Name), ""
				err = workflow.ExecuteLocalActivity(workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: 10 * time.Second}), activities.SagaDo, s).Get(ctx, &r)
			} else {
				kind = core.UndoEnded
				err = workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 10 * time.Second}), activities.SagaUndo, s).Get(ctx, &r)
			}
			if err != nil {
				r.Outcome = core.Outcome{Kind: core.OutcomeFailed, Class: holdfast.ClassError, Error: err.Error()}
			}
			if r.Outcome.Kind == core.OutcomePending {
				var reply SagaReply
				replies.Receive(ctx, &reply)
				r.Outcome = core.Outcome{Kind: reply.Outcome, Class: reply.Class, Error: reply.Reason}
			}
			events.Send(ctx, core.Event{Kind: kind, Step: e.Step.Name, Outcome: r.Outcome, At: workflow.Now(ctx)})
		})
	}
	for _, e := range m.Begin(workflow.Now(ctx)) {
		run(e)
	}
	was := ""
	for !m.Ended() {
		var e core.Event
		events.Receive(ctx, &e)
		effects, err := m.Apply(e)
		if err != nil {
			return status(), fmt.Errorf("apply: %w", err)
		}
		if now := m.Standing(); now != core.StateCompleted && now != was {
			was = now
			_ = workflow.UpsertTypedSearchAttributes(ctx, temporal.NewSearchAttributeKeyKeyword(AttributeState).ValueSet(now))
		}
		for _, e := range effects {
			run(e)
		}
	}
	return status(), nil
}

// SagaOptions are the options with which a saga is started.
func SagaOptions(prefix string, in SagaInput) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{ID: in.ID, TaskQueue: TaskQueue(prefix, in.Group), EnableEagerStart: true, WorkflowExecutionErrorWhenAlreadyStarted: true,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL}
}
