package cli

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWhatDoctorSaysOfWaits: what is missing is a problem at once, what is there and slow a
// warning after a minute, and what an operator or an answer is waited for none.
func TestWhatDoctorSaysOfWaits(t *testing.T) {
	long, short := at12.Add(-2*time.Minute), at12.Add(-30*time.Second)
	for name, c := range map[string]struct {
		w    wait
		want level
	}{
		"missing":               {wait{Kind: waitSaga, Since: short, Missing: true}, levelProblem},
		"a slow participant":    {wait{Kind: waitSaga, For: "participant x", Since: long}, levelWarning},
		"a participant":         {wait{Kind: waitSaga, For: "participant x", Since: short}, ""},
		"an answer":             {wait{Kind: waitSaga, For: "an answer: x", Since: long}, ""},
		"a transaction goes on": {wait{Kind: waitTransaction, Then: "it is published again", Since: long}, levelWarning},
		"a young one":           {wait{Kind: waitTransaction, Then: "it is published again", Since: short}, ""},
		"a parked one":          {wait{Kind: waitTransaction, Since: long}, ""},
	} {
		var f findings
		f.waited(&c.w, at12)
		if c.want == "" {
			require.Empty(t, f.all, name)
			continue
		}
		require.Len(t, f.all, 1, name)
		require.Equal(t, c.want, f.all[0].Level, name)
	}
}
