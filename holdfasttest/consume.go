package holdfasttest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/worker"
)

// Consume adds a consumer. Where it has no DB, it is the kit's. Failing tries
// follow each other without pauses. With what it gives up, its policy's will is
// done; [Kit.DeadLetter] says what became of it.
func (k *Kit) Consume(c worker.Consumer) {
	k.t.Helper()
	if c.DB == nil {
		c.DB = k.o.DB
	}
	if c.Name == "" || len(c.Topics) == 0 || (c.Handle == nil) == (c.HandleAtLeastOnce == nil) {
		k.t.Fatalf("consumer %q needs a Name, Topics, and one of Handle and HandleAtLeastOnce", c.Name)
	}
	for _, topic := range c.Topics {
		if err := holdfast.ValidatePattern(topic); err != nil {
			k.t.Fatalf("consumer %q: %v", c.Name, err)
		}
	}
	if c.Undo != nil && c.Handle == nil {
		k.t.Fatalf("consumer %q: Undo needs Handle, whose inbox row says whether there is something to undo", c.Name)
	}
	k.name(c.Name)
	k.consumes[c.Name] = true
	var notices []string
	if c.Undo != nil {
		notices = c.Topics
	}
	k.broker.Subscribe(broker.Subscription{Name: c.Name, Topics: c.Topics,
		Notices: notices, Tries: c.Tries, Ladder: c.Ladder,
		HandlerTimeout: c.Timeout, Policy: c.DeadLetters,
		Handle: func(ctx context.Context, d broker.Delivery) error { return consumer(c).take(ctx, d) }})
}

// consumer does with a delivery what a worker's does.
type consumer worker.Consumer

func (c consumer) take(ctx context.Context, d broker.Delivery) error {
	named := slices.ContainsFunc(c.Topics, func(t string) bool { return strings.HasSuffix(t, holdfast.CompensatedSuffix) })
	gaveUp := d.Notice != nil && c.Handle != nil && d.Notice.Failure.Consumer == c.Name // a copy may still come
	switch {
	case d.Notice == nil:
	case c.Undo != nil || gaveUp && !named:
		return c.undo(ctx, d)
	case !named:
		return nil
	}
	if c.HandleAtLeastOnce != nil {
		return c.HandleAtLeastOnce(ctx, d.Message)
	}
	_, err := barrier.Consume(ctx, c.DB, c.Name, d.Message.ID, func(ctx context.Context, tx *gorm.DB) error {
		if gaveUp {
			if _, err := barrier.Once(ctx, tx, c.Name, d.Notice.Of); err != nil {
				return err
			}
		}
		return c.Handle(ctx, tx, d.Message)
	})
	return err
}

// undo undoes what the consumer did for the message of a compensation notice; what
// it has not done yet, it never will.
func (c consumer) undo(ctx context.Context, d broker.Delivery) error {
	m := d.Message.Clone()
	m.ID, m.Topic = d.Notice.Of, d.Notice.Topic
	_, err := barrier.Undo(ctx, c.DB, c.Name, d.Notice.Of, d.Message.ID, func(ctx context.Context, tx *gorm.DB) error {
		if c.Undo == nil {
			return holdfast.Permanent(fmt.Errorf("message %s was compensated, "+
				"but consumer %s has handled a copy of it, and has no Undo", m.ID, c.Name))
		}
		return c.Undo(ctx, tx, m, d.Notice.Failure)
	})
	return err
}
