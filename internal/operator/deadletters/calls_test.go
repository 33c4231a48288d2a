package deadletters

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/workflows"
)

// manyLetters is a Temporal that has a number of dead letters, which it lists page by
// page, and counts how often it is asked.
type manyLetters struct {
	client.Client
	letters       int
	last          *workflowpb.WorkflowExecutionInfo // behind the letters, on a page of its own
	lists, others atomic.Int64
}

func (m *manyLetters) ListWorkflow(_ context.Context, r *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	m.lists.Add(1)
	from := 0
	_, _ = fmt.Sscan(string(r.GetNextPageToken()), &from)
	page := &workflowservice.ListWorkflowExecutionsResponse{}
	if strings.Contains(r.GetQuery(), `NOT STARTS_WITH "dead/payments/"`) || strings.Contains(r.GetQuery(), "HoldfastKey = ") {
		return page, nil
	}
	for i := from; i < min(m.letters, from+int(r.GetPageSize())); i++ {
		page.Executions = append(page.Executions, &workflowpb.WorkflowExecutionInfo{TaskQueue: "holdfast/dead-letters",
			Execution: &commonpb.WorkflowExecution{WorkflowId: fmt.Sprintf("dead/payments/%d", i)}})
	}
	switch end := from + len(page.Executions); {
	case end < m.letters && end > from, end > from && m.last != nil:
		page.NextPageToken = fmt.Append(nil, end)
	case end == from && m.last != nil:
		page.Executions = append(page.Executions, m.last)
	}
	return page, nil
}

func (m *manyLetters) DescribeWorkflowExecution(context.Context, string, string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	m.others.Add(1)
	return nil, serviceerror.NewNotFound("no such workflow")
}

func (m *manyLetters) DescribeTaskQueue(context.Context, string, enumspb.TaskQueueType) (*workflowservice.DescribeTaskQueueResponse, error) {
	return &workflowservice.DescribeTaskQueueResponse{Pollers: []*taskqueuepb.PollerInfo{{}}}, nil
}

// TestAnUnknownIDTakesTheSameCallsAmongFifty000: that nothing has an ID is known after
// as many calls among 50,000 dead letters as among a few.
func TestAnUnknownIDTakesTheSameCallsAmongFifty000(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"nobody", "dead/payments/nobody"} {
		most := map[int][2]int64{}
		for _, n := range []int{300, 50_000} {
			m := &manyLetters{letters: n}
			at := &server.Temporal{Client: m, Prefix: "holdfast"}
			_, err := Find(t.Context(), at, id, "", "holdfast")
			require.ErrorIs(t, err, holdfast.ErrNotFound, id)
			most[n] = [2]int64{m.lists.Load(), m.others.Load()}
		}
		require.Equal(t, most[300], most[50_000], id)
		require.LessOrEqual(t, most[50_000][0], int64(4), id)
	}
}

// TestAKeyThatCannotBeAskedForIsFound: Temporal cannot be asked for a key with a
// quotation mark or a backslash. What has it is found all the same, behind thousands of
// others, and without a call for each.
func TestAKeyThatCannotBeAskedForIsFound(t *testing.T) {
	t.Parallel()
	const n = 5000
	for _, key := range []string{`17"`, `C:\17`} {
		keys, err := converter.GetDefaultDataConverter().ToPayload([]string{key})
		require.NoError(t, err)
		one := func(id, queue string) (*manyLetters, *server.Temporal) {
			m := &manyLetters{letters: n, last: &workflowpb.WorkflowExecutionInfo{TaskQueue: queue, Status: enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING,
				Execution:        &commonpb.WorkflowExecution{WorkflowId: id},
				SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{workflows.AttributeKey: keys}}}}
			return m, &server.Temporal{Client: m, Prefix: "holdfast"}
		}
		m, at := one("dead/payments/last", "holdfast/dead-letters")
		letter, err := Find(t.Context(), at, key, "", "holdfast")
		require.NoError(t, err)
		require.Equal(t, "last", letter.ID)
		require.LessOrEqual(t, m.lists.Load(), int64(n/server.PageLimit+5))

		m, at = one("tx/orders/last", workflows.TaskQueue("holdfast", "orders"))
		tx, err := transactions.ByKey(t.Context(), at, key, "")
		require.NoError(t, err)
		require.Equal(t, "last", tx.Tx)
		require.LessOrEqual(t, m.lists.Load(), int64(n/server.PageLimit+2))

		id := workflows.SagaID("", "orders", "pay", key)
		m, at = one(id, workflows.TaskQueue("holdfast", "orders"))
		row, err := sagas.Find(t.Context(), at, key, "", "holdfast")
		require.NoError(t, err)
		require.Equal(t, id, row.ID)
		require.LessOrEqual(t, m.lists.Load(), int64(n/server.PageLimit+3))
		require.LessOrEqual(t, m.others.Load(), int64(5))
	}
	late := server.HardToAsk(`17"`, fmt.Errorf("list: %w", context.DeadlineExceeded))
	require.ErrorContains(t, late, "a key with a quotation mark or a backslash is compared with all there are")
	require.ErrorContains(t, late, "raise --timeout")
	require.NotContains(t, server.HardToAsk("17", context.DeadlineExceeded).Error(), "--timeout")
}

// busyTemporal does not answer in the time that the client gives a call, some times.
type busyTemporal struct {
	manyLetters
	busy atomic.Int64
}

func (b *busyTemporal) ListWorkflow(ctx context.Context, r *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	if b.busy.Add(-1) >= 0 {
		return nil, serviceerror.NewDeadlineExceeded("context deadline exceeded")
	}
	return b.manyLetters.ListWorkflow(ctx, r)
}

// TestABusyTemporalIsAskedAgain: a list goes on as long as the command has time.
func TestABusyTemporalIsAskedAgain(t *testing.T) {
	t.Parallel()
	busy := &busyTemporal{manyLetters: manyLetters{letters: 3}}
	busy.busy.Store(2)
	at := &server.Temporal{Client: busy, Prefix: "holdfast"}
	var found []Row
	require.NoError(t, Each(t.Context(), at, Filter{Prefix: "holdfast", States: []string{server.StateAll}}, server.PageLimit, Collect(&found)))
	require.Len(t, found, 3)

	busy.busy.Store(1 << 40)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // its time is over
	err := Each(ctx, at, Filter{Prefix: "holdfast", States: []string{server.StateAll}}, server.PageLimit, Collect(&found))
	require.ErrorContains(t, err, "deadline exceeded")
	require.True(t, server.TimedOut(err))
}

// TestAFilterThatMatchesNothingLooksAtSoMany: among 50,000 as among a few; and it says how far it
// looked.
func TestAFilterThatMatchesNothingLooksAtSoMany(t *testing.T) {
	t.Parallel()
	const scan = 2 * server.PageLimit
	for letters, bounded := range map[int]bool{10: false, scan: false, 50_000: true} {
		for name, look := range map[string]func(at *server.Temporal) error{
			"dead letters": func(at *server.Temporal) error {
				return Each(t.Context(), at, Filter{Prefix: "holdfast", ErrorText: "no card", Scan: scan}, 10, func(Row) bool { return true })
			},
			"sagas": func(at *server.Temporal) error {
				return sagas.Each(t.Context(), at, sagas.Filter{Prefix: "holdfast", Key: `17"`, Scan: scan}, 10, func(sagas.Row) bool { return true })
			},
		} {
			m := &manyLetters{letters: letters}
			err := look(&server.Temporal{Client: m, Prefix: "holdfast"})
			var scanned *server.ScannedError
			require.Equal(t, bounded, errors.As(err, &scanned), name)
			if bounded {
				require.Equal(t, scan, scanned.Seen, name)
				require.Contains(t, scanned.Rest(time.Time{}), "Not all were looked at, but 2000 workflows", name)
			} else {
				require.NoError(t, err, name)
			}
			require.LessOrEqual(t, m.lists.Load(), int64(2), name)
		}
	}
}

// TestALookWhoseTimeIsOverTellsWhatItSaw: and one that saw nothing is an error.
func TestALookWhoseTimeIsOverTellsWhatItSaw(t *testing.T) {
	t.Parallel()
	for _, scan := range []int{0, 50_000} {
		ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		m := &slowTemporal{manyLetters: manyLetters{letters: 5000}}
		err := Each(ctx, &server.Temporal{Client: m, Prefix: "holdfast"}, Filter{Prefix: "holdfast", ErrorText: "no card", Scan: scan}, 10,
			func(Row) bool { return true })
		var scanned *server.ScannedError
		require.Equal(t, scan > 0, errors.As(err, &scanned), "for a list without a bound it is an error")
		require.Error(t, err)
		if scan > 0 {
			require.Equal(t, server.PageLimit, scanned.Seen)
		}
		m.none = true
		err = Each(ctx, &server.Temporal{Client: m, Prefix: "holdfast"}, Filter{Prefix: "holdfast", Scan: scan}, 10, func(Row) bool { return true })
		require.False(t, errors.As(err, &scanned))
		require.Error(t, err)
	}
}

// slowTemporal answers one page, or none.
type slowTemporal struct {
	manyLetters
	none bool
}

func (s *slowTemporal) ListWorkflow(ctx context.Context, r *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	if s.none || len(r.GetNextPageToken()) > 0 {
		return nil, ctx.Err()
	}
	return s.manyLetters.ListWorkflow(ctx, r)
}
