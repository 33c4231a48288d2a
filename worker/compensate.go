package worker

import (
	"context"
	"fmt"
	"strings"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
)

// Compensation undoes what a message meant, with tx, which is committed together
// with the row that makes it happen once. f says whose failure it is about.
type Compensation func(ctx context.Context, tx *gorm.DB, m holdfast.Message, f holdfast.Failure) error

// Compensate registers do for the group's messages of topic: it undoes what the
// local transaction did, where a consumer gives such a message up and its policy
// or an operator asks for it. Once per message, however often it is asked for.
// After it, a compensation notice is published, for the consumers of the topic that
// have an Undo, and for those that name topic + ".compensated" among their topics.
//
// An error is tried again with growing pauses; after ten attempts, or if it is
// [holdfast.Permanent], the compensation waits for an operator. Call it before
// Run.
func (w *Worker) Compensate(topic string, do Compensation) {
	switch {
	case topic == "" || do == nil:
		w.problem(fmt.Errorf("%w: Compensate needs a topic and a function", holdfast.ErrInvalid))
	case strings.ContainsAny(topic, "*#"):
		w.problem(fmt.Errorf("%w: Compensate %q: name one topic; wildcards are for consumers", holdfast.ErrInvalid, topic))
	case w.compensations[topic] != nil:
		w.problem(fmt.Errorf("%w: topic %s has two Compensate functions", holdfast.ErrInvalid, topic))
	default:
		if err := (holdfast.Message{Topic: topic}).Validate(); err != nil {
			w.problem(fmt.Errorf("Compensate %q: %w: no message has such a topic", topic, err))
		}
		w.compensations[topic] = do
	}
}

// TypedCompensation turns a function on values into a [Compensation] of messages
// of topic t. A body that does not decode is a permanent error.
func TypedCompensation[T any](t holdfast.Topic[T],
	do func(ctx context.Context, tx *gorm.DB, v T, m holdfast.Message, f holdfast.Failure) error) Compensation {
	return func(ctx context.Context, tx *gorm.DB, m holdfast.Message, f holdfast.Failure) error {
		v, err := t.Decode(m)
		if err != nil {
			return err
		}
		return do(ctx, tx, v, m, f)
	}
}

// undoes reports whether a compensation notice is to be acted on by undo: the
// consumer has an Undo, or is to be blocked and does not take notices itself.
func (c Consumer) undoes(n *broker.Notice) bool {
	return c.Undo != nil || c.blockedBy(n) && !c.wantsNotices()
}

// blockedBy reports whether a notice is about a message that this consumer gave
// up, of which a copy may still come.
func (c Consumer) blockedBy(n *broker.Notice) bool {
	return n != nil && c.Handle != nil && n.Failure.Consumer == c.Name
}

// undo takes a compensation notice: what this consumer did for the message is
// undone, and what it has not done yet, it never will. Where it has handled a
// message that it gave up as well, and has no Undo, somebody has to know: the
// notice becomes a dead letter.
func (w *Worker) undo(ctx context.Context, c Consumer, d broker.Delivery) error {
	m := d.Message.Clone()
	m.ID, m.Topic = d.Notice.Of, d.Notice.Topic
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
	w.o.Logger.Debug("compensation notice", "consumer", c.Name, "message", m.ID, "result", result)
	return nil
}

// wantsNotices reports whether a consumer without Undo has asked for
// compensation notices by name, and not only by a wildcard that happens to match
// their topics.
func (c Consumer) wantsNotices() bool {
	for _, topic := range c.Topics {
		if strings.HasSuffix(topic, holdfast.CompensatedSuffix) {
			return true
		}
	}
	return false
}

// notices are the topics whose compensation notices the consumer's queue gets, beside
// those that it names among its topics.
func (c Consumer) notices() []string {
	if c.Undo == nil {
		return nil
	}
	return c.Topics
}
