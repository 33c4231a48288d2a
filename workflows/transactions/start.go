package transactions

import (
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// StartOptions are the options with which whoever starts the workflow of tx
// starts it: one workflow per transaction ID, and a new one only where the last
// was terminated, failed or timed out.
func StartOptions(prefix, group string, tx activities.Tx) client.StartWorkflowOptions {
	attributes := []temporal.SearchAttributeUpdate{
		temporal.NewSearchAttributeKeyKeyword(workflows.AttributeTopic).ValueSet(tx.Messages[0].Topic),
	}
	if keys := keysOf(tx.Messages); len(keys) > 0 {
		attributes = append(attributes, workflows.SetKeys(keys))
	}
	return client.StartWorkflowOptions{
		Memo:                                     topicsMemo(tx.Messages),
		ID:                                       workflows.WorkflowID(prefix, group, tx.ID),
		TaskQueue:                                workflows.TaskQueue(prefix, group),
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY,
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		EnableEagerStart:                         true,
		StaticSummary:                            Summary([]activities.Tx{tx}),
		StaticDetails:                            details(group, tx),
		TypedSearchAttributes:                    temporal.NewSearchAttributes(attributes...),
	}
}

// MemoTopics is the memo with the topics of a transaction that has several:
// [AttributeTopic] holds the first one only. Whoever lists transactions gets it too.
const MemoTopics = "holdfast-topics"

// topicsMemo is the memo of a transaction: none if its messages have one topic.
func topicsMemo(ms []holdfast.Message) map[string]any {
	if topics := holdfast.Topics(ms); len(topics) > 1 {
		return map[string]any{MemoTopics: topics}
	}
	return nil
}

// maxKeys is the limit on the keys of one workflow's HoldfastKey, in bytes of
// JSON; Temporal refuses a search attribute of more than 2 KiB.
const maxKeys = 2000

// keysOf returns the distinct business keys of ms in their order, as many as
// Temporal takes.
func keysOf(ms []holdfast.Message) []string {
	var keys []string
	for _, m := range ms {
		keys = append(keys, m.Key)
	}
	return findableOf(keys)
}

// findableOf returns the distinct values that are not empty, as many as Temporal
// takes.
func findableOf(values []string) []string {
	var out []string
	size := 2
	seen := make(map[string]bool, len(values))
	for _, v := range values {
		if v == "" || seen[v] {
			continue
		}
		if size += workflows.JSONLength(v) + 1; size > maxKeys {
			break
		}
		seen[v] = true
		out = append(out, v)
	}
	return out
}
