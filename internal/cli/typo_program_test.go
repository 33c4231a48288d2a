package cli

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestATypoIsSaid: nothing found for a name that nobody has is said to be that, also by
// actions, and in JSON.
func TestATypoIsSaid(t *testing.T) {
	t.Parallel()
	g := newGraveyard(t)
	g.bury(g.ghost("1", nil))
	const said = `No consumer "paymnets" is known. Did you mean payments?`
	for _, args := range [][]string{{"list"}, {"list", "--json"}, {"list", "--group-by", "error"}, {"list", "--group-by", "error", "--json"},
		{"discard", "--reason", "x"}, {"discard", "--reason", "x", "--json"}, {"discard", "--dry-run"}, {"show", "m"}} {
		r := g.holdfast(append(args, "--consumer", "paymnets")...)
		require.Contains(t, r.err, said, args)
	}
	r := g.holdfast("list", "--consumer", "payments", "--state", "handled")
	require.Equal(t, result{out: "No dead letters.\n"}, r)
	r = runProgram(t, g.env, "tx", "list", "--group", "no-such")
	require.Contains(t, r.err, `No group "no-such" is known`)
	r = runProgram(t, g.env, "tx", "recheck", "--group", "no-such", "--reason", "x")
	require.Contains(t, r.err, `No group "no-such" is known`)
	r = runProgram(t, g.env, "saga", "list", "--name", "no-such", "--json")
	require.Contains(t, r.err, `No saga "no-such" is known`)
	require.Equal(t, "[]\n", r.out)
}
