package broker

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A connection that is lost while some handlers run: their deliveries come again,
// and none of those that were handled, before them or after.
func TestOnlyTheRunningComeAgain(t *testing.T) {
	b, _ := consuming(t)
	const all, window = 60, 64
	var runs tally
	begun, release := make(chan string, 10*window), make(chan struct{}) // nobody waits for those that run again
	hangs := map[string]bool{}
	var quick, fillers []string
	for i := range all {
		tx := newTx()
		if hangs[tx] = i%7 == 3; !hangs[tx] {
			quick = append(quick, tx)
		}
	}
	running := all - len(quick)
	// With these the window is full, once RabbitMQ has taken all acknowledgements.
	for range window - running {
		fillers = append(fillers, newTx())
		hangs[fillers[len(fillers)-1]] = true
	}
	for tx := range hangs {
		if !slices.Contains(fillers, tx) {
			publishTx(t, b, tx)
		}
	}
	b.testConsumer(t, func(o *Subscription) { o.Concurrency, o.Prefetch = 16, window }, func(_ context.Context, d Delivery) error {
		runs.add(d.TxID)
		if hangs[d.TxID] {
			begun <- d.TxID
			<-release
		}
		return nil
	})
	var interrupted []string
	for range running {
		interrupted = append(interrupted, next(t, begun))
	}
	eventually(t, "the others are handled", func() bool { return runs.sum() == all })
	for _, tx := range fillers {
		publishTx(t, b, tx)
	}
	for range 16 - running {
		interrupted = append(interrupted, next(t, begun))
	}
	eventually(t, "and acknowledged", func() bool { return ready(t, b, b.ConsumerQueue("c")) == 0 })

	cutConnections(b)
	close(release)
	for _, tx := range interrupted {
		eventually(t, "runs again", func() bool { return runs.of(tx) == 2 })
	}
	eventually(t, "nothing is lost", func() bool { return runs.distinct() == all+len(fillers) })
	eventually(t, "nothing is left", func() bool { return ready(t, b, b.ConsumerQueue("c")) == 0 })
	for _, tx := range quick {
		require.Equal(t, 1, runs.of(tx), "handled and acknowledged")
	}
}

// A consumer that ends leaves no acknowledgement behind, however long
// they may wait for others.
func TestNoAcknowledgementStaysBehind(t *testing.T) {
	b, _ := consuming(t)
	var handled tally
	b.patience.Gather = time.Hour
	stop := b.testConsumer(t, nil, func(_ context.Context, d Delivery) error { handled.add(d.TxID); return nil })
	for range 3 {
		publishTx(t, b, newTx())
	}
	eventually(t, "handled", func() bool { return handled.sum() == 3 })
	stop()
	got := make(chan string, 10)
	stop = b.testConsumer(t, nil, func(_ context.Context, d Delivery) error { got <- d.TxID; return nil })
	publishTx(t, b, "later")
	require.Equal(t, "later", next(t, got), "the others are acknowledged")
	stop()
	require.Zero(t, ready(t, b, b.ConsumerQueue("c")))
}
