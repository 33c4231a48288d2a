package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// Info is what RabbitMQ says about itself and about some queues.
type Info struct {
	// Product and Version name the server, such as "RabbitMQ" and "3.10.8".
	Product string `json:"product"`
	Version string `json:"version"`
	// Where is its address, without credentials.
	Where string `json:"where"`
	// Encryption is the version of TLS, such as "TLS 1.3"; empty: what is sent is in clear.
	Encryption string `json:"encryption,omitempty"`
	// Expires is when the first of the certificates that RabbitMQ showed does; zero without
	// TLS.
	Expires time.Time `json:"expires,omitzero"`
	// Local says that the connection does not leave this machine.
	Local bool `json:"local,omitempty"`
	// Blocked says why publishers are blocked; empty if they are not, as far
	// as this connection was told.
	Blocked string `json:"blocked,omitempty"`
	// Topics says whether the topics exchange exists.
	Topics bool `json:"topics"`
	// Queues are the queues that were asked for, in that order.
	Queues []QueueInfo `json:"queues,omitempty"`
}

// QueueInfo is the state of one queue.
type QueueInfo struct {
	Name string `json:"name"`
	// Exists is false if there is no such queue; the rest is zero then.
	Exists bool `json:"exists"`
	// Messages counts those that wait for a consumer, not those that one holds.
	Messages  int `json:"messages"`
	Consumers int `json:"consumers"`
}

// Reached is nil while RabbitMQ is reached and takes what is published; otherwise it says
// why not, and what to do. It asks nobody.
func (b *Broker) Reached() error {
	for _, l := range []*link.Connection{b.c.Publishing, b.c.Consuming} {
		if !l.IsUp() {
			return errors.New(l.State())
		}
	}
	return nil
}

// Inspect asks RabbitMQ for its version and for the queues with these names
// (see [Broker.HalfQueue], [Broker.ConsumerQueue] and [Broker.DeadQueue]). It
// changes nothing.
func (b *Broker) Inspect(ctx context.Context, queues ...string) (Info, error) {
	ctx, cancel := b.c.Timeout(ctx)
	defer cancel()
	conn, err := b.c.Consuming.Get(ctx)
	if err != nil {
		return Info{}, fmt.Errorf("inspect: %w", err)
	}
	text := func(name string) string { return wire.HeaderText(conn.Properties[name]) }
	info := Info{Product: text("product"), Version: text("version"), Where: b.c.Consuming.Where()}
	info.Encryption, info.Expires = b.c.Consuming.Encryption()
	info.Local = b.c.Consuming.Local()
	if b.c.Publishing.IsBlocked() {
		info.Blocked = b.c.Publishing.State()
	}
	info.Topics, err = b.c.Calls.Exists(ctx, conn, func(ch *amqp.Channel) error {
		return ch.ExchangeDeclarePassive(b.TopicsExchange(), amqp.ExchangeTopic, true, false, false, false, nil)
	})
	if err != nil {
		return info, fmt.Errorf("inspect exchange %s: %w", b.TopicsExchange(), err)
	}
	for _, name := range queues {
		found := make(chan amqp.Queue, 1)
		ok, err := b.c.Calls.Exists(ctx, conn, func(ch *amqp.Channel) error {
			q, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
			found <- q
			return err
		})
		if err != nil {
			return info, fmt.Errorf("inspect queue %s: %w", name, err)
		}
		q := QueueInfo{Name: name, Exists: ok}
		if ok {
			f := <-found
			q.Messages, q.Consumers = f.Messages, f.Consumers
		}
		info.Queues = append(info.Queues, q)
	}
	return info, nil
}

// TakesRecord says whether RabbitMQ takes a record of so many bytes: its max_message_size. It
// publishes one that goes to no queue, over a channel of its own. The error is
// [holdfast.ErrTooLarge], and names the limit, or says that it could not be asked.
func (b *Broker) TakesRecord(ctx context.Context, size int) error {
	ctx, cancel := b.c.Timeout(ctx)
	defer cancel()
	if b.c.Publishing.IsBlocked() { // RabbitMQ would not read it
		return errors.New(b.c.Publishing.State())
	}
	conn, err := b.c.Publishing.Get(ctx)
	if err != nil {
		return fmt.Errorf("publish a record that goes nowhere: %w", err)
	}
	p := link.Publication{Key: uuid.NewString(), Msg: amqp.Publishing{Body: make([]byte, size)}}
	err = b.c.Calls.OnChannel(ctx, conn, func(ch *amqp.Channel) error {
		closed := ch.NotifyClose(make(chan *amqp.Error, 1))
		if err := ch.Confirm(false); err != nil {
			return err
		}
		sent, err := ch.PublishWithDeferredConfirm(p.Exchange, p.Key, false, false, p.Msg)
		if err != nil {
			return err
		}
		select {
		case <-sent.Done():
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case e := <-closed:
			if e != nil {
				return e
			}
		default:
		}
		return nil
	})
	var e *amqp.Error
	if !errors.As(err, &e) {
		return err
	}
	if e.Code == amqp.AccessRefused { // the size is looked at before
		return nil
	}
	if large := link.TooLarge(e, &p); large != nil {
		return large
	}
	return err
}
