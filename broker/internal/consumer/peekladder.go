package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// The delay queues of the retry ladder are shared by all consumers, so RabbitMQ cannot
// say how many messages of one consumer wait in them. Here they are looked at: fetched
// from the queue's head without an acknowledgement, and returned by closing the channel.
// RabbitMQ puts them back where they were, with the times of theirs, and does so as well
// if this process is killed meanwhile.

const (
	// ladderBatch is how many messages are fetched at a time.
	ladderBatch = 256
	// ladderIdle is how long no message must come for the queue to be at its end;
	// ladderMissing is the same while fewer have come than were there.
	ladderIdle    = 500 * time.Millisecond
	ladderMissing = 2 * time.Second
	// ladderExamples is how many IDs are told of each consumer.
	ladderExamples = 3
)

// MaxLadder is how many messages of a delay queue are looked at, at most.
const MaxLadder = 10_000

// LadderQueue is what was seen of a delay queue.
type LadderQueue struct {
	Name string
	// Messages were ready when it was looked at; Seen is how many of them were looked at,
	// from the head: fewer where there are too many, or while they leave the queue.
	Messages, Seen int
	// Waits are what waits there, by consumer.
	Waits []LadderWait
}

// LadderWait is what waits in a delay queue for one consumer; Consumer is empty for
// what is no consumer's.
type LadderWait struct {
	Consumer string
	Count    int
	// Since is when the message failed first that failed first of all, Next when the
	// first one is tried again. Zero: not known.
	Since, Next time.Time
	// Examples are some of their IDs.
	Examples []string
}

// PeekLadder looks at limit messages of a delay queue, from its head, and tells whose they
// are. They stay.
func PeekLadder(ctx context.Context, c *link.Client, queue string, limit int) (LadderQueue, error) {
	l := LadderQueue{Name: queue}
	err := scanLadder(ctx, c, queue, limit, &l, func(context.Context, []amqp.Delivery) error { return nil })
	return l, err
}

// RetryLadder puts the messages that wait in a delay queue for consumers back into these
// consumers' own queues, and returns how many of each.
func RetryLadder(ctx context.Context, c *link.Client, queue string, limit int,
	consumers ...string) (map[string]int, error) {
	var mu sync.Mutex // it may be left before it has ended
	counts := map[string]int{}
	l := LadderQueue{Name: queue}
	err := scanLadder(ctx, c, queue, limit, &l, func(ctx context.Context, batch []amqp.Delivery) error {
		ours := slices.DeleteFunc(batch, func(d amqp.Delivery) bool {
			return !slices.Contains(consumers, wire.OwnerOf(c.Prefix, d.RoutingKey))
		})
		return moveHome(ctx, c, ours, func(consumer string) {
			mu.Lock()
			defer mu.Unlock()
			counts[consumer]++
		})
	})
	mu.Lock()
	defer mu.Unlock()
	return maps.Clone(counts), err
}

// moveHome stores deliveries of a delay queue in the queues that they are for, and
// acknowledges those that are stored.
func moveHome(ctx context.Context, c *link.Client, ds []amqp.Delivery, moved func(consumer string)) error {
	if len(ds) == 0 {
		return nil
	}
	ps, trust := make([]link.Publication, len(ds)), c.Trust()
	for i := range ds {
		trust.AdmitWaiting(&ds[i]) // what is put back counts
		msg := wire.CopyOf(&ds[i])
		delete(msg.Headers, wire.HeaderHops) // else it would only wait for its next delay
		ps[i] = link.Publication{Exchange: c.QueuesExchange(), Key: ds[i].RoutingKey, Mandatory: true, Msg: msg}
	}
	ctx, cancel := c.Timeout(ctx)
	defer cancel()
	var first error
	errs := c.Pub.All(ctx, ps, "")
	fault.Point(fault.RetryBeforeAck)
	for i, err := range errs {
		if err == nil {
			err = ds[i].Ack(false)
		}
		if err != nil && first == nil {
			first = fmt.Errorf("a message could not be put into %s, and waits as before: %w", ds[i].RoutingKey, err)
		}
		if err == nil {
			moved(wire.OwnerOf(c.Prefix, ds[i].RoutingKey))
		}
	}
	return first
}

// scanLadder fetches limit messages from the head of a delay queue, has deal called with
// each batch of them, notes them in l, and returns those that were not acknowledged.
func scanLadder(ctx context.Context, c *link.Client, queue string, limit int, l *LadderQueue,
	deal func(context.Context, []amqp.Delivery) error) error {
	if !strings.HasPrefix(queue, c.Prefix+".retry.") {
		return fmt.Errorf("%w: %s is no delay queue", holdfast.ErrInvalid, queue)
	}
	conn, err := c.Consuming.Get(ctx)
	if err != nil {
		return fmt.Errorf("look at %s: %w", queue, err)
	}
	done := make(chan LadderQueue, 1)
	err = c.Calls.OnChannel(ctx, conn, func(ch *amqp.Channel) error {
		seen := *l
		defer func() { done <- seen }()
		err := (&ladderScan{ch: ch, l: &seen, prefix: c.Prefix, deal: deal}).run(ctx, min(limit, MaxLadder))
		return errors.Join(err, ch.Close()) // and what is not acknowledged goes back
	})
	select {
	case *l = <-done:
	default: // ctx is done, and it ends at once
	}
	var ae *amqp.Error
	switch {
	case errors.As(err, &ae) && ae.Code == amqp.NotFound:
		return nil
	case errors.As(err, &ae) && ae.Code == amqp.AccessRefused:
		return fmt.Errorf("look at %s: this user may not read it: %w", queue, err)
	case err != nil:
		return fmt.Errorf("look at %s: %w", queue, err)
	}
	return nil
}

// ladderScan fetches messages of a delay queue over one channel.
type ladderScan struct {
	ch     *amqp.Channel
	l      *LadderQueue
	prefix string
	deal   func(context.Context, []amqp.Delivery) error
}

func (s *ladderScan) run(ctx context.Context, limit int) error {
	q, err := s.ch.QueueDeclarePassive(s.l.Name, true, false, false, false, nil)
	if err != nil || q.Messages == 0 {
		return err
	}
	s.l.Messages = q.Messages
	for s.l.Seen < limit {
		batch, err := s.fetch(ctx, min(ladderBatch, limit-s.l.Seen))
		for i := range batch {
			s.count(&batch[i])
		}
		fetched := len(batch)
		if err = errors.Join(err, s.deal(ctx, batch)); err != nil || fetched < ladderBatch {
			return err
		}
	}
	return nil
}

// fetch takes n messages, or as many as there are. Its consumer gets no more than n, since
// nothing is acknowledged before it is cancelled.
func (s *ladderScan) fetch(ctx context.Context, n int) (batch []amqp.Delivery, err error) {
	if err := s.ch.Qos(n, 0, false); err != nil {
		return nil, err
	}
	tag := fmt.Sprintf("ladder-%d", s.l.Seen)
	deliveries, err := s.ch.Consume(s.l.Name, tag, false, false, false, false, nil)
	if err != nil {
		return nil, err
	}
	for len(batch) < n {
		wait := ladderMissing
		if s.l.Seen+len(batch) >= s.l.Messages {
			wait = ladderIdle
		}
		idle := time.NewTimer(wait)
		select {
		case d, ok := <-deliveries:
			idle.Stop()
			if !ok {
				return batch, amqp.ErrClosed
			}
			batch = append(batch, d)
			continue
		case <-idle.C:
		case <-ctx.Done():
			idle.Stop()
			return batch, ctx.Err()
		}
		break
	}
	if err := s.ch.Cancel(tag, false); err != nil {
		return batch, err
	}
	for d := range deliveries { // that were under way
		batch = append(batch, d)
	}
	return batch, nil
}

// count counts a message that was seen.
func (s *ladderScan) count(d *amqp.Delivery) {
	s.l.Seen++
	s.l.Messages = max(s.l.Messages, s.l.Seen)
	owner := wire.OwnerOf(s.prefix, d.RoutingKey)
	i := slices.IndexFunc(s.l.Waits, func(w LadderWait) bool { return w.Consumer == owner })
	if i < 0 {
		i = len(s.l.Waits)
		s.l.Waits = append(s.l.Waits, LadderWait{Consumer: owner})
	}
	w := &s.l.Waits[i]
	w.Count++
	if len(w.Examples) < ladderExamples {
		w.Examples = append(w.Examples, wire.Clip(strings.ToValidUTF8(d.MessageId, "?"), wire.MaxText))
	}
	log := wire.ReadLog(d.Headers)
	if len(log) == 0 {
		return
	}
	if first := log[0].At; w.Since.IsZero() || first.Before(w.Since) {
		w.Since = first
	}
	delay, err := time.ParseDuration(strings.TrimPrefix(s.l.Name, s.prefix+".retry."))
	if err != nil || wire.HeaderCount(d.Headers, wire.HeaderHops) > 0 {
		return
	}
	if next := log[len(log)-1].At.Add(delay); w.Next.IsZero() || next.Before(w.Next) {
		w.Next = next
	}
}
