package broker

import (
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
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
	LostConnection   = link.LostConnection
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
}

// PublishStats returns the counts.
func (b *Broker) PublishStats() PublishStats {
	refused, _, full := b.c.Pub.Refused.Show(time.Now())
	return PublishStats{Lost: b.c.Publishing.Lost.Count(), Refused: refused, Full: len(full)}
}

// publishing tells of the process's publishes.
func (b *Broker) publishing(p *wire.ProcessStatus, now time.Time) {
	if b.c.Pub == nil {
		return
	}
	_, p.Refused, p.Full = b.c.Pub.Refused.Show(now)
	for _, l := range []struct {
		role string
		link *link.Connection
	}{{wire.RolePublishing, b.c.Publishing}, {wire.RoleConsuming, b.c.Consuming}} {
		if lost, often := l.link.Lost.Recent(now); often {
			lost.Role = l.role
			p.Lost = append(p.Lost, lost)
		}
	}
}
