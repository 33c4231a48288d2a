package doctor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
)

// TestAPauseSaysWhoWaits: by whom, since when, until when, and how many messages wait.
func TestAPauseSaysWhoWaits(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	p := broker.ConsumerPause{ID: "p", Consumer: "mailer", By: "ann", Reason: "stock-taking", Since: now.Add(-time.Hour),
		Until: now.Add(time.Hour)}
	for waiting, want := range map[int]string{7: ", 7 messages in its queue", 0: ", 0 messages in its queue", -1: "2026-01-02 13:00:00"} {
		f := &Findings{}
		f.pause(p, nil, 0, waiting, now)
		require.Len(t, f.All, 1)
		said := f.All[0].Detail
		for _, part := range []string{"paused by hand by ann: stock-taking", "1h00m", "until 2026-01-02 13:00:00", want} {
			require.Contains(t, said, part)
		}
		require.Equal(t, waiting >= 0, len(said) > 0 && said[len(said)-len("queue"):] == "queue")
	}
}
