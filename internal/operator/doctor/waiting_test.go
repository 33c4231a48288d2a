package doctor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/waits"
)

// TestWhatDoctorSaysOfWaits: what is missing is a problem at once, what is there and slow a
// warning after a minute, and what an operator or an answer is waited for none.
func TestWhatDoctorSaysOfWaits(t *testing.T) {
	long, short := at12.Add(-2*time.Minute), at12.Add(-30*time.Second)
	for name, c := range map[string]struct {
		w    waits.Wait
		want text.Level
	}{
		"missing":               {waits.Wait{Kind: waits.WaitSaga, Since: short, Missing: true}, text.LevelProblem},
		"a slow participant":    {waits.Wait{Kind: waits.WaitSaga, For: "participant x", Since: long}, text.LevelWarning},
		"a participant":         {waits.Wait{Kind: waits.WaitSaga, For: "participant x", Since: short}, ""},
		"an answer":             {waits.Wait{Kind: waits.WaitSaga, For: "an answer: x", Since: long}, ""},
		"a transaction goes on": {waits.Wait{Kind: waits.WaitTransaction, Then: "it is published again", Since: long}, text.LevelWarning},
		"a young one":           {waits.Wait{Kind: waits.WaitTransaction, Then: "it is published again", Since: short}, ""},
		"a parked one":          {waits.Wait{Kind: waits.WaitTransaction, Since: long}, ""},
	} {
		var f Findings
		f.waited(&c.w, at12)
		if c.want == "" {
			require.Empty(t, f.All, name)
			continue
		}
		require.Len(t, f.All, 1, name)
		require.Equal(t, c.want, f.All[0].Level, name)
	}
}
