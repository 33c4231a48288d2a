package broker

import (
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
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
	refused, _, full := b.pub.refused.show(time.Now())
	return PublishStats{Lost: b.pubLink.lost.count(), Refused: refused, Full: len(full)}
}

// publishing tells of the process's publishes.
func (b *Broker) publishing(p *wire.ProcessStatus, now time.Time) {
	if b.pub == nil {
		return
	}
	_, p.Refused, p.Full = b.pub.refused.show(now)
	for _, l := range []struct {
		role string
		link *link
	}{{wire.RolePublishing, b.pubLink}, {wire.RoleConsuming, b.consLink}} {
		if lost, often := l.link.lost.recent(now); often {
			lost.Role = l.role
			p.Lost = append(p.Lost, lost)
		}
	}
}
