package peers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/topology"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/guard"
)

const (
	// directReply is RabbitMQ's pseudo queue for answers; the reply-to of a
	// request that was sent with it begins with directReplies.
	directReply   = "amq.rabbitmq.reply-to"
	directReplies = directReply + "."
	// replyTimeout is how long an answer may take; the asker is gone by then.
	replyTimeout = 2 * time.Second
	// unseenAfter is the number of failures in a row after which the log says
	// that this process cannot be asked.
	unseenAfter = 3
)

// answer answers status requests until ctx is done. It never gives up, and
// nothing waits for it: whatever happens here, consumers and Keepers go on.
func (s *Board) answer(ctx context.Context) {
	pause := link.NewBackoff()
	pause.MaxInterval = time.Minute
	failed := 0
	for {
		began := time.Now()
		subscribed, err := s.serve(ctx)
		if ctx.Err() != nil || errors.Is(err, link.ErrClosed) {
			return
		}
		if failed++; subscribed {
			failed = 0
		}
		if failed == unseenAfter {
			s.c.Log.Warn("status requests cannot be answered: "+
				"holdfast doctor does not see this process; everything else goes on", "error", err)
		} else {
			s.c.Log.Debug("status requests are not answered for a moment", "error", err)
		}
		if time.Since(began) > 10*time.Second {
			pause.Reset()
		}
		if !link.Sleep(ctx, pause.NextBackOff()) {
			return
		}
	}
}

// serve answers until its subscription is lost or ctx is done.
func (s *Board) serve(ctx context.Context) (subscribed bool, err error) {
	if _, err := s.c.Consuming.Get(ctx); err != nil { // however long that takes
		return false, err
	}
	// A new name each time: RabbitMQ may still hold the queue of a connection
	// that it has not missed yet.
	queue := s.c.StatusExchange() + "." + uuid.NewString()
	if err := s.topo.Declare(ctx, s.steps(queue)); err != nil {
		return false, err
	}
	sub, err := s.c.Subs.Subscribe(ctx, queue, 1)
	if err != nil {
		return false, err
	}
	defer func() { _ = sub.Ch.Close() }() // and RabbitMQ deletes the queue
	link.Token(s.news)
	for {
		select {
		case <-s.news:
			s.c.Calls.Spawn(func() { s.sayHello(ctx) })
		case d, ok := <-sub.Deliveries:
			if !ok {
				return true, sub.Reason()
			}
			if err := d.Ack(false); err != nil {
				continue // the channel is lost: deliveries is closed soon
			}
			if wire.HeaderText(d.Headers[wire.HeaderKind]) == wire.KindHello {
				s.hear(wire.HeaderText(d.Headers[wire.HeaderWant]))
				continue
			}
			if err := s.reply(ctx, &d); err != nil {
				s.c.Log.Debug("a status request was not answered", "error", err)
			}
		case <-ctx.Done():
			return true, ctx.Err()
		}
	}
}

// steps declare the exchange and this process's queue, which takes few requests
// and lives as long as its consumer, or a minute where it never gets one.
func (s *Board) steps(queue string) []topology.Step {
	exchange := s.c.StatusExchange()
	args := amqp.Table{"x-queue-type": "classic", "x-max-length": int64(100), "x-expires": time.Minute.Milliseconds()}
	made := topology.ExchangeStep(exchange, amqp.ExchangeFanout, nil)
	after := func(ch *amqp.Channel, err error) error {
		if err != nil {
			return err
		}
		if _, err := ch.QueueDeclare(queue, false, true, true, false, args); err != nil {
			return err
		}
		return ch.QueueBind(queue, "", exchange, false, nil)
	}
	return topology.Briefly(topology.Step{What: "exchange " + exchange + " and a queue of it", Of: queue,
		Do:    func(ch *amqp.Channel, _ bool) error { return after(ch, made.Do(ch, false)) },
		There: func(ch *amqp.Channel, _ bool) error { return after(ch, made.There(ch, false)) }})
}

// reply answers one request. It goes over the connection for publishing, since a
// connection that publishes is not read while an alarm holds, and consumers
// acknowledge over the other one. Only pseudo queues are answered to: a request
// cannot fill a queue.
func (s *Board) reply(ctx context.Context, d *amqp.Delivery) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("status: %w", guard.Panicked(v))
		}
	}()
	if !strings.HasPrefix(d.ReplyTo, directReplies) {
		return fmt.Errorf("reply-to %q: want %s", wire.Clip(d.ReplyTo, 64), directReply)
	}
	body, err := wire.EncodeStatus(s.Status(wire.DecodeStatusRequest(d.Headers)))
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	if s.c.Publishing.IsBlocked() { // RabbitMQ would not read it
		return fmt.Errorf("status: %s", s.c.Publishing.State())
	}
	conn, hangUp, err := s.line(ctx)
	if err != nil {
		return err
	}
	defer hangUp()
	// On a channel of its own: pseudo queues are reached through the default exchange
	// alone, and RabbitMQ closes the channel of a user who may not write there.
	return s.c.Calls.OnChannel(ctx, conn, func(ch *amqp.Channel) error {
		closed := ch.NotifyClose(make(chan *amqp.Error, 1))
		if err := ch.Confirm(false); err != nil {
			return err
		}
		sent, err := ch.PublishWithDeferredConfirm("", d.ReplyTo, false, false,
			amqp.Publishing{Headers: amqp.Table{wire.HeaderKind: wire.KindStatus},
				ContentType: "application/json", MessageId: s.ID, CorrelationId: d.CorrelationId, Timestamp: time.Now(),
				Body: body})
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
			return s.refused(e)
		default:
			return nil
		}
	})
}

// line is the connection for publishing, or, while that one is lost, another one: that it
// is lost is what people want to know.
func (s *Board) line(ctx context.Context) (conn *amqp.Connection, hangUp func(), err error) {
	if s.c.Publishing.IsUp() {
		conn, err = s.c.Publishing.Get(ctx)
		return conn, func() {}, err
	}
	conn, raw, err := s.c.Publishing.Dial(ctx)
	return conn, func() {
		_ = conn.CloseDeadline(time.Now().Add(time.Second))
		_ = raw.Close()
	}, err
}

// refused says, once, that this process cannot answer.
func (s *Board) refused(e *amqp.Error) error {
	if e == nil {
		return amqp.ErrClosed
	}
	if e.Code == amqp.AccessRefused {
		s.once.Do(func() {
			s.c.Log.Warn("this process may not answer status requests: give its user write permission for "+
				"amq.default, see docs/security.md; until then holdfast doctor does not see it; all else goes on", "error", e)
		})
	}
	return e
}
