package barrier

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
)

// A begin row is the do row of the step without a name, which no step has. It says who
// drives a saga of the Express lane, so that two never do.
const (
	beginRow    = `owner = $1 AND step = '' AND op = 'do'`
	selectBegin = `SELECT result FROM holdfast_steps WHERE ` + beginRow
	holdBegin   = selectBegin + ` FOR SHARE`
	lockBegin   = selectBegin + ` FOR UPDATE`
	changeBegin = `UPDATE holdfast_steps SET result = $2 WHERE ` + beginRow
)

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
	// completed, and Last is its state then, all that is known of it.
	Holder string          `json:"holder,omitempty"`
	Last   json.RawMessage `json:"last,omitempty"`

	there bool // it was read, and not inserted just now
}

// BeginSaga inserts the begin row of a saga, whose holder the start b.Holder is from now on.
// tx is a transaction, such as that of the saga's first step, or a database. Where the row is
// there, found is what it says, and the error is ErrNotHeld, unless that is this very start;
// another content is a permanent [holdfast.ErrDuplicate].
func BeginSaga(ctx context.Context, tx *gorm.DB, owner string, b BegunSaga) (found BegunSaga, err error) {
	if err := cmp.Or(checkText("the saga's ID", owner, 1000), checkText("the saga's holder", b.Holder, 100), b.Validate()); err != nil {
		return found, err
	}
	n, err := exec(ctx, tx.Statement.ConnPool, insertStepRow, owner, "", string(StepDo), b.encode())
	if err != nil {
		return found, explain(tx, "insert the begin row of saga "+owner, err)
	}
	if n == 1 {
		return b, nil
	}
	if found, err = readBegin(ctx, tx, selectBegin, owner); err != nil {
		return found, err
	}
	if err := (StepClaim{Content: b.Content}).check(StepRow{Owner: owner, Op: StepDo}, StepClaim{Content: found.Content}); err != nil {
		return found, err
	}
	if found.Holder != b.Holder {
		err = fmt.Errorf("%w: %s", ErrNotHeld, owner)
	}
	return found, err
}

// HoldSaga keeps the saga's holder what it is until the transaction tx ends, and is ErrNotHeld
// where that is another one.
func HoldSaga(ctx context.Context, tx *gorm.DB, owner, holder string) error {
	found, err := readBegin(ctx, tx, holdBegin, owner)
	if errors.Is(err, holdfast.ErrNotFound) || err == nil && found.Holder != holder {
		err = fmt.Errorf("%w: %s", ErrNotHeld, owner)
	}
	return err
}

// TakeSaga makes the workflow the holder of a saga, once the step that is under way has
// ended: after it, nobody else begins one. from, if not empty, is the only start that it is
// taken from. found is what the row says now, and took that this call has changed it: where
// the saga has completed, nobody holds it, and nothing is changed. Where there is no row, b
// makes it. It waits for 5 s at most.
func TakeSaga(ctx context.Context, db *gorm.DB, owner, from string, b BegunSaga) (found BegunSaga, took bool, err error) {
	err = db.Transaction(func(tx *gorm.DB) error {
		if err := tx.Exec("SET LOCAL lock_timeout = '5s'").Error; err != nil {
			return err
		}
		b.Holder = HolderWorkflow
		found, err = BeginSaga(ctx, tx, owner, b)
		if err == nil && found.Last == nil && !found.there {
			took = true
		}
		if !errors.Is(err, ErrNotHeld) {
			return err
		}
		if found, err = readBegin(ctx, tx, lockBegin, owner); err != nil {
			return err
		}
		switch {
		case found.Holder == "", found.Holder == HolderWorkflow:
			return nil
		case from != "" && found.Holder != from:
			return fmt.Errorf("%w: %s", ErrNotHeld, owner)
		}
		found.Holder, took = HolderWorkflow, true
		return changeBeginRow(ctx, tx, owner, found)
	})
	return found, took, err
}

// EndSaga notes that a saga has completed, with all that is known of it. ErrNotHeld: holder
// drives it no more, and how it ends is up to who does.
func EndSaga(ctx context.Context, db *gorm.DB, owner, holder string, last json.RawMessage) error {
	return db.Transaction(func(tx *gorm.DB) error {
		found, err := readBegin(ctx, tx, lockBegin, owner)
		if err == nil && found.Holder != holder {
			err = fmt.Errorf("%w: %s", ErrNotHeld, owner)
		}
		if err != nil {
			return err
		}
		found.Holder, found.Last = "", last
		return changeBeginRow(ctx, tx, owner, found)
	})
}

// ReadBegun is what a saga's begin row says. [holdfast.ErrNotFound]: there is none.
func ReadBegun(ctx context.Context, db *gorm.DB, owner string) (BegunSaga, error) {
	return readBegin(ctx, db, selectBegin, owner)
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

func readBegin(ctx context.Context, db *gorm.DB, query, owner string) (b BegunSaga, err error) {
	var stored []byte
	err = plain(db.Statement.ConnPool).QueryRowContext(ctx, query, owner).Scan(&stored)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return b, fmt.Errorf("%w: saga %s has no begin row", holdfast.ErrNotFound, owner)
	case err != nil:
		return b, explain(db, "read the begin row of saga "+owner, err)
	}
	b.there = true
	if err = json.Unmarshal(stored, &b); err == nil {
		err = b.Validate()
	}
	if err != nil {
		return b, holdfast.Permanent(fmt.Errorf("%w: the begin row of saga %s cannot be read: %w: was it changed by hand?",
			holdfast.ErrMalformed, owner, err))
	}
	return b, nil
}
