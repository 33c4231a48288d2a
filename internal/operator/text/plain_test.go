package text

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOnlyATerminalIsOne: a command whose input is /dev/null, as under a service
// manager, must not ask questions there.
func TestOnlyATerminalIsOne(t *testing.T) {
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer func() { require.NoError(t, null.Close()) }()
	require.False(t, IsTerminal(null))
	require.False(t, IsTerminal(strings.NewReader("")))
}
