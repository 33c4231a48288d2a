package consumer

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// When a message was sent, its transaction's ID says to the millisecond.
func TestSentAt(t *testing.T) {
	before := time.Now().Truncate(time.Millisecond)
	id, err := uuid.NewV7()
	require.NoError(t, err)
	published := time.Unix(1_700_000_000, 0)
	got := sentAt(id.String(), published)
	require.False(t, got.Before(before), "%v is before %v", got, before)
	require.Less(t, time.Since(got), time.Minute)
	for _, chosen := range []string{"", "order-1", uuid.NewString()} {
		require.Equal(t, published, sentAt(chosen, published))
	}
	require.Zero(t, sentAt("", time.Time{}))
}
