package worker

import (
	"context"
	"fmt"
	"strings"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
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
