package worker

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// TestAConsumerThatBeginsWakesWhatWaitsForIt: a producer that was deployed before its
// consumer. Nobody types anything.
func TestAConsumerThatBeginsWakesWhatWaitsForIt(t *testing.T) {
	t.Parallel()
	s, prefix := stacktest.Shared(t), stacktest.Prefix(t)
	c := stacktest.TemporalClient(t, s)
	require.NoError(t, EnsureSearchAttributes(t.Context(), c, s.Namespace()))
	start := func(group, key, topics string, state workflows.State) string { // nobody runs them
		tx := activities.Tx{ID: key}
		for _, topic := range strings.Fields(topics) {
			tx.Messages = append(tx.Messages, holdfast.Message{Topic: topic})
		}
		o := transactions.StartOptions(prefix, group, tx)
		o.TypedSearchAttributes = temporal.NewSearchAttributes(o.TypedSearchAttributes.Copy(),
			temporal.NewSearchAttributeKeyKeyword(workflows.AttributeState).ValueSet(string(state)))
		run, err := c.ExecuteWorkflow(t.Context(), o, transactions.Name, transactions.Input{})
		require.NoError(t, err)
		t.Cleanup(func() {
			_ = c.TerminateWorkflow(context.WithoutCancel(t.Context()), run.GetID(), "", "the test has ended")
		})
		return run.GetID()
	}
	told := func(id string) (n int) {
		for it := c.GetWorkflowHistory(t.Context(), id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); it.HasNext(); {
			e, err := it.Next()
			require.NoError(t, err)
			if e.GetWorkflowExecutionSignaledEventAttributes().GetSignalName() == transactions.UpdateRecheck {
				n++
			}
		}
		return n
	}
	parked, delivering := start("orders", "1", "order.placed", workflows.Parked), start("orders", "2", "order.paid", workflows.Delivering)
	other, checking, others := start("orders", "3", "mail.sent", workflows.Parked), start("orders", "4", "order.placed", workflows.Checking), start("shop", "5", "order.placed", workflows.Parked)
	several := start("orders", "6", "mail.sent mail.read order.paid", workflows.Parked)
	otherTopics := start("orders", "7", "mail.sent mail.read", workflows.Parked)
	w := &Worker{o: Options{Temporal: c, Namespace: s.Namespace(), Prefix: prefix, Group: "orders"}}
	require.Eventually(t, func() bool { // the visibility store is late
		_, err := w.wakeUnrouted(t.Context(), []broker.Bound{{Name: "audit", Topics: []string{"order.#"}}})
		require.NoError(t, err)
		return told(parked) > 0 && told(delivering) > 0 && told(several) > 0
	}, 2*time.Minute, 50*time.Millisecond)
	for _, id := range []string{other, checking, others, otherTopics} {
		require.Zero(t, told(id), id)
	}
	require.Nil(t, (&Worker{o: Options{Group: "orders"}}).consumersBegan(t.Context()), "a process without Temporal")
	require.Nil(t, (&Worker{o: Options{Temporal: c}}).consumersBegan(t.Context()), "a process without a group")
	require.NotNil(t, w.learning(t.Context()).News, "it is told of consumers that begin")
}

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
		"its only topic":       {"order.placed", nil, "consumer audit is bound to order.placed"},
		"another":              {"stock.taken", nil, ""},
		"none":                 {"", nil, ""},
		"the last of several":  {"stock.taken", payload([]string{"stock.taken", "stock.low", "mail.sent"}), "consumer mailer is bound to mail.sent"},
		"none of several":      {"stock.taken", payload([]string{"stock.taken", "stock.low"}), ""},
		"encrypted":            {"stock.taken", secret, "consumer mailer has begun, and perhaps gets one of its topics"},
		"encrypted, the first": {"order.placed", secret, "consumer audit is bound to order.placed"},
	} {
		info := &workflowpb.WorkflowExecutionInfo{}
		if c.first != "" {
			info.SearchAttributes = &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{workflows.AttributeTopic: payload(c.first)}}
		}
		if c.memo != nil {
			info.Memo = &commonpb.Memo{Fields: map[string]*commonpb.Payload{transactions.MemoTopics: c.memo}}
		}
		require.Equal(t, c.want, reasonToWake(info, news), name)
	}
	require.Empty(t, reasonToWake(&workflowpb.WorkflowExecutionInfo{}, nil))
}

// manyWaiting is Temporal with more transactions that wait than one list holds.
type manyWaiting struct {
	client.Client
	pages int
	woken sync.Map
}

func (m *manyWaiting) ListWorkflow(_ context.Context, r *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	topic, _ := converter.GetDefaultDataConverter().ToPayload("order.placed")
	out := &workflowservice.ListWorkflowExecutionsResponse{}
	for i := range int(r.GetPageSize()) {
		out.Executions = append(out.Executions, &workflowpb.WorkflowExecutionInfo{
			Execution:        &commonpb.WorkflowExecution{WorkflowId: fmt.Sprintf("tx/orders/%s-%d", r.GetNextPageToken(), i)},
			SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{workflows.AttributeTopic: topic}}})
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
	w := &Worker{o: Options{Temporal: m, Group: "orders"}}
	n, err := w.wakeUnrouted(t.Context(), []broker.Bound{{Name: "audit", Topics: []string{"#"}}})
	require.NoError(t, err)
	require.Equal(t, 12*wakePage, n)
	woken := 0
	m.woken.Range(func(any, any) bool { woken++; return true })
	require.Equal(t, n, woken)
}
