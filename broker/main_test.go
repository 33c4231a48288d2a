package broker

import (
	"os"
	"testing"

	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(childConsumer())
	}
	if config := os.Getenv(keeperEnv); config != "" {
		os.Exit(childKeeper(config))
	}
	code := stacktest.Main(m)
	if code == 0 {
		if err := stacktest.Leaks(); err != nil {
			os.Stderr.WriteString("goroutines are left: " + err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}
