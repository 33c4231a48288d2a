// Package barriertest says in tests what package barrier promises of every
// database that it takes: PostgreSQL, and the one in memory of the testing kit.
// What only several connections can do is not in it.
package barriertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
)

const (
	group = "orders"
	owner = "saga/orders/order/1"
)

// world is one test's database.
type world struct {
	*testing.T
	db *gorm.DB
}

// Run runs the suite. open gives each test an empty database with Holdfast's
// tables.
func Run(t *testing.T, open func(t *testing.T) *gorm.DB) {
	for name, test := range map[string]func(w world){
		"Do twice returns the first result":      doTwice,
		"Do without a result":                    withoutResult,
		"Do fails, and is run again":             doFails,
		"Do panics":                              doPanics,
		"a refusal is kept, its effect is not":   refused,
		"a refusal that does not count":          refusedAgain,
		"Undo gets the result, and acts once":    undoOnce,
		"Undo without Do blocks a late Do":       undoFirst,
		"Undo of a refusal":                      undoRefused,
		"Undo fails, and is run again":           undoFails,
		"a Do after its Undo":                    doAfterUndo,
		"steps and owners are apart":             apart,
		"results that are too large, or no JSON": badResults,
		"a local transaction":                    localTransaction,
		"a check-back before the commit":         checkBackFirst,
		"a check-back of many":                   checkBackMany,
		"a decision":                             decided,
		"an inbox row":                           inbox,
		"a compensation notice":                  notice,
		"a step of a dead letter":                step,
		"a cancelled context":                    cancelled,
	} {
		t.Run(name, func(t *testing.T) {
			w := world{t, open(t)}
			require.NoError(t, w.db.Exec("CREATE TABLE effects (what text)").Error)
			test(w)
		})
	}
}

var errNo = errors.New("no")

// effect writes one.
func effect(tx *gorm.DB, what string) error {
	return tx.Exec("INSERT INTO effects (what) VALUES (?)", what).Error
}

func (w world) effects(want ...string) {
	w.Helper()
	got := []string{}
	require.NoError(w, w.db.Raw("SELECT what FROM effects ORDER BY what").Scan(&got).Error)
	require.ElementsMatch(w, want, got)
}

// do runs a Do that writes an effect and ends with result and err.
func (w world) do(step string, again bool, result string, err error) (barrier.StepResult, error) {
	return barrier.DoStep(w.Context(), w.db, owner, step, again, func(_ context.Context, tx *gorm.DB) ([]byte, error) {
		require.NoError(w, effect(tx, "do "+step))
		return []byte(result), err
	})
}

// undo runs an Undo that writes an effect with the result that it gets.
func (w world) undo(step string, err error) (barrier.UndoResult, error) {
	return barrier.UndoStep(w.Context(), w.db, owner, step, "because",
		func(_ context.Context, tx *gorm.DB, result []byte) error {
			require.NoError(w, effect(tx, "undo "+step+" "+string(result)))
			return err
		})
}

func doTwice(w world) {
	r, err := w.do("a", false, `{"n": 1}`, nil)
	require.NoError(w, err)
	require.Equal(w, barrier.StepResult{Outcome: barrier.StepDone, Result: []byte(`{"n":1}`)}, r)
	r, err = w.do("a", false, `{"n":2}`, nil)
	require.NoError(w, err)
	require.Equal(w, barrier.StepResult{Outcome: barrier.StepDone, Result: []byte(`{"n":1}`), Repeated: true}, r)
	r, err = w.do("a", true, `{"n":3}`, nil)
	require.NoError(w, err)
	require.True(w, r.Repeated)
	w.effects("do a")
}

func withoutResult(w world) {
	for _, repeated := range []bool{false, true} {
		r, err := w.do("a", false, "", nil)
		require.NoError(w, err)
		require.Equal(w, barrier.StepDone, r.Outcome)
		require.Empty(w, r.Result)
		require.Equal(w, repeated, r.Repeated)
	}
	got, err := w.undo("a", nil)
	require.NoError(w, err)
	require.Equal(w, barrier.Undone, got)
	w.effects("do a", "undo a ")
}

func doFails(w world) {
	_, err := w.do("a", false, `1`, errNo)
	require.ErrorIs(w, err, errNo)
	w.effects()
	r, err := w.do("a", false, `2`, nil)
	require.NoError(w, err)
	require.Equal(w, []byte(`2`), r.Result)
	w.effects("do a")
}

func doPanics(w world) {
	_, err := barrier.DoStep(w.Context(), w.db, owner, "a", false, func(_ context.Context, tx *gorm.DB) ([]byte, error) {
		require.NoError(w, effect(tx, "do a"))
		panic("boom")
	})
	var panicked *holdfast.PanicError
	require.ErrorAs(w, err, &panicked)
	w.effects()
}

func refused(w world) {
	for _, repeated := range []bool{false, true} {
		r, err := w.do("a", false, `1`, &holdfast.RefusedError{Reason: "out of stock"})
		require.NoError(w, err)
		require.Equal(w, barrier.StepResult{Outcome: barrier.StepRefused, Reason: "out of stock", Repeated: repeated}, r)
	}
	w.effects()
}

func refusedAgain(w world) {
	_, err := w.do("a", false, ``, &holdfast.RefusedError{Reason: "out of stock"})
	require.NoError(w, err)
	r, err := w.do("a", true, ``, &holdfast.RefusedError{Reason: "still out of stock"})
	require.NoError(w, err)
	require.Equal(w, barrier.StepResult{Outcome: barrier.StepRefused, Reason: "still out of stock"}, r)
	_, err = w.do("a", true, ``, errNo)
	require.ErrorIs(w, err, errNo)
	r, err = w.do("a", false, ``, nil)
	require.NoError(w, err)
	require.Equal(w, barrier.StepRefused, r.Outcome, "a run that failed changes nothing")
	r, err = w.do("a", true, `1`, nil)
	require.NoError(w, err)
	require.Equal(w, barrier.StepResult{Outcome: barrier.StepDone, Result: []byte(`1`)}, r)
	w.effects("do a")
}

func undoOnce(w world) {
	_, err := w.do("a", false, `{"n":1}`, nil)
	require.NoError(w, err)
	for _, want := range []barrier.UndoResult{barrier.Undone, barrier.Repeated} {
		got, err := w.undo("a", nil)
		require.NoError(w, err)
		require.Equal(w, want, got)
	}
	w.effects("do a", `undo a {"n":1}`)
}

func undoFirst(w world) {
	for _, want := range []barrier.UndoResult{barrier.Blocked, barrier.Repeated} {
		got, err := w.undo("a", nil)
		require.NoError(w, err)
		require.Equal(w, want, got)
	}
	for _, again := range []bool{false, true} {
		r, err := w.do("a", again, `1`, nil)
		require.NoError(w, err)
		require.Equal(w, barrier.StepResult{Outcome: barrier.StepBlocked, Reason: "because", Repeated: true}, r)
	}
	w.effects()
}

func undoRefused(w world) {
	_, err := w.do("a", false, ``, &holdfast.RefusedError{Reason: "no"})
	require.NoError(w, err)
	got, err := w.undo("a", nil)
	require.NoError(w, err)
	require.Equal(w, barrier.Blocked, got)
	r, err := w.do("a", true, ``, nil)
	require.NoError(w, err)
	require.Equal(w, barrier.StepBlocked, r.Outcome)
	w.effects()
}

func undoFails(w world) {
	_, err := w.do("a", false, `1`, nil)
	require.NoError(w, err)
	_, err = w.undo("a", errNo)
	require.ErrorIs(w, err, errNo)
	w.effects("do a")
	got, err := w.undo("a", nil)
	require.NoError(w, err)
	require.Equal(w, barrier.Undone, got)
	w.effects("do a", "undo a 1")
}

func doAfterUndo(w world) {
	_, err := w.do("a", false, `1`, nil)
	require.NoError(w, err)
	_, err = w.undo("a", nil)
	require.NoError(w, err)
	r, err := w.do("a", false, `2`, nil)
	require.NoError(w, err)
	require.Equal(w, barrier.StepBlocked, r.Outcome)
	w.effects("do a", "undo a 1")
}

func apart(w world) {
	_, err := w.do("a", false, ``, nil)
	require.NoError(w, err)
	_, err = w.do("b", false, ``, nil)
	require.NoError(w, err)
	r, err := barrier.DoStep(w.Context(), w.db, owner+"0", "a", false,
		func(context.Context, *gorm.DB) ([]byte, error) { return nil, nil })
	require.NoError(w, err)
	require.False(w, r.Repeated)
	got, err := w.undo("b", nil)
	require.NoError(w, err)
	require.Equal(w, barrier.Undone, got)
	r, err = w.do("a", false, ``, nil)
	require.NoError(w, err)
	require.Equal(w, barrier.StepDone, r.Outcome)
	w.effects("do a", "do b", "undo b ")
}

func badResults(w world) {
	_, err := w.do("a", false, `no JSON`, nil)
	require.ErrorIs(w, err, holdfast.ErrInvalid)
	_, err = w.do("a", false, `"`+string(make([]byte, barrier.MaxResult))+`"`, nil)
	require.ErrorIs(w, err, holdfast.ErrTooLarge)
	w.effects()
}

func localOf(tx string) barrier.Local {
	return barrier.Local{TxID: tx, Group: group,
		Messages: []holdfast.Message{{ID: tx, Topic: "order.placed", Body: []byte("half")}}}
}

func (w world) local(tx, body string, fail error) barrier.Result {
	return barrier.Run(w.Context(), w.db, localOf(tx), func(_ context.Context, db *gorm.DB, ms []*holdfast.Message) error {
		ms[0].Body = []byte(body)
		require.NoError(w, effect(db, tx))
		return fail
	})
}

func localTransaction(w world) {
	r := w.local("t1", "changed", nil)
	require.NoError(w, r.Err)
	require.True(w, r.Changed)
	r = w.local("t1", "changed again", nil)
	require.NoError(w, r.Err)
	require.True(w, r.Repeated)
	require.Equal(w, "changed", string(r.Messages[0].Body))
	row, err := barrier.CheckBack(w.Context(), w.db, "t1", group, time.Second)
	require.NoError(w, err)
	require.Equal(w, holdfast.Commit, row.Resolution)
	require.Equal(w, "changed", string(row.Messages[0].Body))
	require.WithinDuration(w, time.Now(), row.CreatedAt, 2*time.Hour)
	r = w.local("t2", "half", errNo)
	require.ErrorIs(w, r.Err, errNo)
	require.Equal(w, holdfast.Rollback, r.Resolution)
	_, err = barrier.CheckBack(w.Context(), w.db, "t1", "another", time.Second)
	require.ErrorIs(w, err, holdfast.ErrInvalid)
	w.effects("t1")
}

func checkBackFirst(w world) {
	row, err := barrier.CheckBack(w.Context(), w.db, "t1", group, 0)
	require.NoError(w, err)
	require.Equal(w, holdfast.Rollback, row.Resolution)
	r := w.local("t1", "half", nil)
	require.ErrorIs(w, r.Err, holdfast.ErrAlreadyResolved)
	require.Equal(w, holdfast.Rollback, r.Resolution)
	w.effects()
}

func checkBackMany(w world) {
	require.NoError(w, w.local("t1", "changed", nil).Err)
	require.NoError(w, w.local("t2", "half", nil).Err)
	for range 2 { // the second time finds the rows
		rows, errs := barrier.CheckBackAll(w.Context(), w.db, []string{"t3", "t2", "t1", "t2", "a b"}, group, 0)
		require.ErrorIs(w, errs[4], holdfast.ErrInvalid)
		for i, want := range []barrier.Outcome{{TxID: "t3", Resolution: holdfast.Rollback},
			{TxID: "t2", Resolution: holdfast.Commit},
			{TxID: "t1", Resolution: holdfast.Commit}, {TxID: "t2", Resolution: holdfast.Commit}} {
			require.NoError(w, errs[i])
			require.Equal(w, want.TxID, rows[i].TxID)
			require.Equal(w, group, rows[i].Group)
			require.Equal(w, want.Resolution, rows[i].Resolution)
		}
		require.Equal(w, "changed", string(rows[2].Messages[0].Body))
		require.Nil(w, rows[1].Messages)
	}
	r := w.local("t3", "half", nil)
	require.ErrorIs(w, r.Err, holdfast.ErrAlreadyResolved)
	_, errs := barrier.CheckBackAll(w.Context(), w.db, []string{"t1"}, "another", 0)
	require.ErrorIs(w, errs[0], holdfast.ErrInvalid)
	w.effects("t1", "t2")
}

func decided(w world) {
	_, err := barrier.Decide(w.Context(), w.db, "t1", group, holdfast.Commit, 0)
	require.NoError(w, err)
	_, err = barrier.Decide(w.Context(), w.db, "t1", group, holdfast.Rollback, 0)
	require.ErrorIs(w, err, holdfast.ErrAlreadyResolved)
	_, err = barrier.Read(w.Context(), w.db, "t2")
	require.ErrorIs(w, err, holdfast.ErrNotFound)
}

func (w world) consume(message string, fail error) (repeated bool, err error) {
	return barrier.Consume(w.Context(), w.db, "payments", message, func(_ context.Context, tx *gorm.DB) error {
		require.NoError(w, effect(tx, message))
		return fail
	})
}

func inbox(w world) {
	_, err := w.consume("m1", errNo)
	require.ErrorIs(w, err, errNo)
	for _, want := range []bool{false, true} {
		repeated, err := w.consume("m1", nil)
		require.NoError(w, err)
		require.Equal(w, want, repeated)
	}
	w.effects("m1")
}

func notice(w world) {
	undo := func(message string) barrier.UndoResult {
		r, err := barrier.Undo(w.Context(), w.db, "payments", message, message+"!",
			func(_ context.Context, tx *gorm.DB) error { return effect(tx, "undo "+message) })
		require.NoError(w, err)
		return r
	}
	_, err := w.consume("m1", nil)
	require.NoError(w, err)
	require.Equal(w, barrier.Undone, undo("m1"))
	require.Equal(w, barrier.Repeated, undo("m1"))
	require.Equal(w, barrier.Blocked, undo("m2"))
	repeated, err := w.consume("m2", nil)
	require.NoError(w, err)
	require.True(w, repeated)
	w.effects("m1", "undo m1")
}

func step(w world) {
	for _, want := range []bool{false, true} {
		repeated, err := barrier.Step(w.Context(), w.db,
			barrier.StepRow{Owner: "m1", Step: "compensate", Op: barrier.StepUndo},
			func(_ context.Context, tx *gorm.DB) error { return effect(tx, "m1") })
		require.NoError(w, err)
		require.Equal(w, want, repeated)
	}
	w.effects("m1")
}

func cancelled(w world) {
	ctx, cancel := context.WithCancel(w.Context())
	_, err := barrier.DoStep(ctx, w.db, owner, "a", false, func(_ context.Context, tx *gorm.DB) ([]byte, error) {
		cancel()
		return nil, nil
	})
	require.ErrorIs(w, err, context.Canceled)
	r, err := w.do("a", false, ``, nil)
	require.NoError(w, err)
	require.False(w, r.Repeated)
}
