package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/workflows"
)

// TestNudges: who only looks gathers none, and what has ended meanwhile is no error.
func TestNudges(t *testing.T) {
	t.Parallel()
	n := nudge{ID: "saga/shop/travel/1", For: "participant seat.take", signal: workflows.UpdateRetry}
	looks := &survey{}
	looks.nudge(n.ID, &wait{}, workflows.UpdateRetry, nil)
	require.Empty(t, looks.nudges, "who only looks changes nothing")
	s := stacktest.Shared(t)
	server := &temporalServer{Client: stacktest.TemporalClient(t, s), namespace: s.Namespace()}
	gone, err := sendNudges(t.Context(), server, []nudge{{ID: "saga/" + stacktest.Prefix(t), signal: workflows.UpdateRetry}})
	require.NoError(t, err)
	require.Equal(t, 1, gone)
}
