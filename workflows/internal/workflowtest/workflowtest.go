// Package workflowtest has what the tests of all workflows share.
package workflowtest

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.uber.org/goleak"

	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// Patience is longer than anything takes with the race detector on a busy machine,
// bodies of 1 MiB included.
const Patience = 5 * time.Minute

// Main is a TestMain. It fails where goroutines are left.
func Main(m *testing.M) {
	code := stacktest.Main(m)
	if code == 0 {
		// The SDK's test suite never stops waiting for the retry of an activity that
		// was cancelled, or whose workflow has ended.
		const suite = "go.temporal.io/sdk/internal.(*testWorkflowEnvironmentImpl)."
		err := goleak.Find(goleak.IgnoreAnyFunction(suite+"ExecuteActivity.func2"),
			goleak.IgnoreAnyFunction(suite+"executeActivityWithRetryForTest"))
		if err != nil {
			os.Stderr.WriteString("goroutines are left: " + err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}

// Count counts the events of a kind.
func Count(events []*historypb.HistoryEvent, kind enumspb.EventType) (n int) {
	for _, e := range events {
		if e.GetEventType() == kind {
			n++
		}
	}
	return n
}

// Until waits for what no call can wait for.
func Until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline, tick := time.NewTimer(Patience), time.NewTicker(20*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			require.FailNow(t, "did not happen: "+what)
		}
	}
}
