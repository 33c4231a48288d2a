package desk

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
)

// TestWhatIsSkippedTakesNoPlace: those after it come in its place, and nobody is asked for more
// than that takes.
func TestWhatIsSkippedTakesNoPlace(t *testing.T) {
	t.Parallel()
	var rows []deadletters.Row
	for i := range 12 {
		rows = append(rows, deadletters.Row{ID: fmt.Sprint(i)})
	}
	for _, c := range []struct {
		skipped, asked int
		want           string
		rest           bool
	}{
		{0, 4, "0 1 2 3", true}, {3, 7, "3 4 5 6", true}, {6, 10, "6 7 8 9", true}, {8, 12, "8 9 10 11", false},
		{10, 12, "10 11", false}, {12, 12, "", false},
	} {
		asked, got := 0, ""
		all, rest := oldestOf(rows, 4, func(rows []deadletters.Row) (all []deadletters.Detail) {
			asked += len(rows)
			for _, r := range rows {
				all = append(all, deadletters.Detail{Row: r})
			}
			return all
		}, func(d deadletters.Detail) bool {
			var n int
			_, err := fmt.Sscan(d.ID, &n)
			require.NoError(t, err)
			return n < c.skipped
		})
		for _, d := range all {
			got += " " + d.ID
		}
		if got != "" {
			got = got[1:]
		}
		require.Equal(t, []any{c.want, c.rest, c.asked}, []any{got, rest, asked}, c.skipped)
	}
}
