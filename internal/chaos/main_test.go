package chaos

import (
	"os"
	"testing"

	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// TestMain runs the test, or a child process of it.
func TestMain(m *testing.M) {
	if config := os.Getenv(childEnv); config != "" {
		os.Exit(childMain(config))
	}
	os.Exit(stacktest.Main(m))
}
