package link

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// Client is one Broker's way to RabbitMQ. It is what the other parts of broker take.
type Client struct {
	wire.Names
	Log *slog.Logger
	// Instance is how the connections are called in RabbitMQ.
	Instance string
	// Where is RabbitMQ's address, without credentials.
	Where string
	// MaxBody limits the bodies of one transaction's messages together.
	MaxBody int
	// PublishTimeout is how long a publish may take where nobody says.
	PublishTimeout time.Duration
	// Rolling says that processes of an older version still run.
	Rolling bool

	// Signatures are those of records; nil: none is signed.
	Signatures *Signatures

	// Run is done once Close begins to tear down.
	Run   context.Context
	Calls *Calls
	// Publishing is the connection for publishing, Consuming the one for everything else.
	Publishing, Consuming *Connection
	Pub                   *Publisher
	Subs                  *Subscriber
}

// Timeout bounds what has no deadline.
func (c *Client) Timeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return WithTimeout(ctx, c.PublishTimeout)
}

// Trust is what counts in deliveries.
func (c *Client) Trust() wire.Trust {
	return wire.Trust{Prefix: c.Prefix, Rolling: c.Rolling, Check: c.Signatures.Checker()}
}

// PublishDead stores a dead letter and returns once it is confirmed.
func (c *Client) PublishDead(ctx context.Context, msg amqp.Publishing) error {
	ctx, cancel := c.Timeout(ctx)
	defer cancel()
	wire.Squeeze(&msg, c.Publishing.Limits().Room())
	p := Publication{Exchange: c.DeadQueue(), Key: c.DeadQueue(), Mandatory: true, Repair: true, Msg: msg}
	if err := c.Pub.One(ctx, &p, ""); err != nil {
		return fmt.Errorf("dead letter %s: %w", msg.MessageId, err)
	}
	return nil
}

// Bury stores the dead letter of a delivery, and returns once it is confirmed. What RabbitMQ does
// not take of the delivery is left out.
func (c *Client) Bury(ctx context.Context, d *amqp.Delivery, x wire.Death) error {
	err := c.PublishDead(ctx, wire.EncodeDead(d, x))
	if !Hopeless(err) {
		return err
	}
	x.Reason = fmt.Sprintf("%s; RabbitMQ does not take its properties and headers, which are left out: %v", x.Reason, err)
	return c.PublishDead(ctx, wire.EncodeBare(d, x))
}

// PublishHandled stores a handled record and returns once it is confirmed.
func (c *Client) PublishHandled(ctx context.Context, msg amqp.Publishing) error {
	ctx, cancel := c.Timeout(ctx)
	defer cancel()
	p := Publication{Exchange: c.DeadQueue(), Key: c.DeadQueue(), Mandatory: true, Repair: true, Msg: msg}
	if err := c.Pub.One(ctx, &p, ""); err != nil {
		return fmt.Errorf("record that the redelivered message %s was handled: %w", msg.MessageId, err)
	}
	return nil
}

// QueueExists asks RabbitMQ whether a queue is there.
func (c *Client) QueueExists(ctx context.Context, name string) (bool, error) {
	ctx, cancel := c.Timeout(ctx)
	defer cancel()
	conn, err := c.Consuming.Get(ctx)
	if err != nil {
		return false, err
	}
	return c.Calls.Exists(ctx, conn, func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
		return err
	})
}

// FindHalfQueues returns what HalfQueues does and, behind them, the further half
// queues of the group that exist: those of processes with more of them.
func (c *Client) FindHalfQueues(ctx context.Context, group string) ([]string, error) {
	if err := wire.ValidGroup(group); err != nil {
		return nil, err
	}
	names := c.HalfQueues(group)
	for n := len(names) + 1; n <= wire.MaxHalfQueues; n++ {
		name := wire.HalfQueue(c.Prefix, group, n)
		there, err := c.QueueExists(ctx, name)
		if err != nil {
			return names, fmt.Errorf("look for the half queues of %s: %w", group, err)
		}
		if !there {
			break
		}
		names = append(names, name)
	}
	return names, nil
}
