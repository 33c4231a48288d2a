package fakebroker

import (
	"context"
	"fmt"
	"slices"
	"strings"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
)

// Redeliver delivers a dead letter once more to the consumer that gave it up, and to
// no other, as its nth redelivery. It returns the failure if it is given up again.
func (b *Broker) Redeliver(ctx context.Context, l holdfast.DeadLetter, n int) (*holdfast.Failure, error) {
	b.s.mu.Lock()
	q := b.s.find(l.Queue)
	b.s.mu.Unlock()
	if q == nil || q.sub == nil {
		return nil, fmt.Errorf("queue %s: %w", l.Queue, holdfast.ErrUnroutable)
	}
	d := broker.Delivery{Message: l.Message.Clone(), TxID: l.TxID, Group: l.Group, Redelivery: n}
	d.Message.ID = l.ID
	f, ended := b.attempt(ctx, q, d)
	if !ended {
		return nil, ctx.Err()
	}
	return f, nil
}

// PublishCompensated puts a compensation notice into the queues of those who want
// the notices of the letter's topic, and of the consumer that gave it up.
func (b *Broker) PublishCompensated(_ context.Context, l holdfast.DeadLetter) error {
	m := l.Message.Clone()
	m.ID, m.Topic = l.ID+holdfast.CompensatedSuffix, m.Topic+holdfast.CompensatedSuffix
	m.TTL, m.ReplyTo = 0, ""
	n := &broker.Notice{Of: l.ID, Topic: l.Message.Topic, Failure: holdfast.Failure{Consumer: l.Failure.Consumer,
		Class: l.Failure.Class, Reason: l.Failure.Reason}}
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	for _, q := range b.s.queues {
		if q.name == l.Queue || q.wantsNotices(l.Message.Topic) {
			q.put(waiting{delivery: broker.Delivery{Message: m.Clone(), TxID: l.TxID, Group: l.Group, Notice: n}})
		}
	}
	return nil
}

// wantsNotices reports whether the queue gets the compensation notices of a topic.
func (q *queue) wantsNotices(topic string) bool {
	named := func(pattern string) bool {
		of, ok := strings.CutSuffix(pattern, holdfast.CompensatedSuffix)
		return ok && matches(of, topic)
	}
	return q.sub != nil && (slices.ContainsFunc(q.sub.Topics, named) ||
		slices.ContainsFunc(q.sub.Notices, func(pattern string) bool { return matches(pattern, topic) }))
}
