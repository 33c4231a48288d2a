package cli

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUnknownNames(t *testing.T) {
	t.Parallel()
	known := []string{"payments", "mails", "payments.eu", "audit", "audit"}
	for name, want := range map[string]string{
		"payments":  "",
		"paymnets":  `No consumer "paymnets" is known. Did you mean payments?`,
		"Payments":  `No consumer "Payments" is known. Did you mean payments or payments.eu?`,
		"payment":   `No consumer "payment" is known. Did you mean payments or payments.eu?`,
		"mail":      `No consumer "mail" is known. Did you mean mails?`,
		"warehouse": `No consumer "warehouse" is known; there are audit, mails, payments, payments.eu.`,
	} {
		require.Equal(t, want, unknownName("consumer", name, append([]string(nil), known...)), name)
	}
	require.Contains(t, unknownName("group", "x", nil), "nor is any other. Check --prefix")
	require.Contains(t, unknownName("group", "x", []string{"aa", "bb", "cc", "dd", "ee", "ff", "gg", "hh", "ii", "jj", "kk"}), "among 11 others there are aa, ")
}

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
