package barrier

import (
	"cmp"
	"context"
	"fmt"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// UndoResult says what [Undo] did. It is empty beside an error.
type UndoResult string

// The results.
const (
	// Undone: the consumer had processed the message, and the function ran.
	Undone UndoResult = "undone"
	// Blocked: the consumer had not processed the message, and never will:
	// [Consume] takes it for a repeated delivery from now on.
	Blocked UndoResult = "blocked"
	// Repeated: an earlier delivery of this notice is committed: nothing was run.
	Repeated UndoResult = "repeated"
)

// Undo acts, for one consumer, on a compensation notice about a message. If the
// consumer has processed the message, undo is run, once however often the notice
// is delivered; if not, the message is blocked from being processed later. It
// waits for a delivery of the message that is in work, and follows how that one
// ends. All is one transaction, which Undo commits.
//
// A message whose inbox row was deleted by retention counts as not processed.
//
// All notices about one message must have the same noticeID, which is not a
// message's: under another one the undo would run again, also of a message that
// was only blocked.
//
// After an error, also one of COMMIT, the notice may be delivered again: Undo
// finds out. A panic is rolled back and returned as [holdfast.PanicError]. undo
// must not end tx, and should end when ctx is done. db must not be in a
// transaction.
func Undo(ctx context.Context, db *gorm.DB, consumer, messageID, noticeID string,
	undo func(ctx context.Context, tx *gorm.DB) error) (UndoResult, error) {
	if err := cmp.Or(checkDB(db), checkDelivery(consumer, messageID),
		checkText("the notice's ID", noticeID, 1000)); err != nil {
		return "", err
	}
	if noticeID == messageID {
		return "", fmt.Errorf("%w: the compensation notice about message %s has that message's ID: give it one of its own",
			holdfast.ErrInvalid, messageID)
	}
	var result UndoResult
	notice := inboxInsert(consumer, noticeID)
	err := commitOnce(ctx, db, "compensation notice "+noticeID, notice, func(t *transaction) (bool, error) {
		first, err := insertFirst(t, db, notice, consumer, noticeID)
		if err != nil {
			return false, err
		}
		if !first {
			result = Repeated
			return false, nil
		}
		// The row that a handler inserts before its effect. Found: there is one.
		blocked, err := insertFirst(t, db, inboxInsert(consumer, messageID), consumer, messageID)
		if err != nil {
			return false, err
		}
		if blocked {
			result = Blocked
			return true, nil
		}
		result = Undone
		return true, t.after(db, func() error { return undo(t.ctx, t.gorm(db)) })
	})
	if err != nil {
		return "", err
	}
	if result != Repeated {
		fault.Point(fault.ConsumeAfterCommit)
	}
	return result, nil
}
