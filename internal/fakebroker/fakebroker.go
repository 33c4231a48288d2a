// Package fakebroker is package broker without RabbitMQ: messages go through the
// memory of one process. What both promise is in package brokertest, which runs
// against both.
//
// Deliveries are made either by [Broker.Consume] and [Broker.ConsumeReplies], as
// with the real one, or by [Broker.Deliver], which makes all that are due and
// returns: then nothing happens by itself, and all in the same order each time.
//
// Failing handlers are tried as often as their subscription says, without pauses.
// There is no breaker. What waited for longer than its time to live becomes a dead
// letter when its queue is served; priorities are ignored, as RabbitMQ 3 does.
package fakebroker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
)

// Server is what its brokers share: the queues.
type Server struct {
	mu     sync.Mutex
	queues []*queue // in the order of their declaration
	halves map[string]holdfast.Half
	dead   []holdfast.DeadLetter
}

// NewServer returns a server without queues.
func NewServer() *Server { return &Server{halves: map[string]holdfast.Half{}} }

// Broker is one process's connection to a server.
type Broker struct {
	s            *Server
	prefix, name string
}

// Open returns the connection of the process of that name.
func (s *Server) Open(prefix, name string) *Broker { return &Broker{s: s, prefix: prefix, name: name} }

// Halves are the half messages that are not settled, by transaction.
func (s *Server) Halves() map[string]holdfast.Half {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]holdfast.Half, len(s.halves))
	for tx, h := range s.halves { // the order does not matter
		out[tx] = h
	}
	return out
}

// DeadLetters are the messages that were given up, the oldest first.
func (s *Server) DeadLetters() []holdfast.DeadLetter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.dead)
}

// PublishHalf stores a half message.
func (b *Broker) PublishHalf(_ context.Context, h holdfast.Half) error {
	if err := holdfast.ValidateName("group", h.Group); err != nil {
		return err
	}
	if h.Saga != nil {
		if err := h.Saga.Validate(); err != nil {
			return err
		}
	} else if err := holdfast.ValidateMessages(h.Messages, holdfast.MaxBody); err != nil {
		return err
	}
	h.Messages = holdfast.CloneMessages(h.Messages)
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.s.halves[h.TxID] = h
	return nil
}

// PublishHalves stores half messages, one after the other.
func (b *Broker) PublishHalves(ctxs []context.Context, hs []holdfast.Half, done func(i int, err error)) {
	for i, h := range hs {
		done(i, b.PublishHalf(ctxs[i], h))
	}
}

// Settle forgets the half message of a transaction.
func (b *Broker) Settle(_, txID string, _ holdfast.Resolution) {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	delete(b.s.halves, txID)
}

// Fits reports whether ms could be published.
func (b *Broker) Fits(_, _ string, ms []holdfast.Message) error {
	return holdfast.ValidateMessages(ms, holdfast.MaxBody)
}

// PublishMessages puts the messages of a committed transaction into the queues
// that are bound to their topics.
func (b *Broker) PublishMessages(_ context.Context, group, txID string, ms []holdfast.Message) error {
	if err := holdfast.ValidateName("group", group); err != nil {
		return err
	}
	if err := holdfast.ValidateMessages(ms, holdfast.MaxBody); err != nil {
		return err
	}
	var errs []error
	for i, m := range ms {
		if m.ID == "" {
			return fmt.Errorf("%w: message %d of transaction %s has no ID: call holdfast.NumberMessages",
				holdfast.ErrInvalid, i+1, txID)
		}
		d := broker.Delivery{Message: m.Clone(), TxID: txID, Group: group}
		if err := b.publish(d); err != nil && !m.AllowUnrouted {
			errs = append(errs, fmt.Errorf("message %s: %w", m.ID, err))
		}
	}
	return errors.Join(errs...)
}

// PublishSagaCall puts a saga's message into the queues of its participant.
func (b *Broker) PublishSagaCall(_ context.Context, call broker.SagaCall, m holdfast.Message) error {
	if err := m.Validate(); err != nil {
		return err
	}
	m = m.Clone()
	call.Topic = m.Topic
	m.ID = uuid.NewSHA1(uuid.NameSpaceURL, fmt.Appendf(nil, "%s\x00%s\x00%t", call.Saga, call.Step, call.Undo)).String()
	return b.publish(broker.Delivery{Message: m, Group: call.Group, Saga: &call})
}

// publish puts a copy of d into every queue that is bound to its topic.
func (b *Broker) publish(d broker.Delivery) error {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	now, routed := time.Now(), false
	d.Published = now.Truncate(time.Second) // as AMQP has it
	for _, q := range b.s.queues {
		if slices.ContainsFunc(q.topics, func(pattern string) bool { return matches(pattern, d.Message.Topic) }) {
			w := waiting{delivery: d}
			if d.Message.TTL > 0 {
				w.expires = now.Add(d.Message.TTL)
			}
			q.put(w)
			routed = true
		}
	}
	if !routed {
		return fmt.Errorf("%w: no consumer is bound to %s", holdfast.ErrUnroutable, d.Message.Topic)
	}
	return nil
}
