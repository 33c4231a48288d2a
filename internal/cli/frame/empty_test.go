package frame

import (
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

func TestNoneEmpty(t *testing.T) {
	try := func(args ...string) error {
		var began error
		c := &cobra.Command{Use: "c", Args: cobra.ArbitraryArgs, RunE: func(c *cobra.Command, args []string) error {
			began = NoneEmpty(c, args)
			return nil
		}}
		c.Flags().String("key", "", "")
		c.Flags().StringSlice("state", nil, "")
		c.Flags().Int("limit", 0, "")
		c.SetArgs(args)
		require.NoError(t, c.Execute())
		return began
	}
	require.NoError(t, try())
	require.NoError(t, try("1", "--key", "k", "--state", "a,b", "--limit", "0"))
	require.NoError(t, try("1", "--", "sh", "-c", ""), "another program's")
	require.ErrorContains(t, try("--key", ""), "--key is empty")
	require.ErrorContains(t, try("--state", ""), "--state is empty")
	require.ErrorContains(t, try(""), "an argument is empty")
	require.ErrorContains(t, try("", "--", "sh"), "an argument is empty")
}
