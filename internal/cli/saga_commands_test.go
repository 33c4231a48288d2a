package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
)

// TestCommandsAreAccepted: what is offered is what the saga would do.
func TestCommandsAreAccepted(t *testing.T) {
	drawn, err := filepath.Glob(filepath.Join("..", "operator", "sagas", "testdata", "saga-*.txt"))
	require.NoError(t, err)
	offered := 0
	for _, name := range drawn {
		out, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, c := range suggestions(string(out)) {
			offered++
			args := strings.Fields(strings.TrimPrefix(c, "holdfast "))
			found, rest, err := newRootCommand(&frame.App{}).Find(args)
			require.NoError(t, err, name)
			require.NoError(t, found.ParseFlags(rest), name)
		}
	}
	require.Greater(t, offered, 10)
}
