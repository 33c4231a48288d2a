package servers

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/orders"
	"github.com/holdfastmq/holdfast/broker"
)

// Topic declares a consumer's queue for a competitor and returns the topic that
// leads to it. The queue is purged after each measurement.
func (s *Servers) Topic(ctx context.Context, competitor string) (string, error) {
	topic := TopicOf(competitor)
	return topic, s.Broker.DeclareConsumer(ctx, competitor, []string{topic})
}

// TopicOf is the topic of a competitor's messages.
func TopicOf(competitor string) string { return competitor + ".order.placed" }

// Ready is the number of messages in a queue that no consumer holds.
func (s *Servers) Ready(queue string) (int, error) {
	ch, err := s.admin.Channel()
	if err != nil {
		return 0, err
	}
	defer func() { _ = ch.Close() }()
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	return q.Messages, err
}

// askWait is how long the answers of processes are collected.
const askWait = 250 * time.Millisecond

// mostHalfQueues is how many half queues a group can have.
const mostHalfQueues = 16

// HalfQueues are the names that a group's half queues can have; those after the
// first exist only where a worker was told so.
func (s *Servers) HalfQueues(group string) []string {
	first := s.Broker.HalfQueue(group)
	names := []string{first}
	for n := 2; n <= mostHalfQueues; n++ {
		names = append(names, fmt.Sprintf("%s#%d", first, n))
	}
	return names
}

// AwaitEmpty waits until no message in the queues waits for a consumer. A queue that
// does not exist is empty.
func (s *Servers) AwaitEmpty(ctx context.Context, queues ...string) error {
	for _, q := range queues {
		for {
			n, err := s.Ready(q)
			var missing *amqp.Error
			if errors.As(err, &missing) && missing.Code == amqp.NotFound {
				break
			}
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			if measure.Pause(ctx, LookEvery) != nil {
				return fmt.Errorf("%d messages are left in %s: %w", n, q, context.Cause(ctx))
			}
		}
	}
	return nil
}

// AwaitSettled waits until a group's half queues are empty and its Keepers hold no record
// either.
func (s *Servers) AwaitSettled(ctx context.Context, group string) error {
	for {
		if err := s.AwaitEmpty(ctx, s.HalfQueues(group)...); err != nil {
			return err
		}
		answers, err := s.Broker.Ask(ctx, askWait)
		if err != nil {
			return err
		}
		keepers, held := 0, 0
		for _, process := range answers {
			for _, k := range process.Keepers {
				if k.Group == group {
					keepers++
					held += k.Held
				}
			}
		}
		if keepers > 0 && held == 0 {
			return nil
		}
		if measure.Pause(ctx, LookEvery) != nil {
			return fmt.Errorf("%d Keepers of group %s answer, and hold %d records: %w",
				keepers, group, held, context.Cause(ctx))
		}
	}
}

// Purge empties queues.
func (s *Servers) Purge(queues ...string) error {
	ch, err := s.admin.Channel()
	if err != nil {
		return err
	}
	defer func() { _ = ch.Close() }()
	for _, q := range queues {
		if _, err := ch.QueuePurge(q, false); err != nil {
			return fmt.Errorf("purge %s: %w", q, err)
		}
	}
	return nil
}

// Delete deletes queues. One that does not exist is no error.
func (s *Servers) Delete(queues ...string) error {
	ch, err := s.admin.Channel()
	if err != nil {
		return err
	}
	defer func() { _ = ch.Close() }()
	for _, q := range queues {
		if _, err := ch.QueueDelete(q, false, false, false); err != nil {
			return fmt.Errorf("delete %s: %w", q, err)
		}
	}
	return nil
}

// DeleteAtEnd notes queues that Close is to delete. Queues that are never made may
// be among them.
func (s *Servers) DeleteAtEnd(queues ...string) { s.left = append(s.left, queues...) }

// DeleteRetriesAtEnd notes the retry queues of delays: Close is to delete them, too.
func (s *Servers) DeleteRetriesAtEnd(delays ...time.Duration) {
	s.retries = append(s.retries, delays...)
}

// deleteQueues deletes the queues and exchanges that the run made.
func (s *Servers) deleteQueues() error {
	dead := s.Broker.DeadQueue()
	queues := append([]string{dead, s.Broker.OversizedQueue()}, s.left...)
	exchanges := []string{s.Broker.TopicsExchange(), dead, s.Prefix + ".retry", s.Prefix + ".status"}
	// a queue and an exchange of the same name
	for _, delay := range append(broker.DefaultLadder(), s.retries...) {
		queues = append(queues, s.Broker.RetryQueue(delay))
		exchanges = append(exchanges, s.Broker.RetryQueue(delay))
	}
	if err := s.Delete(queues...); err != nil {
		return err
	}
	ch, err := s.admin.Channel()
	if err != nil {
		return err
	}
	defer func() { _ = ch.Close() }()
	for _, e := range exchanges {
		if err := ch.ExchangeDelete(e, false, false); err != nil {
			return fmt.Errorf("delete exchange %s: %w", e, err)
		}
	}
	return nil
}

// AtOnce is how many messages are published at a time when a backlog is made.
const AtOnce = 64

// Fill publishes n messages to topic, as Holdfast publishes committed ones, and
// returns their IDs when all are confirmed.
func (s *Servers) Fill(ctx context.Context, group, topic string, n int) (ids []string, err error) {
	ids = make([]string, n)
	return ids, measure.InParallel(ctx, n, AtOnce, func(ctx context.Context, i int) error {
		id, ms := orders.NewTransaction(topic)
		ids[i] = ms[0].ID
		return s.Broker.PublishMessages(ctx, group, id, ms)
	})
}
