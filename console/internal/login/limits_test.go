package login

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/workflows"
)

// TestLongNamesAreNotKept: anybody can send them.
func TestLongNamesAreNotKept(t *testing.T) {
	t.Parallel()
	l := NewLimits(func() time.Time { return time.Unix(1000, 0) })
	for _, name := range []string{strings.Repeat("a", workflows.MaxOperator+1), strings.Repeat("b", 60000)} {
		end, wait := l.Begin("192.0.2.1", name)
		require.Zero(t, wait)
		end(false)
	}
	require.Len(t, l.names, 1)
	require.Equal(t, 2, l.names[of{"192.0.2.1", ""}].tries)
	require.Equal(t, 2, l.sources["192.0.2.1"].tries)
}
