package worker

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/remember"
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
	m := remember.New(remember.Options{Temporal: c, Namespace: s.Namespace(), Prefix: prefix, Group: "orders",
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	require.Eventually(t, func() bool { // the visibility store is late
		learnt(t, m).News([]broker.Bound{{Name: "audit", Topics: []string{"order.#"}}})
		m.Wait()
		return told(parked) > 0 && told(delivering) > 0 && told(several) > 0
	}, 2*time.Minute, 50*time.Millisecond)
	for _, id := range []string{other, checking, others, otherTopics} {
		require.Zero(t, told(id), id)
	}
	require.Nil(t, learnt(t, remember.New(remember.Options{Group: "orders"})).News, "a process without Temporal")
	require.Nil(t, learnt(t, remember.New(remember.Options{Temporal: c})).News, "a process without a group")
}

// learnt is what a memory wants to be told of the consumers.
func learnt(t *testing.T, m *remember.Memory) broker.Learning {
	var l learner
	require.NoError(t, m.Learn(t.Context(), &l))
	return broker.Learning(l)
}

// learner is a broker that is told what to tell.
type learner broker.Learning

func (l *learner) Learn(_ context.Context, o broker.Learning) error {
	*l = learner(o)
	return nil
}
