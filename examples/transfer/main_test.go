package main

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

func TestMain(m *testing.M) { os.Exit(stacktest.Main(m)) }

// TestTransfers runs the program as its reader would: no cent is lost or made.
func TestTransfers(t *testing.T) {
	s := stacktest.Shared(t)
	database := stacktest.Database(t, s)
	address, err := url.Parse(database)
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, bank := range []string{"_east", "_west"} {
			if err := s.DropDatabase(context.Background(), address.Path[1:]+bank); err != nil {
				t.Logf("the bank's database stays behind: %v", err)
			}
		}
	})
	cmd := exec.CommandContext(t.Context(), "go", "run", ".")
	cmd.Env = append(os.Environ(), s.Env()...)
	cmd.Env = append(cmd.Env, "DATABASE_URL="+database)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	require.Equal(t, `  alice 100, bob 50, carol 7, sum 157
30 from alice to bob: transferred
  alice 70, bob 80, carol 7, sum 157
1000 from alice to bob: withdraw: the funds of alice are short
  alice 70, bob 80, carol 7, sum 157
20 from alice to carol: deposit: the account of carol is closed
  alice 70, bob 80, carol 7, sum 157
`, string(out), stderr.String())
}
