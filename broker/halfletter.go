package broker

import "github.com/holdfastmq/holdfast"

// HalfOf reads the half message that a dead letter is: RabbitMQ dropped it from a
// half queue, or it could not be read there.
func (b *Broker) HalfOf(d holdfast.DeadLetter) (holdfast.Half, error) {
	return halfOf(b.o.Prefix, &d, b.o.MaxBody)
}

// halfOf reads the half message that a dead letter is.
func halfOf(prefix string, d *holdfast.DeadLetter, maxBody int) (holdfast.Half, error) {
	group := groupOf(prefix, d.Queue)
	if group == "" {
		group = d.Group
	}
	if d.Kept != "" {
		return holdfast.Half{}, malformed("the whole record is in the queue %s", d.Kept)
	}
	return decodeHalf(envelopeHeaders(&d.Envelope), d.Message.Body, group, maxBody)
}
