package telemetry

import (
	"fmt"
	"strings"

	holdfast "github.com/holdfastmq/holdfast"
)

// maxUnconnected is how many bytes of headers a message surely has room for in RabbitMQ's
// frames, however short it was told to make them.
const maxUnconnected = 1 << 10

// Room is what is asked whether messages can be published with the headers of their trace.
type Room struct {
	// Connected is closed once Fits knows the limits of RabbitMQ. Before that, a message
	// with more than a few headers goes without its trace.
	Connected <-chan struct{}
	// Fits says which messages of a transaction cannot be published.
	Fits func(txID string, ms []holdfast.Message) error
	// Seals says whether messages are encrypted later, which gives them a longer content
	// type.
	Seals func() bool
}

// For says why ms have no room; nil: they have.
func (r Room) For(ms []holdfast.Message) error {
	select {
	case <-r.Connected:
	default:
		return unconnected(ms)
	}
	txID, out := strings.Repeat("t", holdfast.MaxID), make([]holdfast.Message, len(ms))
	seals := r.Seals()
	for i, m := range ms {
		if m.ID == "" {
			m.ID = txID + ".64"
		}
		if seals {
			m.ContentType = strings.Repeat("c", holdfast.MaxName)
		}
		out[i] = m
	}
	return r.Fits(txID, out)
}

func unconnected(ms []holdfast.Message) error {
	for i := range ms {
		m := &ms[i]
		size := len(m.Type) + len(m.CorrelationID) + len(m.CausationID) + len(m.ContentEncoding) + len(m.ReplyTo) +
			len(m.AppID)
		for name, value := range m.Headers {
			size += len(name) + len(value)
		}
		if size > maxUnconnected {
			return fmt.Errorf("%w: the headers and properties have %d bytes, and RabbitMQ has not said how many it takes",
				holdfast.ErrTooLarge, size)
		}
	}
	return nil
}
