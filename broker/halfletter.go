package broker

import "github.com/holdfastmq/holdfast"

// HalfOf reads the half message that a dead letter is: RabbitMQ dropped it from a
// half queue, or it could not be read there.
func (b *Broker) HalfOf(d holdfast.DeadLetter) (holdfast.Half, error) {
	group := groupOf(b.o.Prefix, d.Queue)
	if group == "" {
		group = d.Group
	}
	if d.Kept != "" {
		return holdfast.Half{}, malformed("the whole record is in the queue %s", d.Kept)
	}
	return decodeHalf(envelopeHeaders(&d.Envelope), d.Message.Body, group, b.o.MaxBody)
}
