package cli

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
)

func TestDeadUsage(t *testing.T) {
	env := []string{"USER=ann", "TEMPORAL_ADDRESS=127.0.0.1:1"}
	for args, want := range map[string]string{
		"":                                        "say what to do: list, show, redeliver",
		"list --state odd":                        `state "odd"`,
		"list --limit 0":                          "--limit 0",
		"list --group-by age":                     "--group-by age",
		"list --older-than 2h --newer-than 1h":    "nothing is older than 2h0m0s and newer than 1h0m0s",
		"list --older-than -1h":                   "not negative",
		"list --class odd":                        `class "odd"`,
		"show":                                    "accepts 1 arg",
		"redeliver --reason x":                    "say which: IDs, filters such as --consumer, or --all",
		"discard --reason x":                      "say which",
		"redeliver 1 --topic t --reason x":        "give IDs or filters",
		"redeliver 1 --all --reason x":            "give IDs or filters",
		"redeliver 1":                             "--reason",
		"redeliver 1 2 --edit f --reason x":       "single ID",
		"redeliver 1 --content-type t --reason":   "needs an argument",
		"redeliver 1 --parallel 0 --reason x":     "--parallel 0",
		"redeliver 1 --wait -1s --reason x":       "--wait -1s",
		"redeliver --state handled --reason x":    "redeliver acts on parked, waits, failed",
		"discard --state redelivering --reason x": "add --force",
		"restart --state parked --reason x":       "restart acts on failed",
		"discard 1 --wait 1s --reason x":          "unknown flag: --wait",
	} {
		r := runProgram(t, env, append([]string{"dead"}, strings.Fields(args)...)...)
		require.Equal(t, frame.ExitUsage, r.status, args)
		require.Contains(t, r.err, want, args)
	}
	r := runProgram(t, env[1:], "dead", "redeliver", "1", "--reason", "x")
	require.Contains(t, r.err, "--operator")
	r = runProgram(t, env, "dead", "discard", "--all", "--dry-run")
	require.Contains(t, r.err, "Temporal at 127.0.0.1:1", "a dry run needs no reason")
}
