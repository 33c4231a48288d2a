package barrier_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
)

// What a function may send in its transaction: whether that ends it, and whether
// what it wrote before is then committed.
var endings = []struct {
	sql            []string
	ends, commits  bool
	severalAtATime bool // which prepared statements do not take
}{
	{sql: []string{"ROLLBACK"}, ends: true},
	{sql: []string{"/* x */ abort"}, ends: true},
	{sql: []string{"ROLLBACK", "BEGIN"}, ends: true},
	{sql: []string{"ROLLBACK; BEGIN"}, ends: true, severalAtATime: true},
	{sql: []string{"rollback and/**/Chain"}, ends: true},
	{sql: []string{"COMMIT"}, ends: true, commits: true},
	{sql: []string{"END"}, ends: true, commits: true},
	{sql: []string{"COMMIT", "BEGIN"}, ends: true, commits: true},
	{sql: []string{"COMMIT; BEGIN"}, ends: true, commits: true, severalAtATime: true},
	{sql: []string{"COMMIT AND CHAIN"}, ends: true, commits: true},
	{sql: []string{"COMMIT", "BEGIN", "SELECT * FROM nowhere"}, ends: true, commits: true},
	{sql: []string{"SAVEPOINT s", "INSERT INTO orders VALUES ('no')", "ROLLBACK TO SAVEPOINT s"}},
	{sql: []string{"SAVEPOINT s; INSERT INTO orders VALUES ('s;')"}, severalAtATime: true},
	{sql: []string{"INSERT INTO orders VALUES ('a supply chain; of goods')"}},
}

const toldSo = "leave COMMIT and ROLLBACK to Holdfast"

// eachEnding runs test with each ending: on a connection that is watched, and on
// those whose statements nobody sees.
func eachEnding(t *testing.T, test func(t *testing.T, db *gorm.DB, id string, ends, commits bool, end func(tx *gorm.DB))) {
	watched, url := migrated(t)
	other, _ := spied(t, watched)
	prepared := open(t, url, &gorm.Config{PrepareStmt: true})
	other.Logger = logger.Discard
	for pool, db := range map[string]*gorm.DB{"pgx": watched, "other, a pool of one's own": other, "prepared statements": prepared} {
		for i, e := range endings {
			if e.severalAtATime && db == prepared {
				continue
			}
			t.Run(pool+"/"+e.sql[0]+"/"+strconv.Itoa(i), func(t *testing.T) {
				test(t, db, pool[:2]+strconv.Itoa(i), e.ends, e.commits, func(tx *gorm.DB) {
					for _, s := range e.sql {
						_ = tx.Exec(s).Error
					}
				})
			})
		}
	}
}

// A local transaction that the function ended itself is what its outcome row says,
// whatever the function answers.
func TestRunEnded(t *testing.T) {
	eachEnding(t, func(t *testing.T, db *gorm.DB, id string, ends, commits bool, end func(*gorm.DB)) {
		for _, answer := range []error{nil, errBoom} {
			id := id + strconv.FormatBool(answer == nil)
			l := local(id)
			l.Fresh = true
			r := barrier.Run(t.Context(), db, l, func(_ context.Context, tx *gorm.DB, _ []*holdfast.Message) error {
				require.NoError(t, placeOrder(tx, id))
				end(tx)
				return answer
			})
			row, err := barrier.CheckBack(t.Context(), db, id, group, 0)
			require.NoError(t, err)
			require.Equal(t, orders(t, db, id) == 1, row.Resolution == holdfast.Commit, "delivered if and only if committed")
			switch {
			case ends && commits:
				require.Equal(t, holdfast.Commit, row.Resolution)
				require.ErrorIs(t, r.Err, holdfast.ErrUndecided)
				require.ErrorContains(t, r.Err, toldSo)
			case ends && answer == nil:
				require.Equal(t, holdfast.Rollback, r.Resolution)
				require.ErrorContains(t, r.Err, toldSo)
			case answer != nil:
				require.Equal(t, holdfast.Rollback, r.Resolution)
				require.ErrorIs(t, r.Err, answer)
			default:
				require.NoError(t, r.Err)
				require.Equal(t, holdfast.Commit, r.Resolution)
			}
		}
	})
}

// What happens once with a row happens as its row says: a function that rolled it
// back has failed, and one that committed it is not run again.
func TestOnceEnded(t *testing.T) {
	const owner = "saga/orders/order/"
	once := map[string]func(db *gorm.DB, id string, f func(tx *gorm.DB)) error{
		"Consume": func(db *gorm.DB, id string, f func(tx *gorm.DB)) error {
			_, err := barrier.Consume(t.Context(), db, "billing", id, func(_ context.Context, tx *gorm.DB) error { f(tx); return nil })
			return err
		},
		"Undo": func(db *gorm.DB, id string, f func(tx *gorm.DB)) error {
			if _, err := barrier.Consume(t.Context(), db, "undoing", id, func(context.Context, *gorm.DB) error { return nil }); err != nil {
				return err
			}
			_, err := barrier.Undo(t.Context(), db, "undoing", id, id+".notice", func(_ context.Context, tx *gorm.DB) error { f(tx); return nil })
			return err
		},
		"Step": func(db *gorm.DB, id string, f func(tx *gorm.DB)) error {
			_, err := barrier.Step(t.Context(), db, barrier.StepRow{Owner: id, Step: "compensate", Op: barrier.StepUndo},
				func(_ context.Context, tx *gorm.DB) error { f(tx); return nil })
			return err
		},
		"DoStep": func(db *gorm.DB, id string, f func(tx *gorm.DB)) error {
			_, err := barrier.DoStep(t.Context(), db, owner+id, "charge", false,
				func(_ context.Context, tx *gorm.DB) ([]byte, error) { f(tx); return []byte(`{"n":1}`), nil })
			return err
		},
		"UndoStep": func(db *gorm.DB, id string, f func(tx *gorm.DB)) error {
			_, err := barrier.DoStep(t.Context(), db, owner+id, "undoing", false, func(context.Context, *gorm.DB) ([]byte, error) { return nil, nil })
			if err != nil {
				return err
			}
			_, err = barrier.UndoStep(t.Context(), db, owner+id, "undoing", "why", func(_ context.Context, tx *gorm.DB, _ []byte) error { f(tx); return nil })
			return err
		},
	}
	eachEnding(t, func(t *testing.T, db *gorm.DB, id string, ends, commits bool, end func(*gorm.DB)) {
		for name, act := range once {
			effect := name + id
			err := act(db, effect, func(tx *gorm.DB) {
				require.NoError(t, placeOrder(tx, effect))
				end(tx)
			})
			require.Equal(t, ends, err != nil, "%s: %v", name, err)
			require.NoError(t, act(db, effect, func(tx *gorm.DB) { require.NoError(t, placeOrder(tx, effect)) }), name)
			require.Equal(t, 1, orders(t, db, effect), "%s: its effect happens once", name)
		}
	})
}
