package link

import (
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// HandledDelay is how long the acknowledgement of a handled delivery waits for
// others.
const HandledDelay = 5 * time.Millisecond

// Acker acknowledges the deliveries of a consumer's channel: handled ones
// together, all others at once. It must know of every delivery, or one of which it
// does not know could be acknowledged with others that came later; so it is the
// Acknowledger of each.
type Acker struct {
	ch   amqp.Acknowledger
	lost func(error) // is told of acknowledgements that could not be sent

	// mu is held while something is sent: RabbitMQ closes the channel of one who
	// acknowledges what a later frame has covered already.
	mu     sync.Mutex
	Ledger *AckLedger
	timer  *time.Timer
	armed  bool // timer runs
}

// NewAcker is for a channel that fetches nothing yet.
func NewAcker(ch amqp.Acknowledger, delay time.Duration, lost func(error)) *Acker {
	a := &Acker{ch: ch, lost: lost, Ledger: NewAckLedger(0, delay)}
	a.timer = time.AfterFunc(time.Hour, a.due)
	a.timer.Stop()
	return a
}

// Window says how many deliveries are fetched ahead from now on. With few, or
// none, no acknowledgement waits.
func (a *Acker) Window(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Ledger.resize(n)
	a.flush()
}

// Take takes in a delivery; they come in the order in which RabbitMQ sent them.
func (a *Acker) Take(d *amqp.Delivery) {
	d.Acknowledger = a
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Ledger.Deliver(d.DeliveryTag)
}

// Handled has a delivery acknowledged, soon.
func (a *Acker) Handled(tag uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.Ledger.Settle(tag, now)
	a.advance(now)
}

// due is the timer's.
func (a *Acker) due() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.armed = false
	a.advance(time.Now())
}

// advance sends what is due, and has the timer see to the rest.
func (a *Acker) advance(now time.Time) {
	at := a.Ledger.Next()
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
func (a *Acker) flush() {
	for _, f := range a.Ledger.Flush() {
		if err := a.ch.Ack(f.Tag, f.Multiple); err != nil {
			a.lost(err) // the channel is: everything comes again
			return
		}
	}
}

// Ack acknowledges one delivery at once. To acknowledge several is the acker's
// own affair.
func (a *Acker) Ack(tag uint64, _ bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Ledger.GiveBack(tag)
	return a.ch.Ack(tag, false)
}

// Nack gives one delivery back at once.
func (a *Acker) Nack(tag uint64, _, requeue bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Ledger.GiveBack(tag)
	return a.ch.Nack(tag, false, requeue)
}

// Reject is Nack.
func (a *Acker) Reject(tag uint64, requeue bool) error { return a.Nack(tag, false, requeue) }
