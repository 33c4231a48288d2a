package workflows_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

func TestMain(m *testing.M) {
	code := stacktest.Main(m)
	if code == 0 {
		// The SDK's test suite never stops waiting for the retry of an activity that
		// was cancelled, or whose workflow has ended.
		const suite = "go.temporal.io/sdk/internal.(*testWorkflowEnvironmentImpl)."
		err := goleak.Find(goleak.IgnoreAnyFunction(suite+"ExecuteActivity.func2"), goleak.IgnoreAnyFunction(suite+"executeActivityWithRetryForTest"))
		if err != nil {
			os.Stderr.WriteString("goroutines are left: " + err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}
