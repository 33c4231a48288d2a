package barrier

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
)

// A begin row is the do row of the step without a name, which no step has. It says who
// drives a saga of the Express lane, so that two never do.
const (
	beginRow    = `owner = $1 AND step = '' AND op = 'do'`
	selectBegin = `SELECT result FROM holdfast_steps WHERE ` + beginRow
	forShare    = ` FOR SHARE`
	forUpdate   = ` FOR UPDATE`
	changeBegin = `UPDATE holdfast_steps SET result = $2 WHERE ` + beginRow
)

// endWait is how long the end of a saga waits for who is just taking it over.
const endWait = 5 * time.Second

// HolderWorkflow is the holder of a saga that its workflow drives.
const HolderWorkflow = "workflow"

// ErrNotHeld means that a saga is driven by somebody else, or by nobody any more.
var ErrNotHeld = errors.New("holdfast: the saga is driven by another")

// BegunSaga is what a saga's begin row keeps.
type BegunSaga struct {
	holdfast.SagaStart
	// Content is a digest of the state that it was started with.
	Content string `json:"content"`
	// Holder is who drives it: the ID of a start, or HolderWorkflow. Empty: nobody, it has
	// completed. Last is its state where it has, all that is known of it; also after it was
	// given a workflow, until that undoes it.
	Holder string          `json:"holder,omitempty"`
	Last   json.RawMessage `json:"last,omitempty"`
	// Ender is the start that has completed it.
	Ender string `json:"ender,omitempty"`
	// Taken is when the workflow was made the holder, by the clock of who did that.
	Taken time.Time `json:"taken,omitzero"`
}

// Started is what the saga was begun with: what the row has, or, where that keeps no state, now.
func (b *BegunSaga) Started(now holdfast.SagaStart) holdfast.SagaStart {
	if len(b.State) == 0 {
		return now
	}
	return b.SagaStart
}

// check checks what a start is to be driven by. A workflow has all of it itself.
func (b *BegunSaga) check() error {
	if b.Holder == HolderWorkflow {
		return nil
	}
	return b.Validate()
}

// checkBegin checks the begin row that is to be written of b.
func (b *BegunSaga) checkBegin(owner string) error {
	return cmp.Or(checkText("the saga's ID", owner, 1000), checkText("the saga's holder", b.Holder, 100), b.check())
}

// completed is what the begin row says once the saga has completed.
func (b BegunSaga) completed(last json.RawMessage) BegunSaga {
	b.Holder, b.Last, b.Ender = "", last, b.Holder
	return b
}

// BeginSaga inserts the begin row of a saga, which b.Holder drives from now on. tx is a
// transaction, such as that of the saga's first step, or a database. Where the row is there
// already, found is what it says; the error is ErrNotHeld if that is another holder, and a
// permanent [holdfast.ErrDuplicate] if the saga was started with another content.
func BeginSaga(ctx context.Context, tx *gorm.DB, owner string, b BegunSaga) (found BegunSaga, err error) {
	found, _, err = beginSaga(ctx, tx, owner, b)
	if err == nil && found.Holder != b.Holder {
		err = notHeld(owner)
	}
	return found, err
}

// beginSaga inserts the row where there is none, and says whether it has.
func beginSaga(ctx context.Context, tx *gorm.DB, owner string, b BegunSaga) (
	found BegunSaga, inserted bool, err error) {
	if err = b.checkBegin(owner); err != nil {
		return found, false, err
	}
	n, err := exec(ctx, tx.Statement.ConnPool, insertStepRow, owner, "", string(StepDo), b.encode())
	if err != nil {
		return found, false, explain(tx, "insert the begin row of saga "+owner, err)
	}
	if n == 1 {
		return b, true, nil
	}
	if found, err = readBegin(ctx, tx, "", owner); err != nil {
		return found, false, err
	}
	claim, theirs := StepClaim{Content: b.Content}, StepClaim{Content: found.Content}
	return found, false, claim.check(StepRow{Owner: owner, Op: StepDo}, theirs)
}

func notHeld(owner string) error { return fmt.Errorf("%w: %s", ErrNotHeld, owner) }

// HoldSaga keeps the saga's holder what it is until the transaction tx ends, and is ErrNotHeld
// where that is another one.
func HoldSaga(ctx context.Context, tx *gorm.DB, owner, holder string) error {
	found, err := readBegin(ctx, tx, forShare, owner)
	if errors.Is(err, holdfast.ErrNotFound) || err == nil && found.Holder != holder {
		err = notHeld(owner)
	}
	return err
}

// TakeSaga makes the workflow the one that drives a saga, once the step that is under way
// has ended: after it, nobody else begins one. from, if not empty, is the only start that it
// is taken from: ErrNotHeld, if another one has it. found is what the row says now, and took
// that this call has changed it: one that has completed stays so. Where there is no row, b
// makes it. It waits for a step that is under way, but no longer than wait.
func TakeSaga(ctx context.Context, db *gorm.DB, owner, from string, b BegunSaga, wait time.Duration) (
	found BegunSaga, took bool, err error) {
	b.Holder, b.Taken = HolderWorkflow, time.Now()
	if from == "" && insertBegun(ctx, db, owner, b, wait) {
		return b, true, nil
	}
	err = changingBegin(ctx, db, owner, wait, func(tx *gorm.DB) (err error) {
		if found, took, err = beginSaga(ctx, tx, owner, b); err != nil || took {
			return err
		}
		if found, err = readBegin(ctx, tx, forUpdate, owner); err != nil {
			return err
		}
		switch {
		case found.Holder == "", found.Holder == HolderWorkflow:
			return nil
		case from != "" && found.Holder != from:
			return notHeld(owner)
		}
		found.Holder, found.Taken, took = HolderWorkflow, b.Taken, true
		return changeBeginRow(ctx, tx, owner, found)
	})
	return found, took && err == nil, err
}

// insertBegun inserts the begin row of a saga that has none, by a statement of its own: that is the
// usual case, where a workflow drives the saga from the first. False: it may be there, or be inserted
// all the same.
func insertBegun(ctx context.Context, db *gorm.DB, owner string, b BegunSaga, wait time.Duration) bool {
	if checkDB(db) != nil || b.checkBegin(owner) != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	n, err := exec(ctx, db.Statement.ConnPool, insertStepRow, owner, "", string(StepDo), b.encode())
	return err == nil && n == 1
}

// ReopenSaga makes the workflow the one that says how a saga stands which has completed. undo
// says that it is to be undone: from then on no row says that it has completed. One that has
// no begin row, has not completed, or was started with other content stays as it is.
func ReopenSaga(ctx context.Context, db *gorm.DB, owner, content string, undo bool, wait time.Duration) error {
	return changingBegin(ctx, db, owner, wait, func(tx *gorm.DB) error {
		found, err := readBegin(ctx, tx, forUpdate, owner)
		switch {
		case errors.Is(err, holdfast.ErrNotFound):
			return nil
		case err != nil, found.Last == nil, found.Content != content:
			return err
		}
		if found.Holder = HolderWorkflow; undo {
			found.Last = nil
		}
		return changeBeginRow(ctx, tx, owner, found)
	})
}

// changingBegin runs f in a transaction, each of whose statements waits for others' locks no
// longer than wait.
func changingBegin(ctx context.Context, db *gorm.DB, owner string, wait time.Duration,
	f func(tx *gorm.DB) error) error {
	if err := checkDB(db); err != nil {
		return err
	}
	doing := "change who drives saga " + owner
	t, err := begin(ctx, db, &sql.TxOptions{Isolation: sql.LevelReadCommitted}, nil)
	if err != nil {
		return explain(db, doing+": BEGIN", err)
	}
	if _, err = exec(t.ctx, t.pool, setLockTimeout, lockTimeoutText(wait)); err != nil {
		err = explain(db, doing, err)
	} else {
		err = f(t.gorm(db))
	}
	if err != nil {
		t.rollback()
		if sqlState(err) == lockNotAvailable {
			err = fmt.Errorf("a step of saga %s is under way, and is waited for (%v this time): %w", owner, wait, err)
		}
		return err
	}
	if err := t.commit(); err != nil {
		return explain(db, doing+": COMMIT", err)
	}
	return nil
}

// EndSaga notes that a saga has completed, with all that is known of it; b is what it was
// begun with. ErrNotHeld: b.Holder drives it no more, and how it ends is up to who does.
func EndSaga(ctx context.Context, db *gorm.DB, owner string, b BegunSaga, last json.RawMessage) error {
	if err := checkDB(db); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, endWait)
	defer cancel()
	n, err := exec(ctx, db.Statement.ConnPool, changeBegin+` AND result = $3`, owner,
		b.completed(last).encode(), b.encode())
	switch {
	case err != nil:
		return explain(db, "note in its begin row that saga "+owner+" has completed", err)
	case n == 0:
		if _, err := ReadBegun(ctx, db, owner); err != nil {
			return err
		}
		return notHeld(owner)
	}
	return nil
}

// ReadBegun is what a saga's begin row says. [holdfast.ErrNotFound]: there is none.
func ReadBegun(ctx context.Context, db *gorm.DB, owner string) (BegunSaga, error) {
	return readBegin(ctx, db, "", owner)
}

func changeBeginRow(ctx context.Context, tx *gorm.DB, owner string, b BegunSaga) error {
	n, err := exec(ctx, tx.Statement.ConnPool, changeBegin, owner, b.encode())
	if err == nil && n == 0 {
		err = holdfast.ErrNotFound
	}
	if err != nil {
		return explain(tx, "change the begin row of saga "+owner, err)
	}
	return nil
}

func (b BegunSaga) encode() []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(b); err != nil {
		panic(err) // its state was checked
	}
	return bytes.TrimSpace(out.Bytes())
}

func readBegin(ctx context.Context, db *gorm.DB, lock, owner string) (b BegunSaga, err error) {
	var stored []byte
	if plainSQL(db) { // it has one connection, and no locks
		lock = ""
	}
	err = plain(db.Statement.ConnPool).QueryRowContext(ctx, selectBegin+lock, owner).Scan(&stored)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return b, fmt.Errorf("%w: saga %s has no begin row", holdfast.ErrNotFound, owner)
	case err != nil:
		return b, explain(db, "read the begin row of saga "+owner, err)
	}
	if err = json.Unmarshal(stored, &b); err == nil {
		err = b.check()
	}
	if err != nil {
		return b, holdfast.Permanent(fmt.Errorf("%w: the begin row of saga %s cannot be read: %w: was it changed by hand?",
			holdfast.ErrMalformed, owner, err))
	}
	return b, nil
}
