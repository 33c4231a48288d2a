package barrier_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/barrier"
)

// Dos of one step, many at once, of which some fail and some refuse: one takes
// effect, and all that succeed say the same.
func TestDoStepOnceUnder40Runs(t *testing.T) {
	db, _ := migrated(t)
	var firsts, calls atomic.Int32
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			for {
				r, err := barrier.DoStep(t.Context(), db, "s1", "reserve", true, func(ctx context.Context, tx *gorm.DB) ([]byte, error) {
					n := calls.Add(1)
					switch {
					case n < 4:
						return doing("s1", "", errBoom)(ctx, tx)
					case n < 8:
						return doing("s1", "", refuse("not yet"))(ctx, tx)
					}
					return doing("s1", fmt.Sprint(n), nil)(ctx, tx)
				})
				if err != nil {
					assert.ErrorIs(t, err, errBoom)
					continue
				}
				if r.Outcome == barrier.StepRefused {
					continue
				}
				if !r.Repeated {
					firsts.Add(1)
				}
				assert.Equal(t, "8", string(r.Result))
				return
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, firsts.Load())
	require.EqualValues(t, 8, calls.Load())
	require.Equal(t, 1, orders(t, db, "s1"))
	require.Equal(t, 1, stepRows(t, db, "s1"))
}

// Dos, Undos and refusals of the same step in any order, many at once: in the end
// it was never in effect, or was and is undone, each once.
func TestUndoStepAgainstDoStepConcurrently(t *testing.T) {
	db, _ := migrated(t)
	for _, refused := range []bool{false, true} {
		for n := range 8 {
			id := fmt.Sprintf("s%d-%t", n, refused)
			if refused {
				doStep(t, db, id, false, doing(id, "", refuse("sold out")))
			}
			var wg sync.WaitGroup
			var acted, did atomic.Int32
			for i := range 6 {
				wg.Go(func() {
					var fail error
					if i == 3 {
						fail = refuse("sold out")
					}
					r, err := barrier.DoStep(t.Context(), db, id, "reserve", true, doing(id, `"R"`, fail))
					assert.NoError(t, err)
					if r.Outcome == barrier.StepDone && !r.Repeated {
						did.Add(1)
					}
				})
				wg.Go(func() {
					r, err := barrier.UndoStep(t.Context(), db, id, "reserve", "cancelled", undoingStep(id))
					assert.NoError(t, err)
					if r != barrier.Repeated {
						acted.Add(1)
					}
				})
			}
			wg.Wait()
			require.EqualValues(t, 1, acted.Load(), "one Undo counts")
			require.EqualValues(t, did.Load(), orders(t, db, id))
			require.Equal(t, orders(t, db, id), orders(t, db, id+` undone "R"`), "undone exactly if it was done")
			r := doStep(t, db, id, true, neverDo(t))
			require.Equal(t, barrier.StepResult{Outcome: barrier.StepBlocked, Reason: "cancelled", Repeated: true}, r)
		}
	}
}

// An Undo waits for a Do that is in work, and follows how it ends; also for one
// that has taken a refusal over.
func TestUndoStepWaitsForTheDo(t *testing.T) {
	for name, c := range map[string]struct {
		before, end error
		want        barrier.UndoResult
		outcome     barrier.StepOutcome // of the Do
	}{
		"done":                    {nil, nil, barrier.Undone, barrier.StepDone},
		"failed":                  {nil, errBoom, barrier.Blocked, ""},
		"refused":                 {nil, refuse("sold out"), barrier.Blocked, barrier.StepBlocked},
		"done after a refusal":    {refuse("sold out"), nil, barrier.Undone, barrier.StepDone},
		"failed after a refusal":  {refuse("sold out"), errBoom, barrier.Blocked, ""},
		"refused after a refusal": {refuse("sold out"), refuse("sold out"), barrier.Blocked, barrier.StepBlocked},
		"refused otherwise":       {refuse("sold out"), refuse("no stock"), barrier.Blocked, barrier.StepBlocked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, _ := migrated(t)
			if c.before != nil {
				doStep(t, db, "s1", false, doing("s1", "", c.before))
			}
			entered, release := make(chan struct{}), make(chan struct{})
			var once sync.Once
			did, undone := make(chan error, 1), make(chan error, 1)
			var r barrier.StepResult
			go func() {
				var err error
				r, err = barrier.DoStep(t.Context(), db, "s1", "reserve", true, func(ctx context.Context, tx *gorm.DB) ([]byte, error) {
					once.Do(func() { close(entered) })
					<-release
					return doing("s1", `"R-1"`, c.end)(ctx, tx)
				})
				did <- err
			}()
			<-entered
			var result barrier.UndoResult
			go func() {
				var err error
				result, err = barrier.UndoStep(t.Context(), db, "s1", "reserve", "cancelled", func(ctx context.Context, tx *gorm.DB, result []byte) error {
					var seen int
					assert.NoError(t, tx.Raw("SELECT count(*) FROM orders WHERE id = 's1'").Scan(&seen).Error)
					assert.Equal(t, 1, seen, "the Undo sees what the Do wrote")
					return undoingStep("s1")(ctx, tx, result)
				})
				undone <- err
			}()
			untilBlocked(t, db, 1)
			close(release)
			err := <-did
			require.NoError(t, <-undone)
			require.Equal(t, c.want, result)
			if c.outcome == "" {
				require.ErrorIs(t, err, errBoom)
			} else {
				require.NoError(t, err)
				if c.outcome == barrier.StepBlocked && r.Outcome == barrier.StepRefused {
					r.Outcome = barrier.StepBlocked // the refusal was written first
				}
				require.Equal(t, c.outcome, r.Outcome)
			}
			want := []string(nil)
			if c.want == barrier.Undone {
				want = []string{"s1", `s1 undone "R-1"`}
			}
			require.Equal(t, want, effects(t, db, "s1"))
			require.Equal(t, barrier.StepBlocked, doStep(t, db, "s1", true, neverDo(t)).Outcome)
		})
	}
}

// A Do that comes while the Undo is in work waits, and has no effect unless the
// Undo fails.
func TestDoStepWaitsForTheUndo(t *testing.T) {
	for name, c := range map[string]struct{ commits, refused bool }{
		"commit": {true, false}, "rollback": {false, false},
		"commit after a refusal": {true, true}, "rollback after a refusal": {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			direct, url := migrated(t)
			if c.refused {
				doStep(t, direct, "s1", false, doing("s1", "", refuse("sold out")))
			}
			via, p := proxy(t, url)
			p.set(holdCommit)
			undoDB := open(t, via, nil)
			undone, did := make(chan error, 1), make(chan error, 1)
			go func() {
				_, err := barrier.UndoStep(t.Context(), undoDB, "s1", "reserve", "cancelled", neverUndo(t))
				undone <- err
			}()
			select {
			case <-p.stalled: // both rows are written
			case err := <-undone:
				t.Fatal("no COMMIT was sent", err)
			}
			var r barrier.StepResult
			go func() {
				var err error
				r, err = barrier.DoStep(t.Context(), direct, "s1", "reserve", true, doing("s1", `"R-1"`, nil))
				did <- err
			}()
			untilBlocked(t, direct, 1)
			if c.commits {
				p.release()
				require.NoError(t, <-undone)
			} else {
				p.closeAll()
				require.Error(t, <-undone)
			}
			require.NoError(t, <-did)
			if c.commits {
				require.Equal(t, barrier.StepResult{Outcome: barrier.StepBlocked, Reason: "cancelled", Repeated: true}, r)
				require.Empty(t, effects(t, direct, "s1"))
				return
			}
			require.Equal(t, barrier.StepResult{Outcome: barrier.StepDone, Result: []byte(`"R-1"`)}, r)
			require.Equal(t, []string{"s1"}, effects(t, direct, "s1"))
		})
	}
}

// Between any two statements on the rows, another run may do, refuse or undo the
// step: what it did is followed.
func TestSagaStepMeetsAnother(t *testing.T) {
	others := map[string]func(t *testing.T, db *gorm.DB){
		"do":     func(t *testing.T, db *gorm.DB) { doStep(t, db, "s1", true, doing("s1", `"R-2"`, nil)) },
		"refuse": func(t *testing.T, db *gorm.DB) { doStep(t, db, "s1", true, doing("s1", "", refuse("gone"))) },
		"undo":   func(t *testing.T, db *gorm.DB) { undoOf(t, db, "s1", "cancelled", undoingStep("s1")) },
		"delete": func(t *testing.T, db *gorm.DB) { require.NoError(t, db.Exec("DELETE FROM holdfast_steps").Error) },
	}
	refused := fmt.Sprintf("refused %q repeated=false", "sold out")
	blocked := fmt.Sprintf("blocked %q repeated=true", "cancelled")
	for name, c := range map[string]struct {
		before bool   // it refused before
		at     string // the statement before which the other comes
		fail   error  // of the Do
		other  string
		want   string
	}{
		"done before the refusal is kept":         {false, "last INSERT", refuse("sold out"), "do", `done "" repeated=true`},
		"refused before the refusal is kept":      {false, "last INSERT", refuse("sold out"), "refuse", refused},
		"undone before the refusal is kept":       {false, "last INSERT", refuse("sold out"), "undo", blocked},
		"done before it takes over":               {true, "UPDATE", nil, "do", `done "" repeated=true`},
		"refused before it takes over":            {true, "UPDATE", nil, "refuse", `done "" repeated=false`},
		"undone before it takes over":             {true, "UPDATE", nil, "undo", blocked},
		"done before the other refusal is kept":   {true, "last UPDATE", refuse("sold out"), "do", `done "" repeated=true`},
		"undone before the other refusal is kept": {true, "last UPDATE", refuse("sold out"), "undo", blocked},
		"gone before it is read":                  {true, "SELECT", nil, "delete", `done "" repeated=false`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct, _ := migrated(t)
			if c.before {
				doStep(t, direct, "s1", false, doing("s1", "", refuse("first")))
			}
			db, s := spied(t, direct)
			verb, last := strings.CutPrefix(c.at, "last ")
			wait := last // until it has run
			s.before = func(query string) {
				if !wait && strings.HasPrefix(query, verb) && strings.Contains(query, "holdfast_steps") {
					s.before = nil
					others[c.other](t, direct)
				}
			}
			r, err := barrier.DoStep(t.Context(), db, "s1", "reserve", true, func(ctx context.Context, tx *gorm.DB) ([]byte, error) {
				wait = false
				return doing("s1", "", c.fail)(ctx, tx)
			})
			require.NoError(t, err)
			require.Nil(t, s.before, "the other came")
			require.Equal(t, c.want, fmt.Sprintf("%s %q repeated=%t", r.Outcome, r.Reason, r.Repeated))
		})
	}
	for other, want := range map[string]barrier.UndoResult{"do": barrier.Undone, "refuse": barrier.Blocked} {
		t.Run(other+" before the Undo blocks it", func(t *testing.T) {
			t.Parallel()
			direct, _ := migrated(t)
			doStep(t, direct, "s1", false, doing("s1", "", refuse("first")))
			db, s := spied(t, direct)
			s.before = func(query string) {
				if strings.HasPrefix(query, "UPDATE ") {
					s.before = nil
					others[other](t, direct)
				}
			}
			require.Equal(t, want, undoOf(t, db, "s1", "cancelled", undoingStep("s1")))
			require.Nil(t, s.before, "the other came")
			require.Len(t, effects(t, direct, "s1"), map[string]int{"do": 2}[other])
			require.Equal(t, barrier.StepBlocked, doStep(t, direct, "s1", true, neverDo(t)).Outcome)
		})
	}
}

func TestSagaStepUnderRepeatableRead(t *testing.T) {
	db, url := migrated(t)
	require.NoError(t, db.Exec("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = ''repeatable read''', current_database()); END $$").Error)
	db = open(t, url, nil)
	entered, release := make(chan struct{}), make(chan struct{})
	did, again, undone := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := barrier.DoStep(t.Context(), db, "s1", "reserve", false, func(ctx context.Context, tx *gorm.DB) ([]byte, error) {
			close(entered)
			<-release
			return doing("s1", `"R-1"`, nil)(ctx, tx)
		})
		did <- err
	}()
	<-entered
	go func() {
		_, err := barrier.DoStep(t.Context(), db, "s1", "reserve", false, neverDo(t))
		again <- err
	}()
	go func() {
		_, err := barrier.UndoStep(t.Context(), db, "s1", "reserve", "cancelled", neverUndo(t))
		undone <- err
	}()
	untilBlocked(t, db, 2)
	close(release)
	require.NoError(t, <-did)
	require.ErrorContains(t, <-again, "SQLSTATE 40001")
	require.ErrorContains(t, <-undone, "SQLSTATE 40001")
	require.True(t, doStep(t, db, "s1", false, neverDo(t)).Repeated)
	require.Equal(t, barrier.Undone, undoOf(t, db, "s1", "cancelled", undoingStep("s1")))
}
