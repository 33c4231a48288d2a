package link

import (
	"context"
	"log/slog"
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/addresses"
)

// Options say where RabbitMQ is, and how records are published.
type Options struct {
	// Addresses are where to connect to; all connections of a process share them.
	Addresses *addresses.Ring
	// TLS is how to speak it there.
	TLS addresses.TLS
	// Name is how the connections are called in RabbitMQ.
	Name  string
	Names wire.Names
	// PublishChannels is the number of channels that publishes are spread over.
	PublishChannels int
	// OpInterval and OpBatch say how op records gather transactions.
	OpInterval time.Duration
	OpBatch    int
	// HalfBatch is how many half messages one record has at most.
	HalfBatch int
	// RollingUpgrade says that older versions run, whose queues have other bindings.
	RollingUpgrade bool
	// OnRefused, if not nil, is told of each publish that RabbitMQ did not take.
	OnRefused func(Refusal)
	// Signatures sign what is published; nil: nothing is signed.
	Signatures *Signatures
	Log        *slog.Logger
	// FrameMax is the frame size that is asked for; 0 for RabbitMQ's.
	FrameMax int
}

// WithTimeout bounds what has no deadline.
func WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// Where names all addresses, without credentials.
func (o Options) Where() string { return o.Addresses.All().Where() }
