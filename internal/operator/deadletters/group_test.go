package deadletters

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/operator/text"
)

func TestDeadLettersAreCounted(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var c Counter
	for i, reason := range []string{"no order 1", "no order 2", "sold out", "no order 3"} {
		r := Row{WorkflowID: "dead/p/" + reason[len(reason)-1:], Reason: reason, Started: now.Add(-time.Duration(i) * time.Hour)}
		c.Count("error", r)
	}
	groups := c.Largest()
	require.Equal(t, []Group{
		{Value: "no order <n>", Key: "no order <n>", Count: 3, Example: "dead/p/1", Oldest: now.Add(-3 * time.Hour), Newest: now},
		{Value: "sold out", Key: "sold out", Count: 1, Example: "dead/p/t", Oldest: now.Add(-2 * time.Hour), Newest: now.Add(-2 * time.Hour)},
	}, groups)
	groups[0].Command = "list them"
	var out bytes.Buffer
	require.NoError(t, PrintGroups(&out, "error", groups[:1], now.Add(time.Minute)))
	require.Equal(t, "COUNT  ERROR         AGE             EXAMPLE\n3      no order <n>  1m00s to 3h01m  dead/p/1\n\nTo list them:\n  list them\n", out.String())

	groups[0].Command = "" // of letters without a topic, for example: no filter means them
	out.Reset()
	require.NoError(t, PrintGroups(&out, "error", groups[:1], now))
	require.NotContains(t, out.String(), "To list them")
}

// TestAGroupIsNotAPartOfAnother: its Key means its own letters, however long the error is.
func TestAGroupIsNotAPartOfAnother(t *testing.T) {
	long := strings.Repeat("very ", 1000)
	var c Counter
	for _, r := range []string{"EOF", "unexpected EOF", long + "long 1", long + "longer 2"} {
		c.Count("error", Row{Reason: r})
	}
	groups := c.Largest()
	require.Len(t, groups, 4)
	for _, g := range groups {
		var its int
		for _, r := range []string{"EOF", "unexpected EOF", long + "long 3", long + "longer 4"} {
			if (Filter{ErrorIs: g.Key}).matches(Row{Reason: r}) {
				its++
			}
		}
		require.Equal(t, 1, its, g.Key)
		require.LessOrEqual(t, len(g.Key), keyKept)
	}
}

// TestOnlyWhatDiffersIsReplaced: what all errors of a group have stays as it is, and the
// group's text finds them.
func TestOnlyWhatDiffersIsReplaced(t *testing.T) {
	for want, reasons := range map[string][]string{
		"dial tcp 10.0.0.7:5432: refused":                    {"dial tcp 10.0.0.7:5432: refused", "dial tcp 10.0.0.7:5432:  refused"},
		"dial tcp <n>: refused":                              {"dial tcp 10.0.0.7:5432: refused", "dial tcp 10.0.0.8:5432: refused"},
		`order <n> of customer "ann" needs 3 rows`:           {`order 1 of customer "ann" needs 3 rows`, `order 22 of customer "ann" needs 3 rows`},
		`order <n> of customer <text> needs 3 rows`:          {`order 1 of customer "ann" needs 3 rows`, `order 22 of customer "bob" needs 3 rows`},
		`no row in table "orders" with id <uuid> (code 409)`: {`no row in table "orders" with id 550e8400-e29b-41d4-a716-446655440000 (code 409)`, `no row in table "orders" with id 550e8400-e29b-41d4-a716-446655440001 (code 409)`},
		"<n> is literal":                                     {"<n> is literal"},
	} {
		var c Counter
		for _, r := range reasons {
			c.Count("error", Row{Reason: r})
		}
		groups := c.Largest()
		require.Len(t, groups, 1, want)
		require.Equal(t, want, groups[0].Value)
		for _, r := range reasons {
			require.True(t, text.HasError(r, want), r)
			require.True(t, Filter{ErrorIs: groups[0].Key}.matches(Row{Reason: r}), r)
		}
	}
	var c Counter
	for _, table := range []string{"orders", "lines"} {
		for _, code := range []string{"23505", "23503"} {
			c.Count("error", Row{Reason: `violates constraint "` + table + `" (SQLSTATE ` + code + `)`})
		}
	}
	require.Len(t, c.Largest(), 4)
	require.False(t, text.HasError("order 17 of 3", "order <n> of 4"))
	require.True(t, text.HasError("order 17 of 3", "order <n> of 3"))
}
