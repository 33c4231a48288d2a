package conservation

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker"
)

// thief loses replies that are to be lost, where it can lay hands on them: it hears
// the calls, which say in what queue the reply is wanted, and competes for that.
// A reply that it gets and is not to be lost goes back.
type thief struct {
	conn   *amqp.Connection
	lost   map[string]bool // saga, step and op
	stolen atomic.Int64
	jobs   sync.WaitGroup
}

// lurk is how long it waits in a queue for a reply.
const lurk = 2 * time.Second

// theft names what is to be stolen.
func theft(saga, step, op string) string { return saga + " " + step + " " + op }

// steal begins to steal the sagas' lost replies, until ctx is done.
func (w *world) steal(ctx context.Context) (*thief, error) {
	conn, err := amqp.Dial(w.at.AMQPURL)
	if err != nil {
		return nil, err
	}
	t := &thief{conn: conn, lost: map[string]bool{}}
	for _, p := range w.sagas {
		for what := range p.lost {
			t.lost[p.id()+" "+what] = true
		}
	}
	calls, err := t.hear(w.at.Prefix + ".topics")
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	t.jobs.Go(func() {
		for {
			select {
			case d, ok := <-calls:
				if !ok {
					return
				}
				t.heard(ctx, d)
			case <-ctx.Done():
				return
			}
		}
	})
	return t, nil
}

// stop ends it.
func (t *thief) stop() {
	t.jobs.Wait()
	_ = t.conn.Close()
}

// hear returns all messages to participants.
func (t *thief) hear(exchange string) (<-chan amqp.Delivery, error) {
	ch, err := t.conn.Channel()
	if err != nil {
		return nil, err
	}
	q, err := ch.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		return nil, err
	}
	if err := ch.QueueBind(q.Name, "#", exchange, false, nil); err != nil {
		return nil, err
	}
	return ch.Consume(q.Name, "", true, true, false, false, nil)
}

// heard lies in wait for the reply to a call, if that is to be lost, and was not.
func (t *thief) heard(ctx context.Context, call amqp.Delivery) {
	text := func(header string) string { s, _ := call.Headers[header].(string); return s }
	what := theft(text("holdfast-saga"), text("holdfast-step"), text("holdfast-op"))
	if !t.lost[what] || call.ReplyTo == "" {
		return
	}
	delete(t.lost, what)
	ch, err := t.conn.Channel()
	if err != nil {
		return
	}
	t.jobs.Go(func() {
		defer func() { _ = ch.Close() }()
		if ch.Qos(1, 0, false) != nil {
			return
		}
		replies, err := ch.Consume(call.ReplyTo, "", false, false, false, false, nil)
		if err != nil {
			return // its process has died
		}
		enough := time.NewTimer(lurk)
		defer enough.Stop()
		for {
			select {
			case d, ok := <-replies:
				if !ok {
					return
				}
				var r broker.SagaReply
				op := "do"
				_ = json.Unmarshal(d.Body, &r) // what is no reply is not looked for
				if r.Undo {
					op = "undo"
				}
				if theft(r.Saga, r.Step, op) == what {
					t.stolen.Add(1)
					_ = d.Ack(false)
					return
				}
				_ = d.Nack(false, true)
			case <-enough.C:
				return
			case <-ctx.Done():
				return
			}
		}
	})
}
