package broker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
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
		"another topic":                 {[]wire.ProcessStatus{with(other)}, nil},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, waitOf(c.answers, "stock.reserve")) })
	}
}

// A participant that has a call and waits is known to, whether its breaker is open or
// off, until it handles one; another one's answer says nothing.
func TestParticipantWait(t *testing.T) {
	b, _ := consuming(t)
	a := asker(t, b.o.Prefix)
	away := make(chan struct{})
	part := func(o *Subscription) {
		o.Participant, o.Topics, o.Breaker.Off = true, []string{"order.placed"}, true
	}
	handled := make(chan struct{}, 10)
	b.testConsumer(t, part, func(context.Context, Delivery) error {
		select {
		case <-away:
			handled <- struct{}{}
			return nil
		default:
			return Wait(errors.New("the database is away"))
		}
	})
	asks := func(topic string) *ParticipantWait {
		a.waiting = newWaitAsking() // now, not a moment ago
		wait, err := a.ParticipantWait(testContext(t), topic)
		require.NoError(t, err)
		return wait
	}
	publishTx(t, b, "a")
	var wait *ParticipantWait
	eventually(t, "it waits", func() bool { wait = asks("order.placed"); return wait != nil })
	require.Equal(t, "c", wait.Name)
	require.Equal(t, "the database is away", wait.Reason)
	require.WithinDuration(t, time.Now(), wait.Since, patience)
	require.Nil(t, asks("order.paid"))
	close(away)
	next2(t, handled)
	eventually(t, "it works again", func() bool {
		all, err := a.Ask(testContext(t), 0)
		return err == nil && len(all) == 1 && all[0].Consumers[0].WaitsSince.IsZero()
	})
	require.Nil(t, asks("order.placed"))
}

// Many ask at once, and the processes are asked once.
func TestParticipantWaitIsAskedOnce(t *testing.T) {
	b, ctx := consuming(t)
	b.waiting.at, b.waiting.answers = time.Now().Add(time.Hour), []wire.ProcessStatus{{Consumers: []wire.ConsumerStatus{
		{Name: "c", Topics: []string{"order.placed"}, Participant: true, WaitsSince: time.Now(), Error: "away"}}}}
	wait, err := b.ParticipantWait(ctx, "order.placed")
	require.NoError(t, err)
	require.NotNil(t, wait)
	busy := open(t, stacktest.Shared(t).AMQPURL(), b.o.Prefix, nil)
	<-busy.waiting.turn // somebody asks
	over, cancel := context.WithCancel(ctx)
	cancel()
	_, err = busy.ParticipantWait(over, "order.placed")
	require.ErrorIs(t, err, context.Canceled, "who gives up does not wait for the others")
}
