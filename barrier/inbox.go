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

const insertInbox = `INSERT INTO holdfast_inbox (consumer, message_id) ` +
	`VALUES ($1, $2) ON CONFLICT (consumer, message_id) DO NOTHING`

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
func Consume(ctx context.Context, db *gorm.DB, consumer, messageID string,
	handle func(ctx context.Context, tx *gorm.DB) error) (repeated bool, err error) {
	if err := cmp.Or(checkDB(db), checkDelivery(consumer, messageID)); err != nil {
		return false, err
	}
	row := inboxInsert(consumer, messageID)
	err = commitOnce(ctx, db, "message "+messageID, row, func(t *transaction) (bool, error) {
		first, err := insertFirst(t, db, row, consumer, messageID)
		if err != nil {
			return false, err
		}
		if !first {
			repeated = true
			return false, nil
		}
		return true, t.after(db, func() error { return handle(t.ctx, t.gorm(db)) })
	})
	if err != nil {
		return false, err
	}
	if !repeated {
		fault.Point(fault.ConsumeAfterCommit)
	}
	return repeated, nil
}

// inboxInsert is the statement that inserts an inbox row.
func inboxInsert(consumer, messageID string) *statement {
	return &statement{query: insertInbox, args: []any{consumer, messageID},
		table: "holdfast_inbox", mine: "consumer = $1 AND message_id = $2", keys: 2}
}

// insertFirst inserts an inbox row, unless it is there.
func insertFirst(t *transaction, db *gorm.DB, row *statement, consumer, messageID string) (first bool, err error) {
	n, err := row.exec(t.ctx, t.pool)
	if err != nil {
		return false, explain(db, inboxRow(consumer, messageID), err)
	}
	return n == 1, nil
}

// commitOnce runs work in a transaction of its own: the rows that make it happen
// once, then the caller's function. It commits if work answers true, and rolls
// back if not, or after an error or a panic. subject says in errors what it is
// about; first is the statement that work begins with.
func commitOnce(ctx context.Context, db *gorm.DB, subject string,
	first *statement, work func(t *transaction) (commit bool, err error)) error {
	t, err := begin(ctx, db, nil, first)
	if err != nil {
		return explain(db, "begin a transaction for "+subject, err)
	}
	commit := false
	err = t.call(func() (err error) {
		commit, err = work(t)
		return err
	})
	if err == nil && !commit {
		t.rollback() // nothing was written
		return nil
	}
	if err == nil {
		err = t.ctx.Err() // COMMIT is not sent yet
	}
	if err != nil {
		if !t.rollback() {
			err = asEnded(err)
		}
		if errors.Is(err, errSwallowed) {
			err = fmt.Errorf("COMMIT for %s: %w", subject, err)
		}
		return err
	}
	if err := t.commit(); err != nil {
		if errors.Is(err, sql.ErrTxDone) && t.ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", errEnded, err)
		}
		return explain(db, "COMMIT for "+subject, err)
	}
	return nil
}

func inboxRow(consumer, messageID string) string {
	return "insert the inbox row of message " + messageID + " for consumer " + consumer
}

func checkDelivery(consumer, messageID string) error {
	if err := holdfast.ValidateName("consumer", consumer); err != nil {
		return err
	}
	return checkText("the message's ID", messageID, 1000)
}

// checkText refuses what PostgreSQL cannot store as text, and what is too long
// for an index.
func checkText(what, text string, limit int) error {
	if text == "" || len(text) > limit || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return fmt.Errorf("%w: %s %.100q must be text of 1 to %d bytes", holdfast.ErrInvalid, what, text, limit)
	}
	return nil
}
