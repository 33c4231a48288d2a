package barrier_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/internal/guard"
)

type do func(ctx context.Context, tx *gorm.DB) ([]byte, error)
type undoStep func(ctx context.Context, tx *gorm.DB, result []byte) error

// doing is a Do whose effect is an order named id; it answers result, or fails
// with err after the effect.
func doing(id, result string, err error) do {
	return func(_ context.Context, tx *gorm.DB) ([]byte, error) {
		if err := placeOrder(tx, id); err != nil {
			return nil, err
		}
		return []byte(result), err
	}
}

// undoingStep is an Undo whose effect is an order named after id and the result.
func undoingStep(id string) undoStep {
	return func(_ context.Context, tx *gorm.DB, result []byte) error {
		return placeOrder(tx, id+" undone "+string(result))
	}
}

func refuse(reason string) error { return &holdfast.RefusedError{Reason: reason} }

func neverDo(t *testing.T) do {
	return func(context.Context, *gorm.DB) ([]byte, error) { t.Error("the Do was run"); return nil, nil }
}

func neverUndo(t *testing.T) undoStep {
	return func(context.Context, *gorm.DB, []byte) error { t.Error("the Undo was run"); return nil }
}

// doStep does the step "reserve" of the saga id.
func doStep(t *testing.T, db *gorm.DB, id string, again bool, run do) barrier.StepResult {
	t.Helper()
	r, err := barrier.DoStep(t.Context(), db, id, "reserve", again, run)
	require.NoError(t, err)
	return r
}

func undoOf(t *testing.T, db *gorm.DB, id, reason string, undo undoStep) barrier.UndoResult {
	t.Helper()
	r, err := barrier.UndoStep(t.Context(), db, id, "reserve", reason, undo)
	require.NoError(t, err)
	return r
}

// effects are what the Dos and Undos of saga id wrote.
func effects(t *testing.T, db *gorm.DB, id string) []string {
	t.Helper()
	var out []string
	require.NoError(t, db.Raw("SELECT id FROM orders WHERE id LIKE ? ORDER BY id", id+"%").Scan(&out).Error)
	return out
}

// Each script is one saga; a line is one call, and what it answers.
func TestSagaStep(t *testing.T) {
	const (
		doOnce   = "do"             // does, answers {"n":1}
		doOther  = "do other"       // would answer {"n":2}
		doSilent = "do silently"    // does, answers nothing
		no       = "refuse"         // refuses: sold out
		noAgain  = "refuse again"   // refuses: still sold out, whatever was before
		doAgain  = "do again"       // does, whatever was refused before
		fails    = "fail"           // an error after its writes
		undo     = "undo"           // because of: cancelled
		undoBad  = "undo fails"     // an error after its writes
		undoLate = "undo by others" // because of: too late
	)
	done, repeated := `done {"n":1} ""`, `done {"n":1} "" repeated`
	blocked := `blocked  "cancelled" repeated`
	for name, script := range map[string]struct {
		lines   []string
		effects []string
	}{
		"do twice":                    {[]string{doOnce, done, doOther, repeated, no, repeated, doAgain, repeated}, []string{"X"}},
		"do twice without a result":   {[]string{doSilent, `done  ""`, doOther, `done  "" repeated`}, []string{"X"}},
		"fail, do":                    {[]string{fails, "boom", doOnce, done, fails, repeated}, []string{"X"}},
		"undo what was done":          {[]string{doOnce, done, undo, "undone"}, []string{"X", `X undone {"n":1}`}},
		"undo what answered nothing":  {[]string{doSilent, `done  ""`, undo, "undone"}, []string{"X", `X undone `}},
		"undo twice":                  {[]string{doOnce, done, undo, "undone", undo, "repeated", undoLate, "repeated"}, []string{"X", `X undone {"n":1}`}},
		"do after undo":               {[]string{doOnce, done, undo, "undone", doOnce, blocked, doAgain, blocked}, []string{"X", `X undone {"n":1}`}},
		"undo without do":             {[]string{undo, "blocked", undo, "repeated"}, nil},
		"late do":                     {[]string{undo, "blocked", undoLate, "repeated", doOnce, blocked, doAgain, blocked, no, blocked}, nil},
		"undo after a failure":        {[]string{fails, "boom", undo, "blocked", doOnce, blocked}, nil},
		"undo fails":                  {[]string{doOnce, done, undoBad, "boom", doOnce, repeated, undo, "undone"}, []string{"X", `X undone {"n":1}`}},
		"refuse":                      {[]string{no, `refused  "sold out"`, no, `refused  "sold out" repeated`, doOnce, `refused  "sold out" repeated`}, nil},
		"refuse, undo":                {[]string{no, `refused  "sold out"`, undo, "blocked", doOnce, blocked, doAgain, blocked}, nil},
		"refuse, again":               {[]string{no, `refused  "sold out"`, doAgain, done, doOther, repeated, doAgain, repeated, noAgain, repeated}, []string{"X"}},
		"refuse, again, undo":         {[]string{no, `refused  "sold out"`, doAgain, done, undo, "undone", doAgain, blocked}, []string{"X", `X undone {"n":1}`}},
		"refuse, again without a row": {[]string{doAgain, done}, []string{"X"}},
		"refuse twice":                {[]string{no, `refused  "sold out"`, noAgain, `refused  "still sold out"`, doOnce, `refused  "still sold out" repeated`, doAgain, done}, []string{"X"}},
		"refuse twice, undo":          {[]string{no, `refused  "sold out"`, noAgain, `refused  "still sold out"`, undo, "blocked", doAgain, blocked}, nil},
		"refuse, again fails":         {[]string{no, `refused  "sold out"`, "fail again", "boom", doOnce, `refused  "sold out" repeated`}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, _ := migrated(t)
			for i := 0; i < len(script.lines); i += 2 {
				var r barrier.StepResult
				var u barrier.UndoResult
				var err error
				run := func(again bool, f do) { r, err = barrier.DoStep(t.Context(), db, "X", "reserve", again, f) }
				undone := func(reason string, f undoStep) {
					u, err = barrier.UndoStep(t.Context(), db, "X", "reserve", reason, f)
				}
				switch script.lines[i] {
				case doOnce:
					run(false, doing("X", `{"n":1}`, nil))
				case doOther:
					run(false, doing("X", `{"n":2}`, nil))
				case doSilent:
					run(false, doing("X", "", nil))
				case no:
					run(false, doing("X", "", fmt.Errorf("stock: %w", refuse("sold out"))))
				case noAgain:
					run(true, doing("X", "", refuse("still sold out")))
				case doAgain:
					run(true, doing("X", `{"n":1}`, nil))
				case fails:
					run(false, doing("X", "", errBoom))
				case "fail again":
					run(true, doing("X", "", errBoom))
				case undo:
					undone("cancelled", undoingStep("X"))
				case undoLate:
					undone("too late", undoingStep("X"))
				case undoBad:
					undone("cancelled", func(ctx context.Context, tx *gorm.DB, result []byte) error {
						require.NoError(t, undoingStep("X")(ctx, tx, result))
						return errBoom
					})
				}
				got := string(u)
				if r.Outcome != "" {
					got = fmt.Sprintf("%s %s %q", r.Outcome, r.Result, r.Reason)
				}
				if r.Repeated {
					got += " repeated"
				}
				if err != nil {
					require.Empty(t, got)
					got = err.Error()
				}
				require.Equal(t, script.lines[i+1], got, "line %d: %s", i/2+1, script.lines[i])
			}
			require.Equal(t, script.effects, effects(t, db, "X"))
		})
	}
}

// What fails leaves nothing behind, and can be called again.
func TestSagaStepFails(t *testing.T) {
	db, _ := migrated(t)
	var points []string
	fault.Set(func(name string) { points = append(points, name) })
	defer fault.Set(nil)
	fails := map[string]struct {
		after  func(tx *gorm.DB) error
		result string
		check  func(t *testing.T, err error)
	}{
		"error": {func(*gorm.DB) error { return errBoom }, "", func(t *testing.T, err error) { require.ErrorIs(t, err, errBoom) }},
		"panic": {func(*gorm.DB) error { panic("boom") }, "", func(t *testing.T, err error) {
			var p *holdfast.PanicError
			require.ErrorAs(t, err, &p)
		}},
		"swallowed":             {func(tx *gorm.DB) error { tx.Exec("nonsense"); return nil }, "", func(t *testing.T, err error) { require.ErrorContains(t, err, "COMMIT for step reserve") }},
		"swallowed with result": {func(tx *gorm.DB) error { tx.Exec("nonsense"); return nil }, "1", func(t *testing.T, err error) { require.ErrorContains(t, err, "step reserve (") }},
		"rolled back":           {func(tx *gorm.DB) error { return tx.Rollback().Error }, "1", func(t *testing.T, err error) { require.ErrorContains(t, err, "leave COMMIT and ROLLBACK") }},
		"rolled back in SQL":    {func(tx *gorm.DB) error { return tx.Exec("ROLLBACK").Error }, "1", func(t *testing.T, err error) { require.ErrorContains(t, err, "leave COMMIT and ROLLBACK") }},
		"no JSON": {func(*gorm.DB) error { return nil }, "{", func(t *testing.T, err error) {
			require.ErrorIs(t, err, holdfast.ErrInvalid)
			require.True(t, holdfast.IsPermanent(err))
			require.ErrorContains(t, err, "step reserve (do) of s1")
		}},
		"too large": {func(*gorm.DB) error { return nil }, `"` + strings.Repeat("x", barrier.MaxResult) + `"`, func(t *testing.T, err error) {
			require.ErrorIs(t, err, holdfast.ErrTooLarge)
			require.True(t, holdfast.IsPermanent(err))
		}},
		"ended and refused": {func(tx *gorm.DB) error { tx.Rollback(); return refuse("sold out") }, "", func(t *testing.T, err error) {
			_, refused := holdfast.IsRefused(err)
			require.False(t, refused, "nobody can say that it has no effect")
			require.ErrorContains(t, err, "leave COMMIT and ROLLBACK")
			require.ErrorContains(t, err, "sold out")
		}},
	}
	for name, c := range fails {
		t.Run("do "+name, func(t *testing.T) {
			_, err := barrier.DoStep(t.Context(), db, "s1", "reserve", false, func(_ context.Context, tx *gorm.DB) ([]byte, error) {
				require.NoError(t, placeOrder(tx, "s1"))
				return []byte(c.result), c.after(tx)
			})
			c.check(t, err)
		})
	}
	_, err := barrier.DoStep(canceled(t), db, "s1", "reserve", false, neverDo(t))
	require.ErrorIs(t, err, context.Canceled)
	ctx, cancel := context.WithCancel(t.Context())
	_, err = barrier.DoStep(ctx, db, "s1", "reserve", false, func(ctx context.Context, tx *gorm.DB) ([]byte, error) {
		defer cancel()
		return doing("s1", "", refuse("sold out"))(ctx, tx)
	})
	require.ErrorIs(t, err, context.Canceled, "the refusal could not be kept")
	_, err = barrier.DoStep(t.Context(), db, "s1", "reserve", false, func(context.Context, *gorm.DB) ([]byte, error) { runtime.Goexit(); return nil, nil })
	require.ErrorIs(t, err, guard.ErrExited)
	require.Empty(t, effects(t, db, "s1"))
	require.Zero(t, stepRows(t, db, "s1"))
	require.Empty(t, points)

	large := `"` + strings.Repeat("x", barrier.MaxResult-2) + `"`
	require.Equal(t, large, string(doStep(t, db, "s1", false, doing("s1", large, nil)).Result))
	require.Equal(t, large, string(doStep(t, db, "s1", false, neverDo(t)).Result))
	require.Equal(t, []string{fault.SagaDoAfterCommit}, points)
	for name, c := range fails {
		if c.result == "" {
			t.Run("undo "+name, func(t *testing.T) {
				did, err := barrier.UndoStep(t.Context(), db, "s1", "reserve", "cancelled", func(_ context.Context, tx *gorm.DB, _ []byte) error {
					require.NoError(t, placeOrder(tx, "s1 undone"))
					return c.after(tx)
				})
				require.Empty(t, did)
				require.Error(t, err)
				if name != "ended and refused" {
					c.check(t, err)
				}
			})
		}
	}
	require.Equal(t, []string{"s1"}, effects(t, db, "s1"))
	require.Len(t, points, 1)
	require.Equal(t, barrier.Undone, undoOf(t, db, "s1", "cancelled", func(context.Context, *gorm.DB, []byte) error { return nil }))
	require.Equal(t, barrier.Repeated, undoOf(t, db, "s1", "cancelled", neverUndo(t)))
	require.Equal(t, []string{fault.SagaDoAfterCommit, fault.SagaUndoAfterCommit}, points)
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestSagaStepInvalid(t *testing.T) {
	db, _ := migrated(t)
	for name, ids := range map[string][2]string{
		"no owner": {"", "s"}, "no step": {"o", ""}, "long owner": {strings.Repeat("x", 1001), "s"},
		"long step": {"o", strings.Repeat("x", 501)}, "NUL": {"o\x00", "s"}, "not UTF-8": {"o", "\xff"},
	} {
		_, err := barrier.DoStep(t.Context(), db, ids[0], ids[1], false, neverDo(t))
		require.ErrorIs(t, err, holdfast.ErrInvalid, name)
		_, err = barrier.UndoStep(t.Context(), db, ids[0], ids[1], "", neverUndo(t))
		require.ErrorIs(t, err, holdfast.ErrInvalid, name)
	}
	_, err := barrier.DoStep(t.Context(), nil, "o", "s", false, neverDo(t))
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		_, err := barrier.DoStep(t.Context(), tx, "o", "s", false, neverDo(t))
		require.ErrorIs(t, err, holdfast.ErrInvalid, "in a transaction already")
		_, err = barrier.UndoStep(t.Context(), tx, "o", "s", "", neverUndo(t))
		require.ErrorIs(t, err, holdfast.ErrInvalid, "in a transaction already")
		return nil
	}))
	// Whatever text a reason is, it can be kept.
	reason := "\x00\xff" + strings.Repeat("é", 1<<20)
	r := doStep(t, db, "o", false, doing("o", "", refuse(reason)))
	require.Equal(t, r.Reason, doStep(t, db, "o", false, neverDo(t)).Reason)
	require.True(t, strings.HasPrefix(r.Reason, "\x00éé"))
	require.True(t, strings.HasSuffix(r.Reason, "é…"))
	require.Less(t, len(r.Reason), 5000)
	require.Equal(t, barrier.Blocked, undoOf(t, db, "o2", reason, neverUndo(t)))
	require.Equal(t, r.Reason, doStep(t, db, "o2", false, neverDo(t)).Reason)
	// A row that somebody has changed is an error, not a guess.
	for _, stored := range []string{"{", `{"outcome":"perhaps"}`} {
		require.NoError(t, db.Exec("UPDATE holdfast_steps SET result = ? WHERE owner = 'o'", []byte(stored)).Error)
		_, err = barrier.DoStep(t.Context(), db, "o", "reserve", false, neverDo(t))
		require.ErrorIs(t, err, holdfast.ErrMalformed)
		_, err = barrier.UndoStep(t.Context(), db, "o", "reserve", "", neverUndo(t))
		require.ErrorIs(t, err, holdfast.ErrMalformed)
	}
}
