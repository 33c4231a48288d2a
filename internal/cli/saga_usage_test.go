package cli

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

func TestSagaUsage(t *testing.T) {
	env := []string{"USER=ann", "TEMPORAL_ADDRESS=127.0.0.1:1"}
	for args, want := range map[string]string{
		"":                                       "say what to do: list, show, start",
		"list --state odd":                       `state "odd"`,
		"list --limit 0":                         "--limit 0",
		"list --older-than 2h --newer-than 1h":   "nothing is older than 2h0m0s and newer than 1h0m0s",
		"show":                                   "accepts 1 arg",
		"pause --reason x":                       "say which: IDs, filters such as --group, or --all",
		"pause 1 --name n --reason x":            "give IDs or filters, not both; only --group goes with IDs",
		"pause 1":                                "say why, with --reason",
		"skip 1 --reason x":                      "name the step, with --step",
		"answer 1 --reason x":                    "name the step, with --step",
		"answer 1 --step s --value { --reason x": "--value: it is no JSON",
		"answer 1 --step s --reason x --value \"" + strings.Repeat("x", sagaflow.MaxAnswer) + `"`: "--value: it has more than 65536 bytes",
		"pause 1 --step s":                   "unknown flag: --step",
		"pause 1 --wait 1s":                  "unknown flag: --wait",
		"compensate 1 --wait -1s --reason x": "--wait -1s",
		"resume --state running --reason x":  "--state running: resume acts on paused",
		"start pay":                          `required flag(s) "data" not set`,
		"start pay --data {":                 "--data: it is no JSON",
		"start pay --data @/no/such":         "no such file",
		"start a/b --data {}":                "the saga's name",
		"start pay --data {} --group a/b":    "the group",
		"start pay --data {} --key \xff":     "the saga's key is not valid UTF-8",
		"start pay --data {} --version -1":   "--version -1",
		"start pay --data {} --wait -1s":     "--wait -1s",
		"diagram":                            "accepts 1 arg",
		"diagram pay --version -1":           "--version -1",
	} {
		r := runProgram(t, env, append([]string{"saga"}, strings.Fields(args)...)...)
		require.Equal(t, frame.ExitUsage, r.status, args)
		require.Contains(t, r.err, want, args)
	}
	r := runProgram(t, env[1:], "saga", "pause", "1", "--reason", "x")
	require.Contains(t, r.err, "--operator")
	r = runProgram(t, env, "saga", "compensate", "--all", "--dry-run")
	require.Contains(t, r.err, "Temporal at 127.0.0.1:1", "a dry run needs no reason")
	r = runProgram(t, env, "saga", "start", "pay", "--data", "{}", "--group", "g")
	require.Contains(t, r.err, "Temporal at 127.0.0.1:1", "a group that is named is not asked for")
}
