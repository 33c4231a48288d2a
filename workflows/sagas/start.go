package sagas

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

// StartConfig is how a saga is started.
type StartConfig struct {
	// Prefix is that of the task queues.
	Prefix string
	// Fresh says that nobody can have used the saga's key before.
	Fresh bool
	// TaskTimeout is the workflow tasks'; 0: Temporal's.
	TaskTimeout time.Duration
}

// Start starts the saga of in with [StartOptions], and returns its ID: that of one
// from before the prefix was part of the IDs is another. Where the last workflow of its
// ID was terminated, failed or timed out, the new one is told that it is not the first.
// The error about one that runs, or has ended by itself, is a
// [serviceerror.WorkflowExecutionAlreadyStarted], if that was started with the same
// content; otherwise it wraps [holdfast.ErrDuplicate].
func Start(ctx context.Context, c client.Client, o StartConfig, in Input) (
	id string, run client.WorkflowRun, err error,
) {
	if len(in.Data) == 0 && in.Content == "" {
		in.Data = []byte("{}")
	}
	in.Content, in.HearsLater = cmp.Or(in.Content, ContentOf(in.Data)), true
	if before, other := workflows.BeforePrefixes(in.ID); other && !o.Fresh {
		_, ours, err := workflows.DescribeOurs(ctx, c, o.Prefix, before)
		if err != nil {
			return in.ID, nil, err
		}
		if ours {
			in.ID = before
		}
	}
	for {
		options := StartOptions(o.Prefix, in)
		options.WorkflowTaskTimeout = o.TaskTimeout
		run, err := c.ExecuteWorkflow(ctx, options, Name, in)
		var already *serviceerror.WorkflowExecutionAlreadyStarted
		if !errors.As(err, &already) {
			return in.ID, run, err
		}
		if differs := compareContent(ctx, c, in); differs != nil {
			return in.ID, nil, differs
		}
		if in.Again {
			return in.ID, nil, err
		}
		in.Again = true
		if in.Resumed != nil {
			again := *in.Resumed
			again.Core.Again = true
			in.Resumed = &again
		}
	}
}

// KeyWasUsed reports whether a saga's workflow did nothing, as its key is another saga's.
func KeyWasUsed(ctx context.Context, c client.Client, status enumspb.WorkflowExecutionStatus, id, run string) bool {
	return status == enumspb.WORKFLOW_EXECUTION_STATUS_FAILED &&
		hasType(c.GetWorkflow(ctx, id, run).Get(ctx, nil), workflows.KeyUsed)
}

// compareContent says that the saga which has the ID of in was started with other
// content. nil: with the same, or nobody knows.
func compareContent(ctx context.Context, c client.Client, in Input) error {
	d, there, err := workflows.DescribeOurs(ctx, c, in.Prefix, in.ID)
	if err != nil || !there {
		return err
	}
	have := contentThere(ctx, c, d)
	if have == "" || have == in.Content || KeyWasUsed(ctx, c, d.Status, in.ID, d.WorkflowExecution.RunID) {
		return nil
	}
	return fmt.Errorf("%w: saga %s was started at %s with other content (digest %.12s, this call's %.12s): use a new "+
		"key for new work, or JoinSaga for the one that is there",
		holdfast.ErrDuplicate, in.ID, d.WorkflowStartTime.UTC().Format(time.RFC3339), have, in.Content)
}

// contentThere is the digest of what a saga was started with; empty: it is not known.
func contentThere(ctx context.Context, c client.Client, d *client.WorkflowExecutionDescription) (content string) {
	plain := converter.GetDefaultDataConverter()
	if p := d.Memo.GetFields()[workflows.MemoContent]; p != nil && plain.FromPayload(p, &content) == nil {
		return content
	}
	id, run := d.WorkflowExecution.ID, d.WorkflowExecution.RunID
	it := c.GetWorkflowHistory(ctx, id, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	if it.HasNext() { // an earlier version started it
		first, err := it.Next()
		var in Input
		if err == nil && plain.FromPayloads(first.GetWorkflowExecutionStartedEventAttributes().GetInput(), &in) == nil {
			if in.Content == "" && !in.Renewed && in.Undo == nil && len(in.Data) > 0 {
				in.Content = ContentOf(in.Data)
			}
			return in.Content
		}
	}
	var status Status // only the client reads what is encrypted
	if d.Status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED {
		_ = c.GetWorkflow(ctx, id, run).Get(ctx, &status)
	} else if v, err := c.QueryWorkflow(ctx, id, run, workflows.QueryStatus); err == nil {
		_ = v.Get(&status)
	}
	return status.Content
}

// contentMemo is the memo that a saga begins with.
func contentMemo(in Input) map[string]any {
	if in.Content == "" {
		return nil
	}
	return map[string]any{workflows.MemoContent: in.Content}
}

// StartOptions are the options with which whoever starts the saga of in starts it:
// one workflow for each ID, and with in.Again a new one where the last was
// terminated, failed or timed out.
func StartOptions(prefix string, in Input) client.StartWorkflowOptions {
	reuse := enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
	if in.Again {
		reuse = enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY
	}
	return sagaOptions(prefix, in, in.ID, reuse, sagaSummary(in), sagaDetails(in))
}

// UndoOptions are those with which a saga that has ended is undone: in.Undo
// says by whom and why. The same saga can be undone again: that finds nothing, or
// what was left.
func UndoOptions(prefix string, in Input) client.StartWorkflowOptions {
	return sagaOptions(prefix, in, workflows.SagaUndoID(in.ID), enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		undoSummary(in), undoDetails(in))
}

func sagaOptions(prefix string, in Input, id string, reuse enumspb.WorkflowIdReusePolicy, summary,
	details string) client.StartWorkflowOptions {
	if prefix == "" {
		prefix = "holdfast"
	}
	return client.StartWorkflowOptions{
		ID:                                       id,
		TaskQueue:                                workflows.TaskQueue(prefix, in.Group),
		WorkflowIDReusePolicy:                    reuse,
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		EnableEagerStart:                         true,
		StaticSummary:                            summary,
		StaticDetails:                            workflows.Clip(details, maxDetails),
		TypedSearchAttributes:                    sagaAttributes(in),
		Memo:                                     contentMemo(in),
	}
}

// sagaAttributes are the search attributes that a saga begins with.
func sagaAttributes(in Input) temporal.SearchAttributes {
	attributes := []temporal.SearchAttributeUpdate{
		temporal.NewSearchAttributeKeyKeyword(workflows.AttributeTopic).ValueSet(workflows.Clip(in.Name, 255)),
	}
	if in.Key != "" {
		attributes = append(attributes, workflows.SetKeys([]string{workflows.Clip(in.Key, holdfast.MaxName)}))
	}
	return temporal.NewSearchAttributes(attributes...)
}
