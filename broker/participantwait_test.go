package broker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/peers"
	"github.com/stretchr/testify/require"
)

// A participant that has a call and waits is known to, whether its breaker is open or
// off, until it handles one; another one's answer says nothing.
func TestParticipantWait(t *testing.T) {
	t.Parallel()
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
		a.waiting = peers.NewParticipants() // now, not a moment ago
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
