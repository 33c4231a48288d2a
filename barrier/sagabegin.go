package barrier

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
)

// A begin row is the do row of the step without a name, which no step has.
const selectBegin = `SELECT result FROM holdfast_steps WHERE owner = $1 AND step = '' AND op = 'do'`

// beginRecord is what the result column of a begin row holds, in JSON.
type beginRecord struct {
	holdfast.SagaStart
	Content string `json:"content"`
}

// BeginSaga keeps what a saga in the Express lane was started with, in its begin row:
// no workflow's history has it. tx is a transaction, such as that of the saga's first step,
// or a database. content is a digest of the state: a row that another content has is a
// permanent [holdfast.ErrDuplicate], and the key is somebody else's. The same once more is
// no error.
func BeginSaga(ctx context.Context, tx *gorm.DB, owner, content string, s holdfast.SagaStart) error {
	row := StepRow{Owner: owner, Op: StepDo}
	if err := cmp.Or(checkText("the saga's ID", owner, 1000), s.Validate()); err != nil {
		return err
	}
	stored, err := json.Marshal(beginRecord{SagaStart: s, Content: content})
	if err != nil {
		return fmt.Errorf("%w: encode the begin row of saga %s: %w", holdfast.ErrInvalid, owner, err)
	}
	pool := tx.Statement.ConnPool
	n, err := exec(ctx, pool, insertStepRow, owner, row.Step, string(row.Op), stored)
	if err != nil {
		return explain(tx, "insert the begin row of saga "+owner, err)
	}
	if n == 1 {
		return nil
	}
	found, err := readBegin(ctx, tx, owner)
	if err != nil && !errors.Is(err, holdfast.ErrNotFound) { // gone by retention
		return err
	}
	return StepClaim{Content: content}.check(row, StepClaim{Content: found.Content})
}

// BegunSaga is what a saga in the Express lane was started with. [holdfast.ErrNotFound]:
// it has no begin row.
func BegunSaga(ctx context.Context, db *gorm.DB, owner string) (holdfast.SagaStart, error) {
	found, err := readBegin(ctx, db, owner)
	return found.SagaStart, err
}

func readBegin(ctx context.Context, db *gorm.DB, owner string) (r beginRecord, err error) {
	var stored []byte
	err = plain(db.Statement.ConnPool).QueryRowContext(ctx, selectBegin, owner).Scan(&stored)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return r, fmt.Errorf("%w: saga %s has no begin row", holdfast.ErrNotFound, owner)
	case err != nil:
		return r, explain(db, "read the begin row of saga "+owner, err)
	}
	if err = json.Unmarshal(stored, &r); err == nil {
		err = r.Validate()
	}
	if err != nil {
		return r, holdfast.Permanent(fmt.Errorf("%w: the begin row of saga %s cannot be read: %w: was it changed by hand?",
			holdfast.ErrMalformed, owner, err))
	}
	return r, nil
}
