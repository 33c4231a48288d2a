package peers

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// Whether a participant waits, by what processes say of themselves.
func TestWaitOf(t *testing.T) {
	at := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	with := func(cs ...wire.ConsumerStatus) wire.ProcessStatus { return wire.ProcessStatus{Consumers: cs} }
	stock := wire.ConsumerStatus{Name: "stock", Topics: []string{"stock.reserve", "stock.release"}, Breaker: wire.BreakerClosed, Participant: true}
	works, holds, opened, probing := stock, stock, stock, stock
	holds.WaitsSince, holds.Error = at, "the pool is used up"
	opened.Breaker, opened.Since, opened.Error = wire.BreakerOpen, at, "the database is away"
	probing.Breaker, probing.Since, probing.Error = wire.BreakerProbing, at.Add(-time.Minute), "the database\x1b[2J is away"
	paused := opened
	paused.Paused = &wire.Pause{By: "ann", Reason: "stock-taking", Since: at.Add(-time.Hour)}
	older := opened
	older.Participant = false
	audit := wire.ConsumerStatus{Name: "audit", Topics: []string{"#", "stock.reserve"}, Breaker: wire.BreakerClosed}
	other := opened
	other.Topics = []string{"stock.*", "stock.release"}
	for name, c := range map[string]struct {
		answers []wire.ProcessStatus
		want    *ParticipantWait
	}{
		"nobody answers":                {nil, nil},
		"it works":                      {[]wire.ProcessStatus{with(works)}, nil},
		"its messages wait":             {[]wire.ProcessStatus{with(holds)}, &ParticipantWait{Name: "stock", Since: at, Reason: "the pool is used up"}},
		"its breaker is open":           {[]wire.ProcessStatus{with(opened)}, &ParticipantWait{Name: "stock", Since: at, Reason: "the database is away"}},
		"all of its processes wait":     {[]wire.ProcessStatus{with(opened), with(probing)}, &ParticipantWait{Name: "stock", Since: at.Add(-time.Minute), Reason: "the database\uFFFD[2J is away"}},
		"one of its processes works":    {[]wire.ProcessStatus{with(opened), with(works)}, nil},
		"a consumer of the topic works": {[]wire.ProcessStatus{with(audit), with(opened)}, &ParticipantWait{Name: "stock", Since: at, Reason: "the database is away"}},
		"an older version":              {[]wire.ProcessStatus{with(older)}, &ParticipantWait{Name: "stock", Since: at, Reason: "the database is away"}},
		"somebody has paused it":        {[]wire.ProcessStatus{with(paused)}, &ParticipantWait{Name: "stock", Since: at.Add(-time.Hour), Reason: "paused by hand by ann: stock-taking"}},
		"another topic":                 {[]wire.ProcessStatus{with(other)}, nil},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, waitOf(c.answers, "stock.reserve")) })
	}
}

// Many ask at once, and the processes are asked once.
func TestParticipantWaitIsAskedOnce(t *testing.T) {
	w := NewParticipants()
	w.at, w.answers = time.Now().Add(time.Hour), []wire.ProcessStatus{{Consumers: []wire.ConsumerStatus{
		{Name: "c", Topics: []string{"order.placed"}, Participant: true, WaitsSince: time.Now(), Error: "away"}}}}
	wait, err := w.Waits(t.Context(), nil, "order.placed")
	require.NoError(t, err)
	require.NotNil(t, wait)
	<-w.turn // somebody asks
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = w.Waits(over, nil, "order.placed")
	require.ErrorIs(t, err, context.Canceled, "who gives up does not wait for the others")
}
