package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/cli/setup"
)

func TestExitStatuses(t *testing.T) {
	env := []string{"USER=ann"}
	for _, tc := range []struct {
		args, env []string
		status    int
		err       string
	}{
		{[]string{}, env, frame.ExitOK, ""},
		{[]string{"--help"}, env, frame.ExitOK, ""},
		{[]string{"version"}, env, frame.ExitOK, ""},
		{[]string{"nope"}, env, frame.ExitUsage, `unknown command "nope"`},
		{[]string{"version", "extra"}, env, frame.ExitUsage, "extra"},
		{[]string{"version", "--nope"}, env, frame.ExitUsage, "unknown flag: --nope"},
		{[]string{"tx"}, env, frame.ExitUsage, "say what to do"},
		{[]string{"tx", "list", "--state", "odd"}, env, frame.ExitUsage, `state "odd"`},
		{[]string{"tx", "list", "--limit", "0"}, env, frame.ExitUsage, "--limit 0"},
		{[]string{"tx", "show"}, env, frame.ExitUsage, "accepts 1 arg"},
		{[]string{"tx", "commit", "1"}, env, frame.ExitUsage, "--reason"},
		{[]string{"tx", "commit", "1", "--reason", "x"}, nil, frame.ExitUsage, "HOLDFAST_OPERATOR"},
		{[]string{"tx", "start", "--group", "g"}, env, frame.ExitUsage, `required flag(s) "handler", "topic" not set`},
		{[]string{"tx", "start", "--group", "g/h", "--handler", "h", "--topic", "t"}, env, frame.ExitUsage, "the group"},
		{[]string{"doctor", "--skip", "kafka"}, env, frame.ExitUsage, "--skip kafka"},
		{[]string{"doctor", "--group", "a/b"}, env, frame.ExitUsage, "a/b"},
		{[]string{"dev", "go", "test"}, env, frame.ExitUsage, "after --"},
		{[]string{"version", "--prefix", "a b"}, env, frame.ExitUsage, "prefix"},
		{[]string{"version", "--timeout", "-1s"}, env, frame.ExitUsage, "negative"},
		{[]string{"version"}, []string{"HOLDFAST_TIMEOUT=soon"}, frame.ExitUsage, "HOLDFAST_TIMEOUT"},
		{[]string{"migrate"}, env, frame.ExitError, "set DATABASE_URL"},
		{[]string{"migrate"}, []string{"DATABASE_URL=postgres://u:s3cr%et@h/x"}, frame.ExitError, "DATABASE_URL is no URL"},
		{[]string{"tx", "list"}, []string{"TEMPORAL_ADDRESS=127.0.0.1:1"}, frame.ExitError, "Temporal at 127.0.0.1:1"},
	} {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			r := runProgram(t, tc.env, tc.args...)
			require.Equal(t, tc.status, r.status, r.err)
			if tc.err == "" {
				require.Empty(t, r.err)
				return
			}
			require.Empty(t, r.out)
			require.True(t, strings.HasPrefix(r.err, "holdfast: "), r.err)
			require.Contains(t, r.err, tc.err)
			require.NotContains(t, r.err, "s3cr")
			require.Equal(t, tc.status == frame.ExitUsage, strings.Contains(r.err, "--help"), r.err)
		})
	}
}

func TestEveryCommandIsDocumented(t *testing.T) {
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		if c.Name() != "help" && c.Name() != "completion" {
			require.NotEmpty(t, c.Short, c.CommandPath())
			require.NotEmpty(t, c.Long, c.CommandPath())
			require.Contains(t, c.Example, "holdfast "+strings.TrimPrefix(strings.TrimPrefix(c.CommandPath(), "holdfast"), " "), c.CommandPath())
			if c.Flags().Lookup("json") != nil {
				require.Contains(t, c.Long, "JSON: ", c.CommandPath())
			}
			for _, line := range strings.Split(c.Long, "\n") {
				require.LessOrEqual(t, len([]rune(line)), 80, "%s: %s", c.CommandPath(), line)
			}
		}
		for _, sub := range c.Commands() {
			look(sub)
		}
	}
	look(newRootCommand(&frame.App{}))
}

func TestVersionAsJSON(t *testing.T) {
	var v setup.Version
	r := runProgram(t, nil, "version", "--json")
	require.NoError(t, json.Unmarshal([]byte(r.out), &v))
	require.NotEmpty(t, v.Go)
	require.Positive(t, v.Tables)
	require.Contains(t, runProgram(t, nil, "version").out, fmt.Sprintf("tables at version %d; client of Temporal ", v.Tables))
}
