package link

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

// ackedChannel is RabbitMQ's side of a channel.
type ackedChannel struct {
	t testing.TB

	mu     sync.Mutex
	there  unacked
	ended  map[uint64]bool // handled or stored anew: may be acknowledged
	frames int
	err    error
}

func newAckedChannel(t testing.TB) *ackedChannel {
	return &ackedChannel{t: t, there: unacked{}, ended: map[uint64]bool{}}
}

func (c *ackedChannel) Ack(tag uint64, multiple bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.frames++
	c.there.ack(c.t, AckFrame{tag, multiple}, c.ended)
	return nil
}

func (c *ackedChannel) Nack(tag uint64, multiple, requeue bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.there[tag] || multiple || !requeue {
		c.t.Errorf("nack of %d: outstanding %v, multiple %v, requeue %v", tag, c.there[tag], multiple, requeue)
	}
	c.frames++
	delete(c.there, tag)
	return nil
}

func (c *ackedChannel) Reject(uint64, bool) error { panic("nobody rejects") }

// deliver sends a delivery to the acker.
func (c *ackedChannel) deliver(a *Acker, tag uint64) amqp.Delivery {
	c.mu.Lock()
	c.there[tag] = true
	c.mu.Unlock()
	d := amqp.Delivery{DeliveryTag: tag}
	a.Take(&d)
	return d
}

func (c *ackedChannel) end(tag uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended[tag] = true
}

func (c *ackedChannel) outstanding() []uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]uint64, 0, len(c.there))
	for tag := range c.there {
		out = append(out, tag)
	}
	slices.Sort(out)
	return out
}

// patientAcker is one whose timer does not come by itself.
func patientAcker(ch *ackedChannel, window int) *Acker {
	a := NewAcker(ch, time.Hour, func(err error) { ch.t.Error(err) })
	a.Window(window)
	return a
}

func TestAckerRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		ch := newAckedChannel(t)
		a := patientAcker(ch, 64)
		var open []amqp.Delivery
		tag, handled := uint64(0), 0
		for range r.IntN(400) {
			switch n := r.IntN(20); {
			case n < 9 && len(open) < 64:
				tag++
				open = append(open, ch.deliver(a, tag))
			case n < 19 && len(open) > 0:
				i := r.IntN(min(len(open), 1+r.IntN(20)))
				d := open[i]
				open = slices.Delete(open, i, i+1)
				switch {
				case n < 17:
					ch.end(d.DeliveryTag)
					a.Handled(d.DeliveryTag)
					handled++
				case n == 17: // stored anew
					ch.end(d.DeliveryTag)
					require.NoError(t, d.Ack(false))
					require.NotContains(t, ch.outstanding(), d.DeliveryTag, "at once")
				default:
					require.NoError(t, d.Nack(false, true))
					require.NotContains(t, ch.outstanding(), d.DeliveryTag, "at once")
				}
			case n == 19:
				a.Window([]int{0, 1, 64, 64}[r.IntN(4)])
			}
			require.Less(t, len(ch.outstanding()), len(open)+max(2, a.Ledger.Batch),
				"a small part of the window waits at most")
		}
		a.Window(0)
		require.Len(t, ch.outstanding(), len(open), "all that ended, and nothing else")
	}
}

// Handlers end at the same time; under the race detector this is more.
func TestAckerConcurrently(t *testing.T) {
	ch := newAckedChannel(t)
	a := NewAcker(ch, HandledDelay, func(err error) { t.Error(err) })
	a.Window(64)
	deliveries := make(chan amqp.Delivery)
	var handlers sync.WaitGroup
	for i := range 16 {
		handlers.Go(func() {
			for d := range deliveries {
				switch {
				case d.DeliveryTag%10 == 0:
					_ = d.Nack(false, true)
				case d.DeliveryTag%10 == 1 || i == 0:
					ch.end(d.DeliveryTag)
					_ = d.Ack(false)
				default:
					ch.end(d.DeliveryTag)
					a.Handled(d.DeliveryTag)
				}
			}
		})
	}
	const all = 5000
	for tag := range uint64(all) {
		deliveries <- ch.deliver(a, tag+1)
	}
	close(deliveries)
	handlers.Wait()
	require.Eventually(t, func() bool { return len(ch.outstanding()) == 0 }, time.Minute, time.Millisecond,
		"nothing waits for ever")
	require.Less(t, ch.frames, all)
}

func TestAckerWaitsForNone(t *testing.T) {
	ch := newAckedChannel(t)
	a := patientAcker(ch, 64)
	handled := func(tag uint64) {
		d := ch.deliver(a, tag)
		ch.end(tag)
		a.Handled(d.DeliveryTag)
	}
	handled(1)
	require.Equal(t, []uint64{1}, ch.outstanding(), "waits for others")
	a.Window(1)
	require.Empty(t, ch.outstanding(), "a changed window does not wait")
	handled(2)
	require.Empty(t, ch.outstanding(), "nor does a small one")
	a.Window(0)
	handled(3)
	require.Empty(t, ch.outstanding(), "nor does what ends after the fetching")
}

// What the caller ends itself holds nothing up.
func TestAckerMovesOn(t *testing.T) {
	ch := newAckedChannel(t)
	a := patientAcker(ch, 64)
	stored, back := ch.deliver(a, 1), ch.deliver(a, 2)
	for tag := range uint64(3) {
		ch.deliver(a, tag+3)
		ch.end(tag + 3)
		a.Handled(tag + 3)
	}
	ch.end(1)
	require.NoError(t, stored.Ack(false))
	require.NoError(t, back.Nack(false, true))
	a.Window(64)
	require.Empty(t, ch.outstanding())
	require.Equal(t, 3, ch.frames, "three acknowledgements in one frame")
}

func TestAckerOfLostChannel(t *testing.T) {
	ch := newAckedChannel(t)
	var lost []error
	a := NewAcker(ch, HandledDelay, func(err error) { lost = append(lost, err) })
	ch.deliver(a, 1)
	ch.err = amqp.ErrClosed
	a.Handled(1)
	require.Equal(t, []error{amqp.ErrClosed}, lost)
}
