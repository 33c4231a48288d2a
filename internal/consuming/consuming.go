// Package consuming is what a consumer does with a delivery, for worker and holdfasttest
// alike: its effect happens once, and compensation notices undo it.
package consuming

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
)

// Consumer is what handling needs of worker.Consumer: its fields have the same meaning.
type Consumer struct {
	Name              string
	Topics            []string
	DB                *gorm.DB
	Handle            Handle
	HandleAtLeastOnce func(ctx context.Context, m holdfast.Message) error
	Undo              func(ctx context.Context, tx *gorm.DB, m holdfast.Message, f holdfast.Failure) error
	Logger            *slog.Logger
}

// Take makes the effect of a delivery happen once.
func (c *Consumer) Take(ctx context.Context, d broker.Delivery) error {
	switch {
	case d.Notice == nil:
	case c.Undo != nil || c.blockedBy(d.Notice) && !c.wantsNotices():
		return c.undo(ctx, d)
	case !c.wantsNotices():
		c.Logger.Debug("compensation notice ignored: the consumer has no Undo", "consumer", c.Name, "message", d.Notice.Of)
		return nil
	}
	if c.HandleAtLeastOnce != nil {
		return broker.Excuse(c.HandleAtLeastOnce(ctx, d.Message))
	}
	repeated, err := barrier.Consume(ctx, c.DB, c.Name, d.Message.ID, func(ctx context.Context, tx *gorm.DB) error {
		if c.blockedBy(d.Notice) {
			if _, err := barrier.Once(ctx, tx, c.Name, d.Notice.Of); err != nil {
				return err
			}
		}
		return c.Handle(ctx, tx, d.Message)
	})
	if repeated {
		c.Logger.Debug("delivery repeated, no effect", "consumer", c.Name, "message", d.Message.ID)
	}
	return broker.Excuse(err)
}

// blockedBy reports whether a notice is about a message that this consumer gave
// up, of which a copy may still come.
func (c *Consumer) blockedBy(n *broker.Notice) bool {
	return n != nil && c.Handle != nil && n.Failure.Consumer == c.Name
}

// wantsNotices reports whether the consumer has asked for compensation notices by name, and
// not only by a wildcard that happens to match their topics.
func (c *Consumer) wantsNotices() bool {
	return slices.ContainsFunc(c.Topics, func(t string) bool { return strings.HasSuffix(t, holdfast.CompensatedSuffix) })
}

// undo takes a compensation notice: what this consumer did for the message is
// undone, and what it has not done yet, it never will. Where it has handled a
// message that it gave up as well, and has no Undo, somebody has to know: the
// notice becomes a dead letter.
func (c *Consumer) undo(ctx context.Context, d broker.Delivery) error {
	m := d.Message.Clone()
	m.ID, m.Topic = d.Notice.Of, d.Notice.Topic
	if known, ok := holdfast.DeliveryFrom(ctx); ok {
		known.Undo = true
		ctx = holdfast.WithDelivery(ctx, known)
	}
	result, err := barrier.Undo(ctx, c.DB, c.Name, d.Notice.Of, d.Message.ID,
		func(ctx context.Context, tx *gorm.DB) error {
			if c.Undo == nil {
				return holdfast.Permanent(fmt.Errorf("message %s was compensated, but consumer %s has handled a copy of it, "+
					"and has no Undo: undo by hand what it did and discard this notice, or give it an Undo and redeliver this notice",
					m.ID, c.Name))
			}
			return c.Undo(ctx, tx, m, d.Notice.Failure)
		})
	if err != nil {
		return broker.Excuse(err)
	}
	c.Logger.Debug("compensation notice", "consumer", c.Name, "message", m.ID, "result", result)
	return nil
}
