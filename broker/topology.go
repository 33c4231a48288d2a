package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

// deliveryLimit is how often a quorum queue delivers before it drops. It is a
// large number and not "unlimited" because -1 means "drop at the first
// requeue" to RabbitMQ 3.10 and unset means 20 to RabbitMQ 4.
const deliveryLimit = 100_000_000

// TopicsExchange is the name of the topic exchange of committed messages.
func (b *Broker) TopicsExchange() string { return b.o.Prefix + ".topics" }

// DeadQueue is the name of the queue of dead letters, and of the fanout exchange
// that leads to it.
func (b *Broker) DeadQueue() string { return deadQueue(b.o.Prefix) }

// RetryQueue is the name of the queue in which messages wait for delay before
// they are tried again, and of the fanout exchange that leads to it. All
// consumers share it.
func (b *Broker) RetryQueue(delay time.Duration) string {
	return b.o.Prefix + ".retry." + delayName(delay)
}

// retryExchange leads from the delay queues back to the consumers' queues.
func (b *Broker) retryExchange() string { return b.o.Prefix + ".retry" }

// ConsumerQueue is the name of a consumer's queue.
func (b *Broker) ConsumerQueue(name string) string { return b.o.Prefix + ".q." + name }

// DeclareGroup makes the half queues of a producer group, and what every group
// needs: the topics exchange and the queue of dead letters. What exists already
// is left as it is; if it exists with other arguments, the error says how to
// migrate. It is remembered, and made again when RabbitMQ comes back without it.
func (b *Broker) DeclareGroup(ctx context.Context, group string) error {
	if err := validGroup(group); err != nil {
		return err
	}
	if err := b.declare(ctx, b.topo.baseSteps(), b.topo.groupSteps(group)); err != nil {
		return err
	}
	b.topo.mu.Lock()
	defer b.topo.mu.Unlock()
	b.topo.groups[group] = true
	return nil
}

// DeclareConsumer makes the queue of a consumer, binds it to topics, in which *
// stands for one word and # for any number of words, and makes the delay queues of
// the default ladder. It is remembered like a group.
//
// A topic that was bound before and is no longer listed stays bound: AMQP
// cannot list bindings. Remove it in the management UI.
func (b *Broker) DeclareConsumer(ctx context.Context, name string, topics []string) error {
	return b.declareConsumer(ctx, name, topics, knownDelays(nil))
}

func (b *Broker) declareConsumer(ctx context.Context, name string, topics []string, delays []time.Duration) error {
	if err := validConsumer(name, topics); err != nil {
		return err
	}
	if err := b.declare(ctx, b.topo.baseSteps(), b.topo.exitSteps(), b.topo.consumerSteps(name, topics), b.topo.delaySteps(delays)); err != nil {
		return err
	}
	b.topo.mu.Lock()
	defer b.topo.mu.Unlock()
	b.topo.consumers[name] = slices.Clone(topics)
	for _, d := range delays {
		b.topo.delays[d] = true
	}
	return nil
}

func validConsumer(name string, topics []string) error {
	if err := holdfast.ValidateName("consumer", name); err != nil {
		return err
	}
	if len(topics) == 0 {
		return fmt.Errorf("%w: consumer %q has no topics", holdfast.ErrInvalid, name)
	}
	for _, t := range topics {
		if t == "" || len(t) > holdfast.MaxName {
			return fmt.Errorf("%w: consumer %q: topic %q: want 1 to %d bytes", holdfast.ErrInvalid, name, t, holdfast.MaxName)
		}
	}
	return nil
}

// declare uses the connection that never publishes: an alarm does not block it.
func (b *Broker) declare(ctx context.Context, steps ...[]step) error {
	ctx, cancel := b.timeout(ctx)
	defer cancel()
	conn, err := b.consLink.get(ctx)
	if err != nil {
		return fmt.Errorf("declare queues: %w", err)
	}
	return b.topo.run(ctx, conn, slices.Concat(steps...))
}

// step is one declaration: what it makes, for the error, and how.
type step struct {
	what string
	do   func(ch *amqp.Channel) error
}

// topology knows what has to exist, and makes it.
type topology struct {
	b *Broker

	mu        sync.Mutex
	groups    map[string]bool
	consumers map[string][]string
	delays    map[time.Duration]bool // of all consumers
	replies   map[string]bool        // groups whose replies are consumed here

	repairing chan struct{} // a token: one repair at a time
	repairs   uint64        // successful ones; guarded by mu
	epoch     atomic.Uint64 // counts beginnings and ends of repairs: odd while one runs
}

func newTopology(b *Broker) *topology {
	t := &topology{b: b, groups: map[string]bool{}, consumers: map[string][]string{}, delays: map[time.Duration]bool{}, replies: map[string]bool{}, repairing: make(chan struct{}, 1)}
	t.repairing <- struct{}{}
	return t
}

func quorum() amqp.Table {
	return amqp.Table{"x-queue-type": "quorum", "x-delivery-limit": int64(deliveryLimit)}
}

// guarded is a queue whose broker-side drops go to the queue of dead letters,
// at least once: that strategy needs reject-publish.
func (t *topology) guarded() amqp.Table {
	args := quorum()
	args["x-dead-letter-exchange"] = ""
	args["x-dead-letter-routing-key"] = t.b.DeadQueue()
	args["x-dead-letter-strategy"] = "at-least-once"
	args["x-overflow"] = "reject-publish"
	return args
}

// delayed is a queue that messages leave after delay, for the queue whose name
// they were published with as routing key; at least once, and if that queue is
// gone, for the dead letters.
func (t *topology) delayed(delay time.Duration) amqp.Table {
	args := quorum()
	args["x-message-ttl"] = delay.Milliseconds()
	args["x-dead-letter-exchange"] = t.b.retryExchange()
	args["x-dead-letter-strategy"] = "at-least-once"
	args["x-overflow"] = "reject-publish"
	return args
}

func queueStep(name string, args amqp.Table) step {
	return step{"queue " + name, func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(name, true, false, false, false, args)
		return err
	}}
}

func exchangeStep(name, kind string, args amqp.Table) step {
	return step{"exchange " + name, func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare(name, kind, true, false, false, false, args)
	}}
}

func bindStep(queue, key, exchange string) step {
	what := "binding of " + queue + " to " + exchange
	if key != "" {
		what += " for " + key
	}
	return step{what, func(ch *amqp.Channel) error { return ch.QueueBind(queue, key, exchange, false, nil) }}
}

func (t *topology) baseSteps() []step {
	dead := t.b.DeadQueue()
	steps := []step{
		exchangeStep(t.b.TopicsExchange(), amqp.ExchangeTopic, nil),
		queueStep(dead, quorum()),
		exchangeStep(dead, amqp.ExchangeFanout, nil),
		bindStep(dead, "", dead),
		queueStep(t.b.OversizedQueue(), quorum()),
	}
	return slices.Concat(steps, t.exitSteps(), t.delaySteps([]time.Duration{postponed}))
}

// exitSteps make the way out of the delay queues. An alternate exchange catches
// what is meant for a queue that is gone: at-least-once dead-lettering would try
// that again for ever.
func (t *topology) exitSteps() []step {
	return []step{exchangeStep(t.b.retryExchange(), amqp.ExchangeDirect, amqp.Table{"alternate-exchange": t.b.DeadQueue()})}
}

func (t *topology) delaySteps(delays []time.Duration) (steps []step) {
	for _, d := range delays {
		name := t.b.RetryQueue(d)
		steps = append(steps, queueStep(name, t.delayed(d)), exchangeStep(name, amqp.ExchangeFanout, nil), bindStep(name, "", name))
	}
	return steps
}

func (t *topology) groupSteps(group string) []step {
	args := t.guarded()
	args["x-single-active-consumer"] = true
	var steps []step
	for _, name := range t.b.HalfQueues(group) {
		steps = append(steps, queueStep(name, args))
	}
	return steps
}

// consumerSteps come after exitSteps with nothing in between: what a delay queue
// lets go meanwhile ends with the dead letters.
func (t *topology) consumerSteps(name string, topics []string) []step {
	queue := t.b.ConsumerQueue(name)
	alone := t.b.AloneQueue(name)
	steps := []step{
		queueStep(queue, t.guarded()), bindStep(queue, queue, t.b.retryExchange()),
		queueStep(alone, t.guarded()), bindStep(alone, alone, t.b.retryExchange()),
	}
	for _, topic := range topics {
		steps = append(steps, bindStep(queue, topic, t.b.TopicsExchange()))
	}
	return steps
}

func (t *topology) all() []step {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.groups)+len(t.consumers)+len(t.replies) == 0 {
		return nil
	}
	steps := t.baseSteps()
	for g := range t.groups {
		steps = append(steps, t.groupSteps(g)...)
	}
	for g := range t.replies {
		steps = append(steps, t.replySteps(t.b.ReplyQueue(g))...)
	}
	if len(t.consumers) > 0 {
		steps = append(steps, t.exitSteps()...)
	}
	for name, topics := range t.consumers {
		steps = append(steps, t.consumerSteps(name, topics)...)
	}
	return append(steps, t.delaySteps(slices.Sorted(maps.Keys(t.delays)))...)
}

// run carries the steps out, each on a channel of its own, since an error
// closes the channel. It goes on after an error and returns all of them.
func (t *topology) run(ctx context.Context, conn *amqp.Connection, steps []step) error {
	var errs []error
	for _, s := range steps {
		err := t.b.onChannel(ctx, conn, s.do)
		if err == nil {
			continue
		}
		errs = append(errs, explainDeclare(s.what, err))
		if conn.IsClosed() || ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// restore makes everything remembered on a new connection.
func (t *topology) restore(ctx context.Context, conn *amqp.Connection) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := t.run(ctx, conn, t.all()); err != nil {
		t.b.log.Error("queues could not be declared after connecting to RabbitMQ", "error", err)
	}
}

// remakePause is how long a queue that was just found missing stays so. A quorum
// queue that is deleted and made again before RabbitMQ has told its consumers of
// that keeps them, and delivers nothing to them.
const remakePause = 300 * time.Millisecond

// repair makes everything remembered again because something turned out to be
// missing. Callers that come while one repair runs share its result.
func (t *topology) repair(ctx context.Context) error {
	t.mu.Lock()
	seen := t.repairs
	t.mu.Unlock()
	select {
	case <-t.repairing:
		defer func() { t.repairing <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	t.mu.Lock()
	shared := t.repairs > seen
	t.mu.Unlock()
	if shared {
		return nil
	}
	if !sleep(ctx, remakePause) {
		return ctx.Err()
	}
	conn, err := t.b.consLink.get(ctx)
	if err != nil {
		return err
	}
	steps := t.all()
	if len(steps) == 0 {
		steps = t.baseSteps()
	}
	t.b.log.Warn("an exchange or queue is missing in RabbitMQ: declaring everything again")
	t.epoch.Add(1)
	err = t.run(ctx, conn, steps)
	t.epoch.Add(1)
	if err == nil {
		t.mu.Lock()
		t.repairs++
		t.mu.Unlock()
	}
	return err
}

// changedSince reports whether a repair ran at or after the given epoch.
func (t *topology) changedSince(epoch uint64) bool {
	return epoch%2 == 1 || t.epoch.Load() != epoch
}

// onChannel runs f with a channel of its own. amqp091's calls know no context,
// so f runs on in its goroutine when ctx is done first; it ends with its
// connection at the latest.
func (b *Broker) onChannel(ctx context.Context, conn *amqp.Connection, f func(*amqp.Channel) error) error {
	result := make(chan error, 1)
	ok := b.spawn(func() {
		ch, err := conn.Channel()
		if err != nil {
			result <- err
			return
		}
		err = f(ch)
		result <- err
		_ = ch.Close()
	})
	if !ok {
		return errClosed
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// explainDeclare says what to do about a declaration that was refused.
func explainDeclare(what string, err error) error {
	var ae *amqp.Error
	if !errors.As(err, &ae) {
		return fmt.Errorf("declare %s: %w", what, err)
	}
	switch ae.Code {
	case amqp.PreconditionFailed:
		return fmt.Errorf("%w: %s exists with other arguments than this version of Holdfast wants (%s): "+
			"let its consumers empty it with the version that made it, delete it and start again, "+
			"or set another prefix; messages in it are lost when it is deleted", holdfast.ErrInvalid, what, ae.Reason)
	case amqp.AccessRefused:
		return fmt.Errorf("declare %s: give the user configure, write and read permission with rabbitmqctl set_permissions: %w", what, err)
	}
	return fmt.Errorf("declare %s: %w", what, err)
}
