package barrier_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/barrier"
)

func TestKnownConsumers(t *testing.T) {
	db := open(t, databaseURL(t), nil)
	_, err := barrier.KnownConsumers(t.Context(), db, "p")
	require.ErrorContains(t, err, "run `holdfast migrate`")
	require.NoError(t, barrier.Migrate(t.Context(), db))

	require.NoError(t, barrier.SaveConsumers(t.Context(), db, "p", []barrier.KnownConsumer{
		{Name: "b", Topics: []string{"order.*", `odd"?`}}, {Name: "a", Topics: []string{"x"}}}))
	require.NoError(t, barrier.SaveConsumers(t.Context(), db, "p", []barrier.KnownConsumer{{Name: "a", Topics: []string{"y"}}}))
	require.NoError(t, barrier.SaveConsumers(t.Context(), db, "p", nil))
	require.NoError(t, barrier.SaveConsumers(t.Context(), db, "other", []barrier.KnownConsumer{{Name: "a", Topics: []string{"z"}}}))
	require.NoError(t, db.Exec("UPDATE holdfast_consumers SET seen_at = now() - interval '1 hour' WHERE name = 'b'").Error)
	cs, err := barrier.KnownConsumers(t.Context(), db, "p")
	require.NoError(t, err)
	require.Len(t, cs, 2)
	require.Equal(t, []string{"y"}, cs[0].Topics)
	require.Equal(t, []string{"order.*", `odd"?`}, cs[1].Topics)
	require.InDelta(t, time.Hour, cs[1].Seen, float64(time.Minute))
	require.Zero(t, cs[1].Remade)

	require.NoError(t, barrier.NoteRemade(t.Context(), db, "p", []string{"b"}, "it was gone"))
	was, err := barrier.ForgetConsumer(t.Context(), db, "p", "a")
	require.NoError(t, err)
	require.True(t, was)
	was, err = barrier.ForgetConsumer(t.Context(), db, "p", "a")
	require.NoError(t, err)
	require.False(t, was)
	cs, err = barrier.KnownConsumers(t.Context(), db, "p")
	require.NoError(t, err)
	require.Len(t, cs, 1)
	require.Equal(t, "it was gone", cs[0].What)
	require.Positive(t, cs[0].Remade)
}
