package worker_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

// atOnce calls do for each message, several at a time.
func atOnce(ms []holdfast.Message, do func(m holdfast.Message)) {
	var wg sync.WaitGroup
	for part := range slices.Chunk(ms, (len(ms)+15)/16) {
		wg.Go(func() {
			for _, m := range part {
				do(m)
			}
		})
	}
	wg.Wait()
}

// TestHundredsOfDeadLetters: as many workflows, each redelivered by an operator,
// and nothing left in the end.
func TestHundredsOfDeadLetters(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	trouble := broken(holdfast.Permanent(errOops))
	consuming := s.consuming(failing(s.effects, trouble))
	w := s.producer()
	b := s.broker()
	ms := someOrders(300)
	for part := range slices.Chunk(ms, 50) {
		require.NoError(t, b.PublishMessages(s.ctx(), s.at.Group, newID(), part))
	}
	until(t, "a workflow for each", func() bool { return s.countLetters(workflows.Parked) == len(ms) })
	require.Equal(t, len(ms), s.countLetters(""))
	require.Zero(t, s.count(s.effects, "SELECT count(*) FROM effects"))

	trouble.Store(nil)
	var mu sync.Mutex
	var wrong []error
	atOnce(ms, func(m holdfast.Message) {
		if _, err := s.askLetter("payments", m.ID, deadletters.UpdateRedeliver); err != nil {
			mu.Lock()
			defer mu.Unlock()
			wrong = append(wrong, err)
		}
	})
	require.Empty(t, wrong)
	until(t, "all of them handled", func() bool { return s.countLetters(workflows.Handled) == len(ms) })
	require.Equal(t, len(ms), s.countLetters(""))
	require.Equal(t, len(ms), s.count(s.effects, "SELECT count(DISTINCT message_id) FROM effects"))
	require.Equal(t, len(ms), s.count(s.effects, "SELECT count(*) FROM effects"))
	s.nothingLeft(b, []string{"payments"}, consuming, w)
}
