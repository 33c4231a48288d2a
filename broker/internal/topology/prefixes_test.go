package topology

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPrefixesIn(t *testing.T) {
	require.Equal(t, []string{"a", "a.b", "a.b.c"}, prefixesIn("a.b.c.d"))
	require.Empty(t, prefixesIn("a"))
}
