package cli

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
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
		want    level
	}{
		"all go without":   {[]broker.ProcessStatus{consumes, without}, nil, levelOK},
		"nobody sends":     {[]broker.ProcessStatus{consumes}, nil, levelProblem},
		"one has it":       {[]broker.ProcessStatus{without, with}, nil, levelProblem},
		"nobody answers":   {nil, nil, levelProblem},
		"nobody was asked": {nil, errNotAsked, levelProblem},
		"some were asked":  {[]broker.ProcessStatus{without}, errors.New("closed"), levelProblem},
	} {
		f := findings{part: "Temporal"}
		f.noTemporal(func() ([]broker.ProcessStatus, error) { return tc.answers, tc.err })
		require.Len(t, f.all, 1, name)
		require.Equal(t, tc.want, f.all[0].Level, name)
		require.Contains(t, f.all[0].Detail, "not checked: TEMPORAL_ADDRESS is not set", name)
		require.Equal(t, tc.want == levelProblem, f.all[0].Remedy != "", name)
	}
}
