package broker

import (
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/link"
)

// Refusal is one publish that RabbitMQ did not take, or not for each of the queues.
type Refusal = link.Refusal

// Why a publish was refused.
const (
	RefusedLimit     = link.RefusedLimit
	RefusedClosing   = link.RefusedClosing
	RefusedForbidden = link.RefusedForbidden
	RefusedFull      = link.RefusedFull
	RefusedUnknown   = link.RefusedUnknown
)

// PublishStats counts what went wrong with a Broker's publishes since it was opened.
type PublishStats struct {
	// Lost counts the losses of the connection for publishing.
	Lost int
	// Refused counts records that were refused for good; what a full queue refuses is
	// not among them.
	Refused int
	// Full is how many queues refuse publishes now.
	Full int
	// InFlight is how many calls wait for the confirms of what they published.
	InFlight int
}

// PublishStats returns the counts.
func (b *Broker) PublishStats() PublishStats {
	refused, _, full := b.c.Pub.Refused.Show(time.Now())
	return PublishStats{Lost: b.c.Publishing.Lost.Count(), Refused: refused, Full: len(full),
		InFlight: b.c.Pub.InFlight()}
}
