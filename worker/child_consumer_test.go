package worker_test

import (
	"context"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/worker"
)

// retryDelay is the delay of the ladder of consumers that fail and try again.
const retryDelay = 300 * time.Millisecond

// poison is the key of a message whose handler kills its process.
const poison = "poison"

// consumer is the child's consumer, with places to die in.
func (c childConfig) consumer(db *gorm.DB) worker.Consumer {
	if c.Undoes {
		return stock(db)
	}
	p := payments(db)
	if c.Fail || c.Poison {
		p.Tries, p.Ladder = 2, []time.Duration{retryDelay, retryDelay}
	}
	p.Handle = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		if c.Poison && m.Key == poison {
			fault.Kill()
		}
		err := take(ctx, tx, m)
		fault.Point(insideHandler)
		switch {
		case c.Refuse:
			return holdfast.Permanent(errOops)
		case c.Fail:
			return errOops
		}
		return err
	}
	return p
}

// stock is a consumer that can undo. What it did and what it undid are rows of
// effects, "stock-" and "unstock-" before the message's ID.
func stock(db *gorm.DB) worker.Consumer {
	write := func(tx *gorm.DB, what string, m holdfast.Message) error {
		return tx.Exec("INSERT INTO effects (message_id, topic) VALUES (?, ?)", what+m.ID, m.Topic).Error
	}
	c := payments(db)
	c.Name, c.Ladder = "stock", noLadder
	c.Handle = func(_ context.Context, tx *gorm.DB, m holdfast.Message) error { return write(tx, "stock-", m) }
	c.Undo = func(_ context.Context, tx *gorm.DB, m holdfast.Message, _ holdfast.Failure) error {
		err := write(tx, "unstock-", m)
		fault.Point(insideUndo)
		return err
	}
	return c
}
