package sagas

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// subEnd is how a sub-saga ended, as the step keeps it.
type subEnd struct {
	// N numbers the sagas that were run for the step, each with an ID of its own: a
	// compensated one can never be done again.
	N int `json:"n"`
	// Data is its first state, where Core is nil.
	Data json.RawMessage `json:"data,omitempty"`
	// Content is the digest of its first state.
	Content string `json:"content,omitempty"`
	// Core is what is known of it; nil: it was terminated, or never ran.
	Core *core.State `json:"core,omitempty"`
}

// subKey is the key of the nth saga that is run for a step: of the saga's own ID
// and the step's name.
func subKey(id, step string, n int) string {
	key := workflows.WithoutGroup(id) + "." + step
	if n > 1 {
		key += fmt.Sprintf(".%d", n)
	}
	return key
}

// doSub runs another saga to its end.
func (s *sagaRun) doSub(ctx workflow.Context, t *try) core.Outcome {
	p := s.prepare(ctx, t)
	if p.Outcome.Kind != core.OutcomeDone {
		return p.Outcome
	}
	if t.stopped {
		return core.Outcome{Kind: core.OutcomeStopped, Nothing: true}
	}
	end, before := subEnd{N: 1, Data: p.Input, Content: ContentOf(p.Input)}, s.in.Again
	if was, known := s.subEnd(t.step.Name); known {
		before = before || was.Core == nil
		end.N = was.N
		if was.Core != nil && was.Core.Phase == core.Compensated {
			end.N++
		} else {
			end.Content = was.Content
		}
	}
	in := s.subInput(t, end)
	in.Again = before
	status, err := s.runSub(ctx, t, in, sagaOptionsOfChild)
	o := s.subOutcome(ctx, t, status, err)
	if status != nil {
		end.Data, end.Core = nil, &status.Core
	}
	o.Sub = marshal(end)
	if size := s.m.State().Kept() - len(s.m.Step(t.step.Name).Sub) + len(o.Sub); size > core.MaxKept {
		// Undone without it, whatever it may have done is undone.
		end.Data, end.Core = p.Input, nil
		sub := marshal(end)
		o = failed(holdfast.ClassPermanent, "%v: what the saga keeps for its Undos, the last states of its sub-sagas too, "+
			"has %d bytes, the limit is %d: keep large data elsewhere and a reference in the state", holdfast.ErrTooLarge,
			size, core.MaxKept)
		o.Sub = sub
	}
	return o
}

// subOutcome is what the end of a sub-saga means for its step.
func (s *sagaRun) subOutcome(ctx workflow.Context, t *try, status *Status, err error) core.Outcome {
	switch {
	case err != nil: // terminated, or it could not begin: what it did is not known
		return failed(holdfast.ClassPermanent, "its saga did not end: %s", workflows.RootMessage(err))
	case status.Core.Phase == core.Completed:
		return s.receive(ctx, t, status.Core.Data)
	}
	c := status.Core.Cause
	switch {
	case t.stopped:
		return core.Outcome{Kind: core.OutcomeStopped}
	case c == nil:
		return failed(holdfast.ClassPermanent, "its saga was compensated")
	case c.Refused:
		return core.Outcome{Kind: core.OutcomeRefused, Error: causeText(c)}
	case c.Operator == workflows.TimeoutOperator:
		return failed(holdfast.ClassTimeout, "%s", c.Reason)
	case c.Operator != "":
		return failed(holdfast.ClassPermanent, "%s", causeText(c))
	}
	return failed(c.Class, "%s", causeText(c))
}

// undoSub undoes the saga that was run for a step, as one that has ended is.
func (s *sagaRun) undoSub(ctx workflow.Context, t *try) core.Outcome {
	end, known := s.subEnd(t.step.Name)
	if !known { // what is known of this saga says that it was not begun, or not whether
		p := s.prepare(ctx, t)
		if p.Outcome.Kind != core.OutcomeDone {
			return p.Outcome
		}
		end = subEnd{N: 1, Data: p.Input}
	}
	if end.Core != nil && end.Core.Phase == core.Compensated {
		return core.Outcome{Kind: core.OutcomeDone}
	}
	in := s.subInput(t, end)
	in.Undo = &UndoOf{Operator: s.in.ID, Reason: workflows.OrNone(s.cause()), Terminated: end.Core == nil}
	if end.Core != nil {
		in.Resumed = &Status{Core: *end.Core}
	}
	status, err := s.runSub(ctx, t, in, undoOptionsOfChild)
	switch {
	case err != nil:
		return failed(holdfast.ClassError, "saga %s was not undone: %s", in.ID, workflows.RootMessage(err))
	case status.Core.Phase != core.Compensated:
		return failed(holdfast.ClassError, "saga %s is %s", in.ID, status.State)
	}
	return core.Outcome{Kind: core.OutcomeDone}
}

func (s *sagaRun) subEnd(step string) (end subEnd, known bool) {
	raw := s.m.Step(step).Sub
	//workflowcheck:ignore it decides by data alone
	return end, len(raw) > 0 && json.Unmarshal(raw, &end) == nil
}

func (s *sagaRun) subInput(t *try, end subEnd) Input {
	plan := *t.step.Saga
	key := subKey(s.in.ID, t.step.Name, end.N)
	own, _ := workflows.ParseID(s.in.ID)
	return Input{ID: workflows.SagaID(own.Prefix, s.in.Group, plan.Name, key), Group: s.in.Group, Prefix: s.in.Prefix,
		HearsLater: s.in.HearsLater,
		Name:       plan.Name,
		Key:        key, Plan: &plan, Data: end.Data, Content: end.Content, Tokens: s.in.Tokens, StepNames: s.in.StepNames,
		Database: s.in.Database, Trace: s.in.Trace}
}

// alreadyPause is how long to wait before a saga that runs already is begun again:
// once it has ended, that finds in its step rows what it did.
const alreadyPause = 10 * time.Second

// runSub runs a saga as a child, and waits for its end. If the step is stopped, or
// takes too long, the child is asked to compensate, and its end awaited.
func (s *sagaRun) runSub(ctx workflow.Context, t *try, in Input,
	options func(Input) workflow.ChildWorkflowOptions) (*Status, error) {
	s.detailed, s.changed = true, true
	life, cancel := workflow.WithCancel(ctx)
	defer cancel()
	due := func() bool { return false }
	if d := t.step.TryTimeout(); d > 0 && !t.undo {
		due = workflow.NewTimerWithOptions(life, d, workflow.TimerOptions{Summary: workflows.Shorten("timeout of " +
			t.step.Name)}).IsReady
	}
	size := eventSize + len(marshal(in))
	for {
		s.reserve(ctx, t, size)
		s.room.recorded += size
		f := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, options(in)), Name, in)
		stop := func() bool { return !t.undo && (t.stopped || due()) }
		s.await(ctx, t, func() bool { return f.IsReady() || stop() })
		if !f.IsReady() {
			s.compensateSub(ctx, t, f, in.ID)
			s.await(ctx, t, f.IsReady)
		}
		var status Status
		err := f.Get(ctx, &status)
		var already *temporal.ChildWorkflowExecutionAlreadyStartedError
		if !errors.As(err, &already) {
			if err != nil {
				return nil, err
			}
			return &status, nil
		}
		if stop() {
			s.compensateSub(ctx, t, nil, in.ID)
		}
		in.Again = in.Undo == nil
		again := workflow.NewTimerWithOptions(ctx, alreadyPause, workflow.TimerOptions{Summary: workflows.Shorten("saga " +
			in.ID + " runs already: until it is looked at again")})
		s.await(ctx, t, again.IsReady)
	}
}

// compensateSub asks a child to compensate, with the reason. If that is not
// possible, the child has ended.
func (s *sagaRun) compensateSub(ctx workflow.Context, t *try, f workflow.ChildWorkflowFuture, id string) {
	req := Request{Operator: s.in.ID, Reason: workflows.OrNone(s.cause())}
	if !t.stopped {
		req = Request{Operator: workflows.TimeoutOperator, Reason: fmt.Sprintf("it did not end within %v",
			t.step.TryTimeout())}
	}
	if f != nil {
		s.await(ctx, t, f.GetChildWorkflowExecution().IsReady)
	}
	told := workflow.SignalExternalWorkflow(ctx, id, "", workflows.UpdateCompensate, req)
	s.await(ctx, t, told.IsReady)
}

func sagaOptionsOfChild(in Input) workflow.ChildWorkflowOptions {
	return childOptions(in, in.ID, sagaSummary(in), sagaDetails(in))
}

func undoOptionsOfChild(in Input) workflow.ChildWorkflowOptions {
	return childOptions(in, workflows.SagaUndoID(in.ID), undoSummary(in), undoDetails(in))
}

// childOptions let a saga outlive the one that it is a step of, and be run again:
// its step rows know what it did.
func childOptions(in Input, id, summary, details string) workflow.ChildWorkflowOptions {
	return workflow.ChildWorkflowOptions{
		WorkflowID:            id,
		TaskQueue:             workflows.TaskQueue(in.Prefix, in.Group),
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WaitForCancellation:   true,
		StaticSummary:         summary,
		StaticDetails:         workflows.Clip(details, maxDetails),
		TypedSearchAttributes: sagaAttributes(in),
		Memo:                  contentMemo(in),
	}
}

// marshal is for what is known to be JSON.
func marshal(v any) json.RawMessage {
	//workflowcheck:ignore it sorts the keys
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
