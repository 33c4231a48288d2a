package broker

import (
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// handledDelay is how long the acknowledgement of a handled delivery waits for
// others.
const handledDelay = 5 * time.Millisecond

// acker acknowledges the deliveries of a consumer's channel: handled ones
// together, all others at once. It must know of every delivery, or one of which it
// does not know could be acknowledged with others that came later; so it is the
// Acknowledger of each.
type acker struct {
	ch   amqp.Acknowledger
	lost func(error) // is told of acknowledgements that could not be sent

	// mu is held while something is sent: RabbitMQ closes the channel of one who
	// acknowledges what a later frame has covered already.
	mu     sync.Mutex
	ledger *ackLedger
	timer  *time.Timer
	armed  bool // timer runs
}

// newAcker is for a channel that fetches nothing yet.
func newAcker(ch amqp.Acknowledger, delay time.Duration, lost func(error)) *acker {
	a := &acker{ch: ch, lost: lost, ledger: newAckLedger(0, delay)}
	a.timer = time.AfterFunc(time.Hour, a.due)
	a.timer.Stop()
	return a
}

// window says how many deliveries are fetched ahead from now on. With few, or
// none, no acknowledgement waits.
func (a *acker) window(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ledger.resize(n)
	a.flush()
}

// take takes in a delivery; they come in the order in which RabbitMQ sent them.
func (a *acker) take(d *amqp.Delivery) {
	d.Acknowledger = a
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ledger.deliver(d.DeliveryTag)
}

// handled has a delivery acknowledged, soon.
func (a *acker) handled(tag uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.ledger.settle(tag, now)
	a.advance(now)
}

// due is the timer's.
func (a *acker) due() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.armed = false
	a.advance(time.Now())
}

// advance sends what is due, and has the timer see to the rest.
func (a *acker) advance(now time.Time) {
	at := a.ledger.next()
	if at.IsZero() {
		return
	}
	if !at.After(now) {
		a.flush()
		return
	}
	if !a.armed {
		a.armed = true
		a.timer.Reset(at.Sub(now))
	}
}

// flush sends the acknowledgements that wait.
func (a *acker) flush() {
	for _, f := range a.ledger.flush() {
		if err := a.ch.Ack(f.tag, f.multiple); err != nil {
			a.lost(err) // the channel is: everything comes again
			return
		}
	}
}

// Ack acknowledges one delivery at once. To acknowledge several is the acker's
// own affair.
func (a *acker) Ack(tag uint64, _ bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ledger.giveBack(tag)
	return a.ch.Ack(tag, false)
}

// Nack gives one delivery back at once.
func (a *acker) Nack(tag uint64, _, requeue bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ledger.giveBack(tag)
	return a.ch.Nack(tag, false, requeue)
}

// Reject is Nack.
func (a *acker) Reject(tag uint64, requeue bool) error { return a.Nack(tag, false, requeue) }
