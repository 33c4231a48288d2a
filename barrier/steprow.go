package barrier

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/brief"
)

// Statements on the rows of a saga's step. They are plain SQL, so that the tests
// of sagas can run them in a database without a server.
const (
	insertedStep  = ` (owner, step, op, result) VALUES ($1, $2, $3, $4) ON CONFLICT (owner, step, op) DO NOTHING`
	insertStepRow = `INSERT INTO ` + stepsTable + insertedStep
	stepsTable    = `holdfast_steps`
	stepRowOf     = `owner = $1 AND step = $2 AND op = $3`
	setStepResult = ` SET result = $4 WHERE ` + stepRowOf
	changeStepRow = `UPDATE ` + stepsTable + setStepResult + ` AND result = $5`
	selectStepRow = `SELECT d.result, u.op, u.result FROM holdfast_steps d
LEFT JOIN holdfast_steps u ON u.owner = d.owner AND u.step = d.step AND u.op = 'undo'
WHERE d.owner = $1 AND d.step = $2 AND d.op = $3`
)

// errRowChanged means that a row is not what it was when it was read.
var errRowChanged = errors.New("the step's row has changed")

// stepRecord is what the result column of a step row holds, in JSON. An empty
// column of a do row: done, without a result.
type stepRecord struct {
	Outcome StepOutcome     `json:"outcome,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Reason  string          `json:"reason,omitempty"`
	Given   json.RawMessage `json:"given,omitempty"` // what the Do was given, for the Undo
	StepClaim
	stored []byte // as it was read
}

// stepUndone is the outcome in an undo row where its own do row does not tell that
// the Undo was run, or where it has a result.
const stepUndone StepOutcome = "undone"

// result is the answer to who asks about the step; undone is its undo row.
func (r stepRecord) result(undone *stepRecord) StepResult {
	switch {
	case undone != nil:
		return StepResult{Outcome: StepBlocked, Reason: undone.Reason, Repeated: true}
	case r.Outcome == StepDone:
		return StepResult{Outcome: StepDone, Result: r.Result, Repeated: true}
	}
	return StepResult{Outcome: r.Outcome, Reason: r.Reason, Repeated: true}
}

// encode keeps the result's bytes as they are.
func encode(r stepRecord) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		panic(err) // the result was checked
	}
	return bytes.TrimSpace(b.Bytes())
}

func decodeRecord(row StepRow, stored []byte) (stepRecord, error) {
	r := stepRecord{stored: stored}
	if len(stored) == 0 {
		r.Outcome = StepDone
		return r, nil
	}
	err := json.Unmarshal(stored, &r)
	if err == nil && row.Op == StepDo && r.Outcome != StepDone && r.Outcome != StepRefused && r.Outcome != StepBlocked {
		err = fmt.Errorf("its outcome is %.100q", r.Outcome)
	}
	if err != nil {
		return r, holdfast.Permanent(fmt.Errorf("%w: the row of %s cannot be read: %w: was it changed by hand?",
			holdfast.ErrMalformed, row, err))
	}
	return r, nil
}

// checkResult returns the result as it is stored.
func checkResult(row StepRow, result []byte) ([]byte, error) {
	if len(result) == 0 {
		return nil, nil
	}
	if len(result) > MaxResult {
		return nil, holdfast.Permanent(fmt.Errorf("%w: the result of %s has %d bytes, the limit is %d: "+
			"store large data elsewhere and answer with a reference", holdfast.ErrTooLarge, row, len(result), MaxResult))
	}
	var b bytes.Buffer
	if err := json.Compact(&b, result); err != nil {
		return nil, holdfast.Permanent(fmt.Errorf("%w: the result of %s is no JSON: %w", holdfast.ErrInvalid, row, err))
	}
	return b.Bytes(), nil
}

// maxReason limits the reasons in step rows, in bytes.
const maxReason = 4 << 10

func shorten(reason string) string { return brief.Text(strings.ToValidUTF8(reason, ""), maxReason) }

// stepRow is the statement that inserts a step row.
func stepRow(row StepRow, stored []byte) *statement {
	return &statement{query: insertStepRow, args: []any{row.Owner, row.Step, string(row.Op), stored},
		table: stepsTable, mine: stepRowOf, keys: 3}
}

// insertRow inserts a row, unless it is there. It waits for a transaction that
// has inserted it and has not ended.
func insertRow(ctx context.Context, db *gorm.DB, pool gorm.ConnPool,
	insert *statement, row StepRow) (first bool, err error) {
	n, err := insert.exec(ctx, pool)
	if err != nil {
		return false, explain(db, "insert the row of "+row.String(), err)
	}
	return n == 1, nil
}

// setResult writes the result into a row that this transaction has inserted or
// taken over.
func setResult(t *transaction, db *gorm.DB, row StepRow, stored []byte) error {
	if err := t.free(); err != nil {
		return err
	}
	n, err := exec(t.ctx, t.pool, "UPDATE "+t.first.table+setStepResult, row.Owner, row.Step, string(row.Op), stored)
	if err == nil && n != 1 {
		err = errEnded // by SQL of the caller's
	}
	if err != nil {
		return explain(db, "keep the result of "+row.String(), err)
	}
	return nil
}

// changeRow gives a row another content, if it still has the old one. It waits
// for a transaction that has changed it and has not ended.
func changeRow(ctx context.Context, db *gorm.DB, pool gorm.ConnPool, row StepRow, old, stored []byte) error {
	n, err := exec(ctx, pool, changeStepRow, row.Owner, row.Step, string(row.Op), stored, old)
	if err != nil {
		return explain(db, "change the row of "+row.String(), err)
	}
	if n == 0 {
		return errRowChanged
	}
	return nil
}

// readRows reads a do row, and the undo row of the same step, nil if there is
// none. It must be a statement after the one that waited for the row.
func readRows(ctx context.Context, db *gorm.DB, pool gorm.ConnPool,
	do StepRow) (found stepRecord, undone *stepRecord, err error) {
	var stored, undo []byte
	var op sql.NullString
	err = plain(pool).QueryRowContext(ctx, selectStepRow, do.Owner, do.Step, string(do.Op)).Scan(&stored, &op, &undo)
	if errors.Is(err, sql.ErrNoRows) {
		return found, nil, errRowChanged // deleted by retention
	}
	if err != nil {
		return found, nil, explain(db, "read the row of "+do.String(), err)
	}
	if found, err = decodeRecord(do, stored); err != nil || !op.Valid {
		return found, nil, err
	}
	r, err := decodeRecord(StepRow{Owner: do.Owner, Step: do.Step, Op: StepUndo}, undo)
	return found, &r, err
}

// StepClaim says whom a step row is for, beyond its owner and step. An empty field is
// compared with nothing: earlier versions kept none.
type StepClaim struct {
	// Content is a digest of what the saga was started with. The same key may have been
	// used for something else, after Temporal had forgotten the first.
	Content string `json:"content,omitempty"`
	// By is the topic on which the participant does the step. Somebody may ask another
	// participant of the same database to do it.
	By string `json:"by,omitempty"`
}

// errOthers means that the step's row is for somebody else.
var errOthers = errors.New("the step's row is for somebody else")

// check says whether the row that was found is for somebody else.
func (c StepClaim) check(row StepRow, found StepClaim) error {
	switch {
	case c.Content != "" && found.Content != "" && c.Content != found.Content:
		return holdfast.Permanent(fmt.Errorf("%w: %w: %s was done for a start of this key with other content "+
			"(digest %.12s, now %.12s): use a new key for new work",
			holdfast.ErrDuplicate, errOthers, row, found.Content, c.Content))
	case c.By != "" && found.By != "" && c.By != found.By:
		return holdfast.Permanent(fmt.Errorf("%w: %w: %s was done by the participant of topic %.100q, "+
			"and %.100q was asked now: who publishes calls to the first?",
			holdfast.ErrDuplicate, errOthers, row, found.By, c.By))
	}
	return nil
}
