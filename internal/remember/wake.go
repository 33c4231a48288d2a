package remember

import (
	"context"
	"fmt"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/signals"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// A message that no queue is bound for keeps its transaction waiting, in a workflow
// that tries again by a timer of its own. That alone would do, within half an hour: what
// is here only makes it quicker, and may be lost with its process.

const (
	// wakeFor bounds the waking of what waits for a consumer that has just begun.
	wakeFor  = 10 * time.Minute
	wakePage = 1000
	wakeOnce = 16 // at once
	// wakeOperator signs what nobody asked for.
	wakeOperator = "Holdfast"
)

// consumersBegan has the transactions of the group try again that wait for a consumer
// bound to a topic of these.
func (m *Memory) consumersBegan(ctx context.Context) func([]broker.Bound) {
	if m.o.Temporal == nil || m.o.Group == "" {
		return nil
	}
	return func(news []broker.Bound) {
		m.noting.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, wakeFor)
			defer cancel()
			n, err := m.wakeUnrouted(ctx, news)
			switch {
			case err != nil && ctx.Err() == nil:
				m.o.Logger.Warn("transactions that wait for a consumer could not be told that one has begun; "+
					"they try again by themselves", "error", err)
			case n > 0:
				m.o.Logger.Info("a consumer has begun: transactions that waited for one are tried again",
					"consumer", news[0].Name, "transactions", n)
			}
		})
	}
}

// wakeUnrouted wakes the transactions that have a topic which one of the consumers gets.
// All are looked at, the latest first, as long as there is time.
func (m *Memory) wakeUnrouted(ctx context.Context, news []broker.Bound) (woken int, err error) {
	query := fmt.Sprintf("WorkflowType = '%s' AND TaskQueue = '%s' AND ExecutionStatus = 'Running' AND %s IN ('%s', '%s')",
		transactions.Name, workflows.TaskQueue(m.o.Prefix, m.o.Group),
		workflows.AttributeState, workflows.Parked, workflows.Delivering)
	var token []byte
	for {
		page, err := m.o.Temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: m.o.Namespace,
			PageSize: wakePage, NextPageToken: token, Query: query})
		if err != nil {
			return woken, temporalerr.Unavailable("list the transactions that wait", err)
		}
		n, err := m.wake(ctx, page.GetExecutions(), news)
		if woken += n; err != nil {
			return woken, err
		}
		if token = page.GetNextPageToken(); len(token) == 0 {
			return woken, nil
		}
	}
}

// wake wakes those of the transactions.
func (m *Memory) wake(ctx context.Context, infos []*workflowpb.WorkflowExecutionInfo,
	news []broker.Bound) (woken int, err error) {
	var telling errgroup.Group
	telling.SetLimit(wakeOnce)
	for _, info := range infos {
		id, ok := workflows.ParseID(info.GetExecution().GetWorkflowId())
		reason := reasonToWake(info, news)
		if !ok || id.Kind != workflows.KindTransaction || reason == "" {
			continue
		}
		woken++
		telling.Go(func() error {
			_, err := signals.Send(ctx, m.o.Temporal, info.GetExecution().GetWorkflowId(), transactions.UpdateRecheck,
				transactions.Request{Operator: wakeOperator, Reason: reason, Unrouted: true})
			return err
		})
	}
	return woken, telling.Wait()
}

// reasonToWake says why a transaction is woken; empty: it is not, none of the consumers
// gets a topic of its.
func reasonToWake(info *workflowpb.WorkflowExecutionInfo, news []broker.Bound) string {
	topics, known := topicsOf(info)
	for _, c := range news {
		for _, topic := range topics {
			if c.Matches(topic) {
				return "consumer " + c.Name + " is bound to " + topic
			}
		}
	}
	if !known && len(news) > 0 {
		return "consumer " + news[0].Name + " has begun, and perhaps gets one of its topics"
	}
	return ""
}

// topicsOf are a transaction's topics, as the visibility store has them. known says
// that these are all: a memo, other than a search attribute, may be encrypted.
func topicsOf(info *workflowpb.WorkflowExecutionInfo) (topics []string, known bool) {
	decode := func(p *commonpb.Payload, to any) bool {
		return converter.GetDefaultDataConverter().FromPayload(p, to) == nil
	}
	memo := info.GetMemo().GetFields()[transactions.MemoTopics]
	if memo != nil && decode(memo, &topics) {
		return topics, true
	}
	var first string
	if p := info.GetSearchAttributes().GetIndexedFields()[workflows.AttributeTopic]; p != nil &&
		decode(p, &first) && first != "" {
		topics = []string{first}
	}
	return topics, memo == nil
}
