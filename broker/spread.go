package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// A message to a topic goes to the queues of several consumers. If one of them
// refuses it, since it is at its limit, RabbitMQ refuses the publish, although the
// others have stored the message: to publish it again would give it to them again,
// and again. So it is published once more for each consumer by itself, which tells
// who refuses, and for these it is put into a queue of the consumer's own, out of
// which RabbitMQ moves it once there is room. See
// docs/decisions/a-full-queue.md.

const (
	// heldFor is how long a message is held at least before RabbitMQ looks for room in
	// its consumer's queue.
	heldFor = 10 * time.Second
	// maxHeld is how many messages are held for a consumer at most. Beyond that its
	// transactions wait, each in its workflow.
	maxHeld = 100_000
	// settleAgain is how long a queue may need that was about to choose a leader, before
	// the message is published to all once more.
	settleAgain = 500 * time.Millisecond
)

// fansOut reports whether a record that goes to this exchange may go to several
// queues.
func (t *topology) fansOut(exchange string) bool {
	return exchange == t.b.TopicsExchange() || exchange == t.b.NoticesExchange()
}

// boundFor are the consumers, of those that are known here, whose queues get what is
// published so.
func (t *topology) boundFor(exchange, key string) (names []string) {
	wants := func(to wire.Bindings) bool {
		if exchange == t.b.NoticesExchange() {
			return wire.Listens(to.Noticed(), key)
		}
		return wire.Listens(to.Topics, key)
	}
	for _, c := range t.b.memory.all(time.Now()) {
		if wants(c.Bindings()) {
			names = append(names, c.Name)
		}
	}
	t.mu.Lock()
	for name, to := range t.consumers {
		if wants(to) {
			names = append(names, name)
		}
	}
	t.mu.Unlock()
	slices.Sort(names)
	return slices.Compact(names)
}

// queuesFor are the queues, of those that are known here, into which m goes, and what
// stands for those that are not.
func (t *topology) queuesFor(m *publication) []string {
	switch {
	case t.fansOut(m.exchange):
		names := t.boundFor(m.exchange, m.key)
		for i, name := range names {
			names[i] = t.b.ConsumerQueue(name)
		}
		return append(names, strangeName(m))
	case m.exchange == t.b.DeadQueue() || strings.HasPrefix(m.exchange, t.b.RetryExchange()+"."):
		return []string{m.exchange} // a fanout exchange to the queue of its name
	}
	return []string{m.key}
}

// refusedBy deals with a record that some of its queues may have refused, and the
// others stored. What it leaves unsettled is to be published again.
func (p *publisher) refusedBy(ctx context.Context, m *publication) {
	m.nacks++
	if p.refused.isStrange(m) {
		p.giveStrange(m)
		return
	}
	names := p.topo.boundFor(m.exchange, m.key)
	if m.nacks > 1 { // each consumer that is known took it, or none is known
		p.giveStrange(m)
		return
	}
	refusing, ok := p.each(ctx, m, names)
	if !ok || len(refusing) == 0 {
		sleep(ctx, settleAgain)
		return
	}
	left := p.hold(ctx, m, refusing)
	m.settled = true
	if len(left) > 0 {
		m.err = fmt.Errorf("%w: the queue of consumer %s refuses it, and it could not be held for %s: see the queue's limit (max-length), and whether it has a majority of its replicas",
			holdfast.ErrQueueFull, shortList(left), plainPronoun(left))
	}
}

func plainPronoun(names []string) string {
	if len(names) == 1 {
		return "it"
	}
	return "them"
}

// giveStrange ends the tries: the message would go to all others again and again.
func (p *publisher) giveStrange(m *publication) {
	p.refused.strange(m)
	m.settled, m.err = true, fmt.Errorf("%w: a queue that is bound for %s refuses it, and no consumer that is known here has that queue: see the queues' limits (max-length) with `holdfast doctor`; the others have it",
		holdfast.ErrQueueFull, m.key)
}

// each publishes m for each consumer by itself, and returns those whose queues
// refuse it. It is not ok if ctx was done before.
func (p *publisher) each(ctx context.Context, m *publication, names []string) (refusing []string, ok bool) {
	ps := make([]publication, len(names))
	for i, name := range names {
		ps[i] = publication{exchange: p.topo.b.QueuesExchange(), key: p.topo.b.ConsumerQueue(name), mandatory: true,
			old: p.topo.b.o.RollingUpgrade, once: true, msg: m.msg}
	}
	for i, err := range p.tries(ctx, ps, "") {
		switch {
		case err == nil || errors.Is(err, holdfast.ErrUnroutable): // it is gone, so that nothing is bound either
		case ps[i].last == lastNack:
			refusing = append(refusing, names[i])
		default:
			return nil, false
		}
	}
	return refusing, true
}

// hold puts m where it waits for room in queues of consumers, and returns those for
// which that failed.
func (p *publisher) hold(ctx context.Context, m *publication, consumers []string) (left []string) {
	for _, name := range consumers {
		if !p.holdFor(ctx, m, name, p.topo.b.ConsumerQueue(name)) {
			left = append(left, name)
		}
	}
	return left
}

// holdFor puts m where it waits for room in a queue of the consumer's, and reports
// whether it is there.
func (p *publisher) holdFor(ctx context.Context, m *publication, consumer, queue string) bool {
	held := publication{exchange: p.topo.b.HeldQueue(consumer), key: queue, mandatory: true, once: true, msg: m.msg}
	err := p.topo.holding(ctx, consumer)
	if err == nil {
		err = p.tries(ctx, []publication{held}, "")[0]
	}
	if err != nil {
		p.log.Warn("a message could not be held for a consumer whose queue refuses it", "consumer", consumer, "message", m.msg.MessageId, "error", err)
		p.topo.heldAnew(consumer)
		return false
	}
	p.refused.held(queue)
	return true
}

// refusedByOne deals with a record that its only queue refused.
func (p *publisher) refusedByOne(ctx context.Context, m *publication) {
	b, queue := p.topo.b, p.topo.queuesFor(m)[0]
	consumer := wire.OwnerOf(b.o.Prefix, queue)
	p.refused.queue(m, queue, consumer)
	if m.nacks++; m.once || m.nacks < 2 || consumer == "" || m.exchange != b.QueuesExchange() || ctx.Err() != nil {
		return
	}
	m.settled = p.holdFor(ctx, m, consumer, queue)
}

// holding makes sure that there is a queue in which messages are held for a
// consumer.
func (t *topology) holding(ctx context.Context, consumer string) error {
	t.mu.Lock()
	made := t.held[consumer]
	t.mu.Unlock()
	if made {
		return nil
	}
	if err := t.b.declare(ctx, t.exitSteps(), t.heldSteps(consumer)); err != nil {
		return err
	}
	t.mu.Lock()
	t.held[consumer] = true
	t.mu.Unlock()
	return nil
}

// heldAnew has it made again the next time.
func (t *topology) heldAnew(consumer string) {
	t.mu.Lock()
	delete(t.held, consumer)
	t.mu.Unlock()
}

// heldSteps make a delay queue of the consumer's own. RabbitMQ moves at least once: what
// the consumer's queue refuses stays here, and is tried again some minutes later.
func (t *topology) heldSteps(consumer string) []step {
	name := t.b.HeldQueue(consumer)
	args := t.delayed(t.heldFor)
	args["x-max-length"] = int64(maxHeld)
	return []step{queueStep(name, args), exchangeStep(name, amqp.ExchangeFanout, nil), bindStep(name, "", name)}
}
