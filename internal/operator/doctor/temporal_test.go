package doctor

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// TestTemporalWithoutAddress: that nobody says where Temporal is, is well only if the
// processes say that they have none.
func TestTemporalWithoutAddress(t *testing.T) {
	sends := []broker.KeeperStatus{{Group: "orders"}}
	without, with := broker.ProcessStatus{NoTemporal: true, Keepers: sends}, broker.ProcessStatus{Keepers: sends}
	consumes := broker.ProcessStatus{NoTemporal: true}
	for name, tc := range map[string]struct {
		answers []broker.ProcessStatus
		err     error
		want    text.Level
	}{
		"all go without":   {[]broker.ProcessStatus{consumes, without}, nil, text.LevelOK},
		"nobody sends":     {[]broker.ProcessStatus{consumes}, nil, text.LevelProblem},
		"one has it":       {[]broker.ProcessStatus{without, with}, nil, text.LevelProblem},
		"nobody answers":   {nil, nil, text.LevelProblem},
		"nobody was asked": {nil, reach.ErrNotAsked, text.LevelProblem},
		"some were asked":  {[]broker.ProcessStatus{without}, errors.New("closed"), text.LevelProblem},
	} {
		f := Findings{part: "Temporal"}
		f.noTemporal(func() ([]broker.ProcessStatus, error) { return tc.answers, tc.err })
		require.Len(t, f.All, 1, name)
		require.Equal(t, tc.want, f.All[0].Level, name)
		require.Contains(t, f.All[0].Detail, "not checked: TEMPORAL_ADDRESS is not set", name)
		require.Equal(t, tc.want == text.LevelProblem, f.All[0].Remedy != "", name)
	}
}
