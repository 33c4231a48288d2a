package link

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// Options say where RabbitMQ is, and how records are published.
type Options struct {
	// URL and Name are where to connect to, and how the connections are called there.
	URL, Name string
	Names     wire.Names
	// PublishChannels is the number of channels that publishes are spread over.
	PublishChannels int
	// OpInterval and OpBatch say how op records gather transactions.
	OpInterval time.Duration
	OpBatch    int
	// RollingUpgrade says that older versions run, whose queues have other bindings.
	RollingUpgrade bool
	// OnRefused, if not nil, is told of each publish that RabbitMQ did not take.
	OnRefused func(Refusal)
	Log       *slog.Logger
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

// Where is the address without the credentials.
func (o Options) Where() string {
	u, err := amqp.ParseURI(o.URL)
	if err != nil {
		return ""
	}
	return net.JoinHostPort(u.Host, strconv.Itoa(u.Port))
}
