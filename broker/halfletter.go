package broker

import (
	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// HalfOf reads the half message that a dead letter is: RabbitMQ dropped it from a
// half queue, or it could not be read there.
func (b *Broker) HalfOf(d holdfast.DeadLetter) (holdfast.Half, error) {
	return wire.HalfOf(b.o.Prefix, &d, b.o.MaxBody)
}
