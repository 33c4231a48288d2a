package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker"
)

// topic declares a consumer's queue for a competitor and returns the topic that
// leads to it. The queue is purged after each measurement.
func (s *servers) topic(ctx context.Context, competitor string) (string, error) {
	topic := topicOf(competitor)
	return topic, s.broker.DeclareConsumer(ctx, competitor, []string{topic})
}

func topicOf(competitor string) string { return competitor + ".order.placed" }

// ready is the number of messages in a queue that no consumer holds.
func (s *servers) ready(queue string) (int, error) {
	ch, err := s.admin.Channel()
	if err != nil {
		return 0, err
	}
	defer func() { _ = ch.Close() }()
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	return q.Messages, err
}

// mostHalfQueues is how many half queues a group can have.
const mostHalfQueues = 16

// halfQueues are the names that a group's half queues can have; those after the
// first exist only where a worker was told so.
func (s *servers) halfQueues(group string) []string {
	first := s.broker.HalfQueue(group)
	names := []string{first}
	for n := 2; n <= mostHalfQueues; n++ {
		names = append(names, fmt.Sprintf("%s#%d", first, n))
	}
	return names
}

// emptied waits until no message in the queues waits for a consumer. A queue that
// does not exist is empty.
func (s *servers) emptied(ctx context.Context, queues ...string) error {
	for _, q := range queues {
		for {
			n, err := s.ready(q)
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
			if pause(ctx, lookEvery) != nil {
				return fmt.Errorf("%d messages are left in %s: %w", n, q, context.Cause(ctx))
			}
		}
	}
	return nil
}

// purge empties queues.
func (s *servers) purge(queues ...string) error {
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

func (s *servers) delete(queues ...string) error {
	ch, err := s.admin.Channel()
	if err != nil {
		return err
	}
	defer func() { _ = ch.Close() }()
	for _, q := range queues { // deleting one that was never made is no error
		if _, err := ch.QueueDelete(q, false, false, false); err != nil {
			return fmt.Errorf("delete %s: %w", q, err)
		}
	}
	return nil
}

// leaves notes queues that are to be deleted at the end. One that is never made
// may be among them.
func (s *servers) leaves(queues ...string) { s.left = append(s.left, queues...) }

// leavesRetries notes the queues in which messages wait so long to be tried again.
func (s *servers) leavesRetries(delays ...time.Duration) { s.retries = append(s.retries, delays...) }

func (s *servers) deleteQueues() error {
	dead := s.broker.DeadQueue()
	queues := append([]string{dead, s.broker.OversizedQueue()}, s.left...)
	exchanges := []string{s.broker.TopicsExchange(), dead, s.prefix + ".retry", s.prefix + ".status"}
	// a queue and an exchange of the same name
	for _, delay := range append(broker.DefaultLadder(), s.retries...) {
		queues = append(queues, s.broker.RetryQueue(delay))
		exchanges = append(exchanges, s.broker.RetryQueue(delay))
	}
	if err := s.delete(queues...); err != nil {
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

const (
	fillCallers = 64 // publish a backlog
)

// fill publishes n messages to topic, as Holdfast publishes committed ones, and
// returns their IDs when all are confirmed.
func (s *servers) fill(ctx context.Context, group, topic string, n int) (ids []string, err error) {
	ids = make([]string, n)
	return ids, inParallel(ctx, n, fillCallers, func(ctx context.Context, i int) error {
		id, ms := newTransaction(topic)
		ids[i] = ms[0].ID
		return s.broker.PublishMessages(ctx, group, id, ms)
	})
}
