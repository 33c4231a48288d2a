package waits

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// TestNudges: who only looks gathers none, and what has ended meanwhile is no error.
func TestNudges(t *testing.T) {
	t.Parallel()
	n := Nudge{ID: "saga/shop/travel/1", For: "participant seat.take", Signal: sagaflow.UpdateRetry}
	looks := &Survey{}
	looks.nudge(n.ID, &Wait{}, sagaflow.UpdateRetry, nil)
	require.Empty(t, looks.Nudges, "who only looks changes nothing")
	s := stacktest.Shared(t)
	server := &server.Temporal{Client: stacktest.TemporalClient(t, s), Namespace: s.Namespace()}
	gone, err := sendNudges(t.Context(), server, []Nudge{{ID: "saga/" + stacktest.Prefix(t), Signal: sagaflow.UpdateRetry}})
	require.NoError(t, err)
	require.Equal(t, 1, gone)
}
