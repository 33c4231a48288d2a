package consumer

import (
	"context"
	"time"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// giveUp asks Subscription.GiveUp about a delivery that is not tried any more. If
// nobody takes care of it, it is a dead letter.
func (c *Consumer) giveUp(w *Work) {
	if c.O.GiveUp == nil {
		c.bury(w)
		return
	}
	taken, err := c.askGiveUp(w)
	switch {
	case err == nil && taken:
		c.Log.Warn("a message was given up, and taken care of", "message", w.d.Message.ID, "topic", w.d.Message.Topic,
			"attempts", w.a.Failed+w.a.Lost, "class", w.Class, "error", w.Reason)
		c.succeed(w) // an operator may wait for it
	case err == nil:
		c.bury(w)
	case c.Handlers.Err() != nil:
		c.GiveBack(w)
	default:
		c.unpublished(w, "that a message was given up", err)
	}
}

func (c *Consumer) askGiveUp(w *Work) (taken bool, err error) {
	ctx, cancel := context.WithTimeout(c.Handlers, c.O.HandlerTimeout)
	defer cancel()
	d := w.d
	d.Message = d.Message.Clone()
	d.Attempt = w.a.Failed + w.a.Lost
	f := holdfast.Failure{Consumer: c.O.Name, Class: w.Class, Reason: wire.Clip(w.Reason, wire.MaxReason),
		Attempts: w.a.Failed + w.a.Lost,
		At:       time.Now().UTC(), Log: w.log, Redelivery: w.a.Redelivery}
	err = link.Protect(func() (err error) {
		taken, err = c.O.GiveUp(ctx, d, f)
		return err
	})
	return taken, err
}
