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
	sh := &shop{t: t, env: g.env} // names are looked for within a few seconds
	const said = `No consumer "paymnets" is known. Did you mean payments?`
	for _, args := range [][]string{{"list"}, {"list", "--json"}, {"list", "--group-by", "error"}, {"list", "--group-by", "error", "--json"},
		{"discard", "--reason", "x"}, {"discard", "--reason", "x", "--json"}, {"discard", "--dry-run"}, {"show", "m"}} {
		sh.answered(complains(said), append(append([]string{"dead"}, args...), "--consumer", "paymnets")...)
	}
	nothing := result{out: "No dead letters.\n"}
	sh.answered(func(r result) bool { return r == nothing }, "dead", "list", "--consumer", "payments", "--state", "handled")
	sh.answered(complains(`No group "no-such" is known`), "tx", "list", "--group", "no-such")
	sh.answered(complains(`No group "no-such" is known`), "tx", "recheck", "--group", "no-such", "--reason", "x")
	r := sh.answered(complains(`No saga "no-such" is known`), "saga", "list", "--name", "no-such", "--json")
	require.Equal(t, "[]\n", r.out)
}
