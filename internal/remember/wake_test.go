package remember

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// TestWhatAConsumerWakes: any topic of a transaction's counts; one whose topics cannot be
// read, for they are encrypted, is woken rather than forgotten.
func TestWhatAConsumerWakes(t *testing.T) {
	t.Parallel()
	news := []broker.Bound{{Name: "mailer", Topics: []string{"mail.*"}}, {Name: "audit", Topics: []string{"order.#"}}}
	payload := func(v any) *commonpb.Payload {
		p, err := converter.GetDefaultDataConverter().ToPayload(v)
		require.NoError(t, err)
		return p
	}
	secret := &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("binary/encrypted")}, Data: []byte("?")}
	for name, c := range map[string]struct {
		first string
		memo  *commonpb.Payload
		want  string
	}{
		"its only topic": {"order.placed", nil, "consumer audit is bound to order.placed"},
		"another":        {"stock.taken", nil, ""},
		"none":           {"", nil, ""},
		"the last of several": {"stock.taken", payload([]string{"stock.taken", "stock.low", "mail.sent"}),
			"consumer mailer is bound to mail.sent"},
		"none of several":      {"stock.taken", payload([]string{"stock.taken", "stock.low"}), ""},
		"encrypted":            {"stock.taken", secret, "consumer mailer has begun, and perhaps gets one of its topics"},
		"encrypted, the first": {"order.placed", secret, "consumer audit is bound to order.placed"},
	} {
		info := &workflowpb.WorkflowExecutionInfo{}
		if c.first != "" {
			info.SearchAttributes = topicAttribute(payload(c.first))
		}
		if c.memo != nil {
			info.Memo = &commonpb.Memo{Fields: map[string]*commonpb.Payload{transactions.MemoTopics: c.memo}}
		}
		require.Equal(t, c.want, reasonToWake(info, news), name)
	}
	require.Empty(t, reasonToWake(&workflowpb.WorkflowExecutionInfo{}, nil))
}

// topicAttribute is the search attribute of a transaction's first topic.
func topicAttribute(topic *commonpb.Payload) *commonpb.SearchAttributes {
	return &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{workflows.AttributeTopic: topic}}
}

// manyWaiting is Temporal with more transactions that wait than one list holds.
type manyWaiting struct {
	client.Client
	pages int
	woken sync.Map
}

func (m *manyWaiting) ListWorkflow(_ context.Context,
	r *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	topic, _ := converter.GetDefaultDataConverter().ToPayload("order.placed")
	out := &workflowservice.ListWorkflowExecutionsResponse{}
	for i := range int(r.GetPageSize()) {
		out.Executions = append(out.Executions, &workflowpb.WorkflowExecutionInfo{
			Execution: &commonpb.WorkflowExecution{
				WorkflowId: fmt.Sprintf("tx/orders/%s-%d", r.GetNextPageToken(), i)},
			SearchAttributes: topicAttribute(topic)})
	}
	if page := len(r.GetNextPageToken()) + 1; page < m.pages {
		out.NextPageToken = bytes.Repeat([]byte("x"), page)
	}
	return out, nil
}

func (m *manyWaiting) SignalWorkflow(_ context.Context, id, _, _ string, arg any) error {
	if r, ok := arg.(transactions.Request); ok && r.Unrouted {
		m.woken.Store(id, true)
	}
	return nil
}

// TestAllThatWaitsIsWoken, however many wait.
func TestAllThatWaitsIsWoken(t *testing.T) {
	t.Parallel()
	m := &manyWaiting{pages: 12}
	all := []broker.Bound{{Name: "audit", Topics: []string{"#"}}}
	n, err := New(Options{Temporal: m, Group: "orders"}).wakeUnrouted(t.Context(), all)
	require.NoError(t, err)
	require.Equal(t, 12*wakePage, n)
	woken := 0
	m.woken.Range(func(any, any) bool { woken++; return true })
	require.Equal(t, n, woken)
}
