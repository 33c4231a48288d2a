package deadletters

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/holdfastmq/holdfast/internal/operator/server"
)

// counting is a Temporal with many dead letters of one consumer, which counts them.
type counting struct {
	manyLetters
	counts atomic.Int64
}

func (c *counting) CountWorkflow(_ context.Context, r *workflowservice.CountWorkflowExecutionsRequest) (*workflowservice.CountWorkflowExecutionsResponse, error) {
	c.counts.Add(1)
	if !strings.Contains(r.GetQuery(), `ExecutionStatus = "Running" AND HoldfastState = "parked"`) {
		return nil, context.Canceled
	}
	return &workflowservice.CountWorkflowExecutionsResponse{Count: int64(c.letters)}, nil
}

// TestTotalsTakeTheSameCallsAmongFifty000: Temporal counts them, nobody looks at each.
func TestTotalsTakeTheSameCallsAmongFifty000(t *testing.T) {
	t.Parallel()
	for _, n := range []int{300, 50_000} {
		c := &counting{manyLetters: manyLetters{letters: n}}
		at := &server.Temporal{Client: c, Prefix: "holdfast"}
		parked := Filter{Prefix: "holdfast", States: []string{"parked"}}
		all, err := Total(t.Context(), at, parked)
		require.NoError(t, err)
		require.Equal(t, n, all)
		groups, err := TotalByConsumer(t.Context(), at, parked)
		require.NoError(t, err)
		require.Len(t, groups, 1)
		require.NotEmpty(t, groups[0].Example)
		groups[0].Example, groups[0].Newest = "", time.Time{}
		require.Equal(t, []Group{{Value: "payments", Key: "payments", Count: n}}, groups)
		require.EqualValues(t, 2, c.counts.Load())
		require.EqualValues(t, 2, c.lists.Load(), "the latest, and those of other consumers")
	}
}

// TestWhatTemporalCannotCountIsNotAskedFor: it does not know errors, cannot be asked for some
// texts, and counts each run of a workflow that was ended.
func TestWhatTemporalCannotCountIsNotAskedFor(t *testing.T) {
	t.Parallel()
	for _, f := range []Filter{{}, {Consumer: "payments", Topic: "a", Key: "b"}, {States: []string{"parked", "waits"}}} {
		require.True(t, f.Countable(), "%+v", f)
	}
	for _, f := range []Filter{{ErrorText: "x"}, {ErrorIs: "x"}, {Class: "error"}, {Key: `17"`}, {Consumer: `a\b`}, {States: []string{"parked", "all"}},
		{States: []string{"terminated"}}, {States: []string{"discarded"}}} {
		require.False(t, f.Countable(), "%+v", f)
	}
}
