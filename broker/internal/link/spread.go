package link

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

// settleAgain is how long a queue may need that was about to choose a leader, before
// the message is published to all once more.
const settleAgain = 500 * time.Millisecond

// fansOut reports whether a record that goes to this exchange may go to several
// queues.
func (p *Publisher) fansOut(exchange string) bool {
	return exchange == p.names.TopicsExchange() || exchange == p.names.NoticesExchange()
}

// queuesFor are the queues, of those that are known here, into which m goes, and what
// stands for those that are not.
func (p *Publisher) queuesFor(m *Publication) []string {
	switch {
	case p.fansOut(m.Exchange):
		names := p.topo.BoundFor(m.Exchange, m.Key)
		for i, name := range names {
			names[i] = p.names.ConsumerQueue(name)
		}
		return append(names, StrangeName(m))
	case m.Exchange == p.names.DeadQueue() || strings.HasPrefix(m.Exchange, p.names.RetryExchange()+"."):
		return []string{m.Exchange} // a fanout exchange to the queue of its name
	}
	return []string{m.Key}
}

// refusedBy deals with a record that some of its queues may have refused, and the
// others stored. What it leaves unsettled is to be published again.
func (p *Publisher) refusedBy(ctx context.Context, m *Publication) {
	m.nacks++
	if p.Refused.IsStrange(m) {
		p.giveStrange(m)
		return
	}
	names := p.topo.BoundFor(m.Exchange, m.Key)
	if m.nacks > 1 { // each consumer that is known took it, or none is known
		p.giveStrange(m)
		return
	}
	refusing, ok := p.each(ctx, m, names)
	if !ok || len(refusing) == 0 {
		Sleep(ctx, settleAgain)
		return
	}
	left := p.hold(ctx, m, refusing)
	m.settled = true
	if len(left) > 0 {
		m.err = fmt.Errorf("%w: the queue of consumer %s refuses it, and it could not be held for %s: see the "+
			"queue's limit (max-length), and whether it has a majority of its replicas",
			holdfast.ErrQueueFull, wire.ShortList(left), plainPronoun(left))
	}
}

func plainPronoun(names []string) string {
	if len(names) == 1 {
		return "it"
	}
	return "them"
}

// unrouted says who used to get what nobody gets now.
func (p *Publisher) unrouted(m *Publication) error {
	err := fmt.Errorf("%w: no consumer is bound to %s", holdfast.ErrUnroutable, m.Key)
	if known := p.topo.BoundTo(m.Key); len(known) > 0 && m.Exchange == p.names.TopicsExchange() {
		return fmt.Errorf("%w; these were, and their queues are gone: consumer %s; start their processes, or forget "+
			"them, each with `holdfast consumers forget NAME`",
			err, wire.ShortList(wire.BoundNames(known)))
	}
	return err
}

// giveStrange ends the tries: the message would go to all others again and again.
func (p *Publisher) giveStrange(m *Publication) {
	p.Refused.Strange(m)
	m.settled, m.err = true, fmt.Errorf("%w: a queue that is bound for %s refuses it, and no consumer that is known "+
		"here has that queue: see the queues' limits (max-length) with `holdfast doctor`; the others have it",
		holdfast.ErrQueueFull, m.Key)
}

// each publishes m for each consumer by itself, and returns those whose queues
// refuse it. It is not ok if ctx was done before.
func (p *Publisher) each(ctx context.Context, m *Publication, names []string) (refusing []string, ok bool) {
	ps := make([]Publication, len(names))
	for i, name := range names {
		ps[i] = Publication{Exchange: p.names.QueuesExchange(), Key: p.names.ConsumerQueue(name), Mandatory: true,
			Old: p.rolling, Once: true, Msg: m.Msg}
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
func (p *Publisher) hold(ctx context.Context, m *Publication, consumers []string) (left []string) {
	for _, name := range consumers {
		if !p.holdFor(ctx, m, name, p.names.ConsumerQueue(name)) {
			left = append(left, name)
		}
	}
	return left
}

// waiting is msg as it waits for room. RabbitMQ takes the time to live away from what it moves,
// and would move early what has a short one: so it goes into the header that copies have.
func waiting(msg amqp.Publishing) amqp.Publishing {
	if msg.Expiration == "" {
		return msg
	}
	headers := make(amqp.Table, len(msg.Headers)+1)
	maps.Copy(headers, msg.Headers)
	headers[wire.HeaderExpiration], msg.Headers, msg.Expiration = msg.Expiration, headers, ""
	return msg
}

// holdFor puts m where it waits for room in a queue of the consumer's, and reports
// whether it is there.
func (p *Publisher) holdFor(ctx context.Context, m *Publication, consumer, queue string) bool {
	held := Publication{Exchange: p.names.HeldQueue(consumer), Key: queue, Mandatory: true, Once: true,
		Msg: waiting(m.Msg)}
	err := p.topo.Holding(ctx, consumer)
	if err == nil {
		err = p.tries(ctx, []Publication{held}, "")[0]
	}
	if err != nil {
		p.log.Warn("a message could not be held for a consumer whose queue refuses it", "consumer", consumer, "message",
			m.Msg.MessageId, "error", err)
		p.topo.HeldAnew(consumer)
		return false
	}
	p.Refused.Held(queue)
	return true
}

// refusedByOne deals with a record that its only queue refused.
func (p *Publisher) refusedByOne(ctx context.Context, m *Publication) {
	queue := p.queuesFor(m)[0]
	consumer := wire.OwnerOf(p.names.Prefix, queue)
	p.Refused.Queue(m, queue, consumer)
	if m.nacks++; m.Once || m.nacks < 2 || consumer == "" || m.Exchange != p.names.QueuesExchange() ||
		ctx.Err() != nil {
		return
	}
	m.settled = p.holdFor(ctx, m, consumer, queue)
}
