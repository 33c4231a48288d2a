package barrier

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/fault"
)

const insertInbox = `INSERT INTO holdfast_inbox (consumer, message_id) VALUES ($1, $2) ON CONFLICT (consumer, message_id) DO NOTHING`

// Once inserts the inbox row (consumer, messageID) in the caller's own
// transaction, before its other statements. first is false for a repeated
// delivery, whose effect is committed: the caller must do nothing. It waits for
// another delivery of the same message that is in work.
func Once(ctx context.Context, tx *gorm.DB, consumer, messageID string) (first bool, err error) {
	if err := cmp.Or(checkTx(tx), checkDelivery(consumer, messageID)); err != nil {
		return false, err
	}
	n, err := exec(ctx, tx.Statement.ConnPool, insertInbox, consumer, messageID)
	if err != nil {
		return false, explain(tx, inboxRow(consumer, messageID), err)
	}
	return n == 1, nil
}

// Consume runs handle in one transaction with the inbox row (consumer,
// messageID), and commits it. repeated means that the effect of this message is
// committed already: nothing was run.
//
// After an error, also one of COMMIT, the delivery may be repeated: Consume
// finds out. A panic is rolled back and returned as [holdfast.PanicError].
// handle must not end tx, and should end when ctx is done.
func Consume(ctx context.Context, db *gorm.DB, consumer, messageID string, handle func(ctx context.Context, tx *gorm.DB) error) (repeated bool, err error) {
	if err := cmp.Or(checkDB(db), checkDelivery(consumer, messageID)); err != nil {
		return false, err
	}
	t, err := begin(ctx, db, nil)
	if err != nil {
		return false, explain(db, "begin a transaction for message "+messageID, err)
	}
	n, err := exec(t.ctx, t.pool, insertInbox, consumer, messageID)
	if err != nil {
		t.rollback()
		return false, explain(db, inboxRow(consumer, messageID), err)
	}
	if n == 0 {
		t.rollback()
		return true, nil
	}
	err = t.call(func() error { return handle(t.ctx, t.gorm(db)) })
	if err == nil {
		err = t.ctx.Err()
	}
	if err != nil {
		if !t.rollback() {
			err = fmt.Errorf("%w: %w", errEnded, err)
		}
		return false, err
	}
	if err := t.commit(); err != nil {
		if errors.Is(err, sql.ErrTxDone) && t.ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", errEnded, err)
		}
		return false, explain(db, "COMMIT for message "+messageID, err)
	}
	fault.Point(fault.ConsumeAfterCommit)
	return false, nil
}

func inboxRow(consumer, messageID string) string {
	return "insert the inbox row of message " + messageID + " for consumer " + consumer
}

func checkDelivery(consumer, messageID string) error {
	if err := holdfast.ValidateName("consumer", consumer); err != nil {
		return err
	}
	if messageID == "" || len(messageID) > 1000 || !utf8.ValidString(messageID) || strings.ContainsRune(messageID, 0) {
		return fmt.Errorf("%w: the message's ID %.100q must be text of 1 to 1000 bytes", holdfast.ErrInvalid, messageID)
	}
	return nil
}
