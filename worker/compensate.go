package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
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
func TypedCompensation[T any](t holdfast.Topic[T], do func(ctx context.Context, tx *gorm.DB, v T, m holdfast.Message, f holdfast.Failure) error) Compensation {
	return func(ctx context.Context, tx *gorm.DB, m holdfast.Message, f holdfast.Failure) error {
		v, err := t.Decode(m)
		if err != nil {
			return err
		}
		return do(ctx, tx, v, m, f)
	}
}

// compensation is the step of a message's compensation.
const compensation = "compensate"

// Compensate runs the registered function for a dead letter, once, if its message
// is what a transaction of the group committed: who can put a message with our
// headers into a queue is not believed.
func (s steps) Compensate(ctx context.Context, d activities.Compensation) (repeated bool, err error) {
	do := s.w.compensations[d.Message.Topic]
	if do == nil {
		return false, fmt.Errorf("%w: no function to compensate topic %s in group %s: register one with Compensate, then compensate again",
			holdfast.ErrNotFound, d.Message.Topic, s.w.o.Group)
	}
	if err := s.perhapsElsewhere(ctx, d); err != nil {
		return false, err
	}
	return barrier.Step(ctx, s.w.o.DB, barrier.StepRow{Owner: d.ID + deadletters.OtherContent(d.Copy), Step: compensation, Op: barrier.StepUndo}, func(ctx context.Context, tx *gorm.DB) error {
		if err := s.proven(ctx, tx, d); err != nil {
			return err
		}
		return do(ctx, tx, d.Message.Clone(), d.Failure)
	})
}

// perhapsElsewhere returns an error that another process is asked after, where
// processes of the group use different databases, and this one's does not know the
// transaction. Forced or not: the wrong database is no place for a compensation.
func (s steps) perhapsElsewhere(ctx context.Context, d activities.Compensation) error {
	if !s.w.stores.differ.Load() || !othersAsked(ctx) || s.w.checker([]holdfast.Message{d.Message}) != nil {
		return nil
	}
	if _, err := barrier.Read(ctx, s.w.o.DB, d.TxID); !errors.Is(err, holdfast.ErrNotFound) {
		return nil // it says itself what is wrong
	}
	return fmt.Errorf("this process's database (%s) does not know transaction %s, and other processes of group %s use another one: they are asked", s.w.stores.own, d.TxID, s.w.o.Group)
}

// proven returns nil if the outcome row, or the Checker of the topic, says that the
// message of a dead letter was committed.
func (s steps) proven(ctx context.Context, tx *gorm.DB, d activities.Compensation) error {
	if d.Unproven {
		return nil
	}
	err := s.askAbout(ctx, tx, d.DeadLetter)
	if errors.Is(err, holdfast.ErrNoOutcome) {
		return fmt.Errorf("%w; if you know that it has to be undone, compensate with force (--force)", err)
	}
	return err
}

func (s steps) askAbout(ctx context.Context, tx *gorm.DB, d holdfast.DeadLetter) error {
	no := func(why string) error {
		return holdfast.Permanent(fmt.Errorf("%w: message %s: %s", holdfast.ErrNoOutcome, d.ID, why))
	}
	switch {
	case d.Kept != "":
		return no("only its beginning is known here, which cannot be compared with what was committed")
	case d.Group != s.w.o.Group:
		return no("it is said to be of group " + d.Group + ", and this is " + s.w.o.Group)
	}
	if checker := s.w.checker([]holdfast.Message{d.Message}); checker != nil && d.TxID != "" {
		r, err := ask(ctx, checker, d.Message)
		switch {
		case err != nil:
			return err
		case r == holdfast.Unknown:
			return fmt.Errorf("the Checker of topic %s does not know yet what became of transaction %s", d.Message.Topic, d.TxID)
		case r != holdfast.Commit:
			return no("the Checker of topic " + d.Message.Topic + " answers " + r.String())
		}
		return nil
	}
	c := barrier.Claim{TxID: d.TxID, Group: d.Group, Message: d.Message}
	if d.Failure.Redelivery > 0 { // by Holdfast, and so is what it says of an edit
		c.OriginalSHA256 = d.Envelope.Headers[originalHash]
	}
	return barrier.Proven(ctx, tx, c)
}

// originalHash is the header of a message whose body an operator replaced.
const originalHash = "holdfast-original-sha256"

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
	result, err := barrier.Undo(ctx, c.DB, c.Name, d.Notice.Of, d.Message.ID, func(ctx context.Context, tx *gorm.DB) error {
		if c.Undo == nil {
			return holdfast.Permanent(fmt.Errorf("message %s was compensated, but consumer %s has handled a copy of it, and has no Undo: undo by hand what it did and discard this notice, or give it an Undo and redeliver this notice", m.ID, c.Name))
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
