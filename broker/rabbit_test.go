package broker

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// settleQueues makes queues that were just declared survive a SIGKILL: RabbitMQ
// 3.10 writes its list of quorum queues half a second late, and a queue that is
// not on it has no leader for ever.
func settleQueues(t *testing.T, rabbit interface{ Restart(context.Context) error }) {
	t.Helper()
	require.NoError(t, rabbit.Restart(testContext(t)))
}
