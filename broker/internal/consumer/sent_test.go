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
	published := before.Truncate(time.Second)
	got := sentAt(id.String(), published)
	require.False(t, got.Before(before), "%v is before %v", got, before)
	require.Less(t, time.Since(got), time.Minute)
	for _, chosen := range []string{"", "order-1", uuid.NewString()} {
		require.Equal(t, published, sentAt(chosen, published))
	}
	require.Zero(t, sentAt("", time.Time{}))
	require.Equal(t, got, sentAt(id.String(), time.Time{}), "nothing else is known")
	for _, at := range []time.Duration{-50 * time.Second, 0, 50 * time.Minute} {
		require.Equal(t, got, sentAt(id.String(), got.Add(at)), at)
	}
	for _, at := range []time.Duration{-2 * time.Minute, 2 * time.Hour, 7 * 24 * time.Hour} {
		require.Equal(t, got.Add(at), sentAt(id.String(), got.Add(at)), "an ID of something else: %v", at)
	}
}
