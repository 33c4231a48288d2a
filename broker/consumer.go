package broker

import (
	"context"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/consumer"
	"github.com/holdfastmq/holdfast/broker/internal/pauses"
	"github.com/holdfastmq/holdfast/broker/internal/peers"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

type (
	// Subscription says what a consumer gets and how its handler is run.
	Subscription = consumer.Subscription
	// Delivery is one message as it comes to a consumer.
	Delivery = consumer.Delivery
	// Event is something that happened to a consumer.
	Event = consumer.Event
	// ConsumerTimeout is a limit on how long a consumer may hold a message, and who says so.
	ConsumerTimeout = consumer.ConsumerTimeout
	// LadderQueue is what was seen of a delay queue.
	LadderQueue = consumer.LadderQueue
	// LadderWait is what waits in a delay queue for one consumer; Consumer is empty for
	// what is no consumer's.
	LadderWait = consumer.LadderWait
)

// The kinds of events.
const (
	EventAttemptOK     = consumer.EventAttemptOK
	EventAttemptFailed = consumer.EventAttemptFailed
	EventRetry         = consumer.EventRetry
	EventDead          = consumer.EventDead
	EventLost          = consumer.EventLost
	EventBreaker       = consumer.EventBreaker
	EventPause         = consumer.EventPause
)

const (
	// LongRetry is how long after its first failure a message may still wait for a try,
	// before somebody is told.
	LongRetry = consumer.LongRetry
	// MaxLadder is how many messages of a delay queue are looked at, at most.
	MaxLadder = consumer.MaxLadder
)

// DefaultLadder returns the delays between a consumer's immediate tries and the
// dead letters, where it names none: 10 s, 30 s, 1 min, 5 min, 15 min, 1 h.
func DefaultLadder() []time.Duration { return consumer.DefaultLadder() }

// KnownConsumerTimeout is the limit that a process knows of: what its options say, or
// else RabbitMQ's default. RabbitMQ does not tell it over AMQP.
func KnownConsumerTimeout(said time.Duration) ConsumerTimeout {
	return consumer.KnownConsumerTimeout(said)
}

// Wait marks what a handler returns as no fault of the message, such as a
// database that cannot be reached: the message waits in this process and is tried
// again with growing pauses of up to 4 s, until the circuit breaker opens, or
// after a minute goes to its queue's end. It is not counted against the message,
// and each time for the breaker. The log says since when it waits. Wait(nil) is nil.
func Wait(err error) error { return consumer.Wait(err) }

// Excuse is [Wait] for an error that is not the message's fault, see package
// internal/blame. Other errors, and nil, it returns as they are.
func Excuse(err error) error { return consumer.Excuse(err) }

// Waits reports whether err was marked by [Wait] or [Excuse].
func Waits(err error) bool { return consumer.Waits(err) }

// Consume declares a consumer's queue and runs its handler until ctx is done;
// then it takes no further delivery, gives back those that were not begun, lets
// the running handlers finish for DrainTimeout, ends their contexts, gives back
// what they could not finish, and returns nil. It goes on by itself after lost
// connections. An error means wrong options, a queue that exists with other
// arguments, a closed Broker, or a handler that ignores its context.
func (b *Broker) Consume(ctx context.Context, o consumer.Subscription) error {
	b.paused.Begin()
	h := consumer.Host{Client: b.c, Limit: b.o.ConsumerTimeout, Declare: b.topo.DeclareConsumer,
		Show: b.board.ShowConsumer, Busy: b.showBusy, Pauses: b.paused, Patience: b.patience}
	return consumer.Consume(ctx, h, o)
}

// Probe has the processes of the consumers try a message at once where their circuit
// breaker is open, and asks like [Broker.Ask]: the answers tell how the consumers were
// right after that. A process of a version that does not know of it answers, too, and does
// nothing. A breaker whose message fails pauses as long as after any other probe.
func (b *Broker) Probe(ctx context.Context, wait time.Duration, consumers ...string) ([]wire.ProcessStatus, error) {
	if len(consumers) == 0 || len(consumers) > wire.MaxProbe {
		return nil, fmt.Errorf("%w: probe %d consumers: want 1 to %d", holdfast.ErrInvalid, len(consumers),
			wire.MaxProbe)
	}
	return peers.Ask(ctx, b.c, wait, wire.StatusRequest{Consumers: true, Probe: consumers})
}

// ConsumerPause is a pause of a consumer by an operator.
type ConsumerPause = wire.Pause

// ErrNotPaused means that nobody has paused the consumer, or that its pause has ended.
var ErrNotPaused = pauses.ErrNotPaused

// The shortest and the longest pause that ends by itself.
const (
	MinPause = pauses.MinFor
	MaxPause = pauses.MaxFor
)

// PauseConsumer has all processes of a consumer, now and later, take no message until the
// pause ends: by [Broker.ResumeConsumer], or, if lasts is not 0, after that time by RabbitMQ's
// clock. Messages that handlers have in hand end. p needs Consumer, By, Reason and Since; the
// rest is filled in. A consumer that is paused already has this pause instead. It returns once
// RabbitMQ has stored the pause; processes heed it a moment later, see [Broker.Ask].
func (b *Broker) PauseConsumer(ctx context.Context, p ConsumerPause, lasts time.Duration) (ConsumerPause, error) {
	return b.pauses.Pause(ctx, p, lasts)
}

// PauseBeside pauses a consumer as [Broker.PauseConsumer] does, until [Broker.EndPause]; pauses
// that it has already last on.
func (b *Broker) PauseBeside(ctx context.Context, p ConsumerPause) (ConsumerPause, error) {
	return b.pauses.Beside(ctx, p)
}

// EndPause ends one pause, by whom and why is kept with it. Other pauses of its consumer last on.
func (b *Broker) EndPause(ctx context.Context, p ConsumerPause, by, reason string) error {
	return b.pauses.End(ctx, p, by, reason)
}

// ResumeConsumer ends the pauses of a consumer, and those of told, which processes say that
// they heed; by whom and why is kept with them. It returns them. [ErrNotPaused]: there are none.
func (b *Broker) ResumeConsumer(ctx context.Context, name, by, reason string, told ...ConsumerPause) ([]ConsumerPause,
	error) {
	return b.pauses.Resume(ctx, name, by, reason, told...)
}

// PausedConsumers are the pauses that last, by consumer. It makes and changes nothing.
func (b *Broker) PausedConsumers(ctx context.Context) ([]ConsumerPause, error) {
	return b.pauses.All(ctx, false)
}

// PastPauses are all pauses that RabbitMQ keeps, those that have ended, too, the latest first.
func (b *Broker) PastPauses(ctx context.Context) ([]ConsumerPause, error) {
	return b.pauses.All(ctx, true)
}

// RemoveConsumer deletes the queues of a consumer, and with them their bindings, and returns how
// many messages were in them: those are lost. RabbitMQ does not refuse that for a quorum queue that is read or
// not empty: look before. Messages of the consumer that wait in a delay become dead letters. A
// process that remembers the consumer makes its queues again.
func (b *Broker) RemoveConsumer(ctx context.Context, name string) (lost int, err error) {
	if err := holdfast.ValidateName("consumer", name); err != nil {
		return 0, err
	}
	ctx, cancel := b.c.Timeout(ctx)
	defer cancel()
	conn, err := b.c.Consuming.Get(ctx)
	if err != nil {
		return 0, err
	}
	for _, queue := range []string{b.HeldQueue(name), b.AloneQueue(name), b.ConsumerQueue(name)} {
		deleted := make(chan int, 1)
		err := b.c.Calls.OnChannel(ctx, conn, func(ch *amqp.Channel) error {
			n, err := ch.QueueDelete(queue, false, false, false)
			deleted <- n
			return err
		})
		if err != nil {
			return lost, fmt.Errorf("delete queue %s: %w", queue, err)
		}
		lost += <-deleted
	}
	return lost, b.c.Calls.OnChannel(ctx, conn, func(ch *amqp.Channel) error {
		return ch.ExchangeDelete(b.HeldQueue(name), false, false)
	})
}

// Unbind removes a binding of a consumer's queue to a topic. Messages of that topic do not
// reach it any more; those that are in the queue stay.
func (b *Broker) Unbind(ctx context.Context, name, topic string) error {
	return b.unbind(ctx, name, topic, b.TopicsExchange())
}

// UnbindNotices does the same with the compensation notices of a topic.
func (b *Broker) UnbindNotices(ctx context.Context, name, topic string) error {
	return b.unbind(ctx, name, topic, b.NoticesExchange())
}

func (b *Broker) unbind(ctx context.Context, name, topic, exchange string) error {
	if err := wire.ValidConsumer(name, []string{topic}); err != nil {
		return err
	}
	ctx, cancel := b.c.Timeout(ctx)
	defer cancel()
	conn, err := b.c.Consuming.Get(ctx)
	if err != nil {
		return err
	}
	return b.c.Calls.OnChannel(ctx, conn, func(ch *amqp.Channel) error {
		return ch.QueueUnbind(b.ConsumerQueue(name), topic, exchange, nil)
	})
}

// PeekLadder looks at limit messages of a delay queue, see [Broker.RetryQueue], from its
// head, and tells whose they are. They stay: while it looks, which takes a second or two,
// they are held, so that one whose time has come is a moment late.
func (b *Broker) PeekLadder(ctx context.Context, queue string, limit int) (LadderQueue, error) {
	return consumer.PeekLadder(ctx, b.c, queue, limit)
}

// RetryLadder puts the messages that wait in a delay queue for consumers back into these
// consumers' own queues, to be tried now, and returns how many of each; of the queue it
// looks at limit messages, from its head. Each is stored in the consumer's queue before it
// is taken out of the delay queue: if this process dies in between it is there twice, as
// after a lost acknowledgement of a retry, which the inbox makes one effect. What is other
// consumers' stays, as with [Broker.PeekLadder]; so does what its queue does not take,
// which the error tells.
func (b *Broker) RetryLadder(ctx context.Context, queue string, limit int, consumers ...string) (map[string]int,
	error) {
	return consumer.RetryLadder(ctx, b.c, queue, limit, consumers...)
}
