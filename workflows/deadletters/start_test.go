package deadletters_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/deadletters"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

func TestDeadLetterOptionsAreReadable(t *testing.T) {
	l := letter(holdfast.Policy{Action: holdfast.PolicyRedeliver, Redeliver: []time.Duration{time.Minute, time.Hour}, AllowEdits: true})
	o := deadletters.StartOptions(deadletters.Input{Prefix: "shop", Letter: l})
	require.Equal(t, "shop:dead/payment/m-1", o.ID)
	require.Equal(t, "shop/dead-letters", o.TaskQueue)
	require.Equal(t, enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY, o.WorkflowIDReusePolicy)
	require.Equal(t, "dead letter: order.placed A-1007 → payment: card declined", o.StaticSummary)
	for _, want := range []string{"`m-1`", "`payment`", "`order.placed`", "`A-1007`", "`holdfast.q.payment`", "5 bytes", "`shop:tx/orders/m-1`", "redeliver after 1m0s, 1h0m0s, then wait", "edits are allowed"} {
		require.Contains(t, o.StaticDetails, want)
	}
	require.Equal(t, map[string]any{deadletters.MemoConsumer: "payment", deadletters.MemoClass: "error", deadletters.MemoReason: "card declined", deadletters.MemoAttempts: 9,
		workflows.MemoContent: deadletters.Content(l), deadletters.MemoDeath: deadletters.Death(l)}, o.Memo)
	require.Equal(t, "waits", startState(t, l))
	require.Equal(t, 3, o.TypedSearchAttributes.Size())
}

func startState(t *testing.T, l holdfast.DeadLetter) string {
	t.Helper()
	s, ok := deadletters.StartOptions(deadletters.Input{Letter: l}).TypedSearchAttributes.
		GetKeyword(temporal.NewSearchAttributeKeyKeyword(workflows.AttributeState))
	require.True(t, ok)
	return s
}

func TestDeadLetterStartsInItsState(t *testing.T) {
	require.Equal(t, "parked", startState(t, letter(holdfast.Policy{})))
	require.Equal(t, "compensating", startState(t, letter(holdfast.Policy{Action: holdfast.PolicyCompensate})))
	foreign := letter(holdfast.Policy{Action: holdfast.PolicyCompensate})
	foreign.Group = ""
	require.Equal(t, "parked", startState(t, foreign))
}

// TestAnythingCanBeStarted: what Temporal would refuse for its length would be
// tried for ever.
func TestAnythingCanBeStarted(t *testing.T) {
	long := strings.Repeat("\xff\n\"<", 10000)
	l := holdfast.DeadLetter{ID: "sha256-0", Queue: "q", Message: holdfast.Message{Topic: long, Key: long},
		Failure: holdfast.Failure{Reason: long, Class: holdfast.ClassMalformed}}
	o := deadletters.StartOptions(deadletters.Input{Letter: l})
	require.Equal(t, "dead/q/sha256-0", o.ID)
	require.LessOrEqual(t, len(o.StaticSummary), 400)
	require.LessOrEqual(t, len(o.StaticDetails), 20000)
	require.LessOrEqual(t, len(o.Memo[deadletters.MemoReason].(string)), 500)
	topic, _ := o.TypedSearchAttributes.GetKeyword(temporal.NewSearchAttributeKeyKeyword(workflows.AttributeTopic))
	require.LessOrEqual(t, len(topic), 255)
	keys, _ := o.TypedSearchAttributes.GetKeywordList(temporal.NewSearchAttributeKeyKeywordList(workflows.AttributeKey))
	require.LessOrEqual(t, len(keys[0]), holdfast.MaxName)

	none := deadletters.StartOptions(deadletters.Input{Letter: holdfast.DeadLetter{ID: "sha256-0", Queue: "q"}})
	require.Equal(t, 1, none.TypedSearchAttributes.Size())
	require.Equal(t, "dead letter: message sha256-0 → q: none", none.StaticSummary)
}
