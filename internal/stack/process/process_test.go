package process

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWithoutEnv(t *testing.T) {
	require.Equal(t, []string{"A=1", "HOMEWARD=3"},
		WithoutEnv([]string{"A=1", "HOME=2", "HOMEWARD=3", "ERL_FLAGS=4"}, "HOME", "ERL_"))
}

func TestLastLines(t *testing.T) {
	require.Equal(t, "b\nc", LastLines("a\nb\nc\n", 2))
	require.Equal(t, "a", LastLines("a", 2))
}
