package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
)

func TestTxUsage(t *testing.T) {
	t.Parallel()
	env := []string{"USER=ann", "TEMPORAL_ADDRESS=127.0.0.1:1"}
	for args, want := range map[string]string{
		"commit --reason x":                    "say which: IDs, filters such as --group, or --all",
		"recheck 1 --topic t --reason x":       "give IDs or filters",
		"commit --state committed --reason x":  "commit acts on parked, checking",
		"recheck --state running --reason x":   "recheck acts on parked, delivering, checking, failed",
		"rollback --state odd --reason x":      "rollback acts on",
		"recheck 1 --force --reason x":         "unknown flag: --force",
		"list --since 1h --newer-than 1h":      "none of the others can be",
		"list --older-than 2h --newer-than 1h": "nothing is older than",
	} {
		r := runProgram(t, env, append([]string{"tx"}, strings.Fields(args)...)...)
		require.Equal(t, frame.ExitUsage, r.status, args)
		require.Contains(t, r.err, want, args)
	}
}

// TestManyTransactionsAreSettled: what is parked is chosen by its reason, shown by a
// dry run, confirmed and settled, and only what failed is told one by one.
func TestManyTransactionsAreSettled(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	var parked []string
	for i := range 3 {
		parked = append(parked, s.park(fmt.Sprint("M-", i)))
	}
	orders := []string{"tx", "commit", "--group", s.group, "--error", "undecided after <n> check-backs"}
	var rows []transactions.Row
	s.decode(&rows, append(orders, "--dry-run")...)
	require.ElementsMatch(t, parked, ids(rows))
	require.Contains(t, rows[0].Reason, "undecided after 1 check-backs")
	r := s.holdfast(append(orders, "--dry-run")...)
	require.Contains(t, r.err, "To commit: 3 transactions. Nothing was done.")
	require.Contains(t, r.out, "REASON")
	r = s.holdfast(append(orders, "--reason", "x")...)
	require.Equal(t, frame.ExitUsage, r.status)
	require.Contains(t, r.err, "this would commit 3 transactions: add --yes")

	r = s.holdfast("tx", "rollback", parked[0], "--group", s.group, "--reason", "never ran")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	// The list may be late: it may still have the one that is rolled back.
	r = s.holdfast(append(orders, "--reason", "the bank says so", "--yes")...)
	require.Equal(t, frame.ExitOK, r.status, r.err+r.out)
	require.Regexp(t, `^commit: [23] transactions: 2 committed(, 1 settled already)?\n`, r.out)
	for _, id := range parked {
		require.NotContains(t, r.out, id, "what went well is counted")
	}
	s.list(func(rows []transactions.Row) bool { return len(rows) == 0 }, "--state", "parked")
	r = s.holdfast(append(orders, "--reason", "x", "--yes")...)
	require.Equal(t, "No transactions to commit.\n", r.out)

	var done []actions.Outcome
	r = s.holdfast(append(append([]string{"tx", "rollback"}, parked[1:]...), "--group", s.group, "--reason", "x", "--yes", "--json")...)
	require.Equal(t, frame.ExitError, r.status, "what was named, and is settled otherwise, is a failure")
	r = s.holdfast(append(append([]string{"tx", "rollback"}, parked[1:]...), "--group", s.group, "--reason", "x", "--yes")...)
	require.Contains(t, r.out, "rollback: 2 transactions: 2 settled already\n")
	require.Contains(t, r.out, parked[1], "failures are told in detail")
	require.NotEmpty(t, suggestions(r.out), r.out)
	s.decode(&done, "tx", "recheck", "--group", s.group, "--older-than", "1h", "--reason", "x")
	require.Empty(t, done)
}
