package worker_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// TestMain runs the tests, or, as a child process of one of them, what that
// test wants to see killed.
func TestMain(m *testing.M) {
	if config := os.Getenv(childEnv); config != "" {
		os.Exit(childMain(config))
	}
	code := stacktest.Main(m)
	if code == 0 {
		// gorm's cache of prepared statements never ends its goroutine.
		if err := stacktest.Leaks(goleak.IgnoreAnyFunction("gorm.io/gorm/internal/lru.NewLRU[...].func1")); err != nil {
			os.Stderr.WriteString("goroutines are left: " + err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}
