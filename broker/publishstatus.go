package broker

import "time"

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
func (b *Broker) publishing(p *ProcessStatus, now time.Time) {
	if b.pub == nil {
		return
	}
	_, p.Refused, p.Full = b.pub.refused.show(now)
	for _, l := range []struct {
		role string
		link *link
	}{{RolePublishing, b.pubLink}, {RoleConsuming, b.consLink}} {
		if lost, often := l.link.lost.recent(now); often {
			lost.Role = l.role
			p.Lost = append(p.Lost, lost)
		}
	}
}

// What a connection is for.
const (
	RolePublishing = "publishing"
	RoleConsuming  = "consuming"
)

// ConnectionLosses tells of a connection to RabbitMQ that was lost several times within
// 10 minutes.
type ConnectionLosses struct {
	// Role is what it is for: publishing or consuming.
	Role string `json:"role"`
	// Count is how often, of the last 32; Since is the first time, Last the last one.
	Count int       `json:"count"`
	Since time.Time `json:"since"`
	Last  time.Time `json:"last"`
	// Reason is why it was lost the last time.
	Reason string `json:"reason"`
}
