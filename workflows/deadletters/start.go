package deadletters

import (
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

// StartOptions are the options with which whoever starts the workflow of in
// starts it: one workflow per consumer and message, and a new one only where the
// last was terminated, failed or timed out. The search attributes say at the
// start where it will stand, so that the usual letter, which is parked, writes
// none later.
func StartOptions(in Input) client.StartWorkflowOptions {
	if in.Prefix == "" {
		in.Prefix = "holdfast"
	}
	l := in.Letter
	state, failure := firstDeath(l).next().state, l.Failure
	if in.Resumed != nil {
		state, failure = in.Resumed.State, in.Resumed.Failure
		failure.Consumer = l.Failure.Consumer
	}
	attributes := []temporal.SearchAttributeUpdate{workflows.KeyState.ValueSet(string(state))}
	if topic := l.Message.Topic; topic != "" {
		attributes = append(attributes,
			temporal.NewSearchAttributeKeyKeyword(workflows.AttributeTopic).ValueSet(workflows.Clip(topic, 255)))
	}
	if key := l.Message.Key; key != "" {
		attributes = append(attributes, workflows.SetKeys([]string{workflows.Clip(key, holdfast.MaxName)}))
	}
	return client.StartWorkflowOptions{
		ID:                                       workflows.DeadLetterID(in.Prefix, l),
		TaskQueue:                                workflows.DeadLetterQueue(in.Prefix),
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY,
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		EnableEagerStart:                         true,
		StaticSummary: workflows.Shorten("dead letter: " + letterSubject(l) + ": " +
			workflows.OrNone(workflows.OneLine(l.Failure.Reason))),
		StaticDetails:         deadDetails(in.Prefix, l),
		TypedSearchAttributes: temporal.NewSearchAttributes(attributes...),
		Memo:                  firstMemo(l, failure),
	}
}

// firstMemo is the memo with what tells a letter from another one of its ID.
func firstMemo(l holdfast.DeadLetter, failure holdfast.Failure) map[string]any {
	m := memo(failure)
	m[workflows.MemoContent], m[MemoDeath] = Content(l), Death(l)
	return m
}

// memo is what lists show without asking the workflow.
func memo(f holdfast.Failure) map[string]any {
	return map[string]any{
		MemoConsumer: f.Consumer,
		MemoClass:    string(f.Class),
		MemoReason:   workflows.Clip(f.Reason, 500),
		MemoAttempts: f.Attempts,
	}
}

// remember corrects the memo after another death.
func (d *deadLetter) remember(ctx workflow.Context) {
	m := memo(d.failure)
	m[MemoConsumer] = d.in.Letter.Failure.Consumer
	_ = workflow.UpsertMemo(ctx, m)
}

// show says in the Temporal UI, and in the search attribute, where it stands.
func (d *deadLetter) show(ctx workflow.Context) {
	workflow.SetCurrentDetails(ctx, d.currentDetails())
	if d.shown == d.state {
		return
	}
	d.shown = d.state
	_ = workflow.UpsertTypedSearchAttributes(ctx, workflows.KeyState.ValueSet(string(d.state)))
}
