package steps

import (
	"context"
	"errors"
	"fmt"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

// compensation is the step of a message's compensation.
const compensation = "compensate"

// Compensate runs the registered function for a dead letter, once, if its message
// is what a transaction of the group committed: who can put a message with our
// headers into a queue is not believed.
func (s *Steps) Compensate(ctx context.Context, d activities.Compensation) (repeated bool, err error) {
	do := s.Compensations[d.Message.Topic]
	if do == nil {
		return false, fmt.Errorf("%w: no function to compensate topic %s in group %s: register one with Compensate, "+
			"then compensate again",
			holdfast.ErrNotFound, d.Message.Topic, s.Group)
	}
	if err := s.perhapsElsewhere(ctx, d); err != nil {
		return false, err
	}
	return barrier.Step(ctx, s.DB, barrier.StepRow{Owner: d.ID + deadletters.OtherContent(d.Copy), Step: compensation,
		Op: barrier.StepUndo}, func(ctx context.Context, tx *gorm.DB) error {
		if err := s.proven(ctx, tx, d); err != nil {
			return err
		}
		m, err := s.Box.OpenOwn(ctx, d.Message.Clone())
		if err != nil {
			return err
		}
		return do(ctx, tx, m, d.Failure)
	})
}

// perhapsElsewhere returns an error that another process is asked after, where
// processes of the group use different databases, and this one's does not know the
// transaction. Forced or not: the wrong database is no place for a compensation.
func (s *Steps) perhapsElsewhere(ctx context.Context, d activities.Compensation) error {
	if !s.Databases.Differ() || !othersAsked(ctx) || s.checkerOf([]holdfast.Message{d.Message}) != nil {
		return nil
	}
	if _, err := barrier.Read(ctx, s.DB, d.TxID); !errors.Is(err, holdfast.ErrNotFound) {
		return nil // it says itself what is wrong
	}
	return fmt.Errorf("this process's database (%s) does not know transaction %s, and other processes of group %s use "+
		"another one: they are asked", s.Databases.Own(), d.TxID, s.Group)
}

// proven returns nil if the outcome row, or the Checker of the topic, says that the
// message of a dead letter was committed.
func (s *Steps) proven(ctx context.Context, tx *gorm.DB, d activities.Compensation) error {
	if d.Unproven {
		return nil
	}
	err := s.askAbout(ctx, tx, d.DeadLetter)
	if errors.Is(err, holdfast.ErrNoOutcome) {
		return fmt.Errorf("%w; if you know that it has to be undone, compensate with force (--force)", err)
	}
	return err
}

func (s *Steps) askAbout(ctx context.Context, tx *gorm.DB, d holdfast.DeadLetter) error {
	no := func(why string) error {
		return holdfast.Permanent(fmt.Errorf("%w: message %s: %s", holdfast.ErrNoOutcome, d.ID, why))
	}
	switch {
	case d.Kept != "":
		return no("only its beginning is known here, which cannot be compared with what was committed")
	case d.Group != s.Group:
		return no("it is said to be of group " + d.Group + ", and this is " + s.Group)
	}
	if checker := s.checkerOf([]holdfast.Message{d.Message}); checker != nil && d.TxID != "" {
		r, err := s.ask(ctx, checker, d.Message)
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
