package barrier_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/blame"
)

// Whose fault an error of the server is: as the answer to one of Holdfast's own
// statements, and to one of the handler's.
var faults = map[string]struct{ own, theirs blame.Fault }{
	"08006": {blame.Surroundings, blame.Surroundings},
	"25006": {blame.Surroundings, blame.Surroundings},
	"26000": {blame.Surroundings, blame.Surroundings},
	"28000": {blame.Surroundings, blame.Surroundings},
	"40001": {blame.Contention, blame.Contention},
	"40P01": {blame.Contention, blame.Contention},
	"42501": {blame.Surroundings, blame.Message},
	"42P01": {blame.Surroundings, blame.Message},
	"42P05": {blame.Surroundings, blame.Surroundings},
	"53100": {blame.Surroundings, blame.Surroundings},
	"53200": {blame.Surroundings, blame.Surroundings},
	"53300": {blame.Surroundings, blame.Surroundings},
	"55P03": {blame.Contention, blame.Contention},
	"57014": {blame.Surroundings, blame.Message},
	"57P01": {blame.Surroundings, blame.Surroundings},
	"57P03": {blame.Surroundings, blame.Surroundings},
	"58030": {blame.Surroundings, blame.Surroundings},
	"XX001": {blame.Surroundings, blame.Surroundings},
	"22012": {blame.Message, blame.Message},
	"23505": {blame.Message, blame.Message},
	"23514": {blame.Message, blame.Message},
	"P0001": {blame.Message, blame.Message},
}

func TestWhoseFault(t *testing.T) {
	db, _ := migrated(t)
	raise := func(tx *gorm.DB, state string) error {
		return tx.Exec("SELECT raise(?)", state).Error
	}
	require.NoError(t, db.Exec(`CREATE FUNCTION raise(state text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'at fault' USING ERRCODE = state; END $$`).Error)
	require.NoError(t, db.Exec(`CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF NEW.step <> 'fine' THEN RAISE 'at fault' USING ERRCODE = NEW.step; END IF; RETURN NEW; END $$`).Error)
	require.NoError(t, db.Exec(`CREATE TRIGGER fail BEFORE INSERT ON holdfast_steps FOR EACH ROW EXECUTE FUNCTION fail()`).Error)
	for state, want := range faults {
		_, err := barrier.DoStep(t.Context(), db, "saga", state, false, func(context.Context, *gorm.DB) ([]byte, error) { return nil, nil })
		require.Equal(t, want.own, blame.Of(err), "%s of ours: %v", state, err)
		var away *holdfast.UnavailableError
		if want.own != blame.Message {
			require.ErrorAs(t, err, &away, state)
			require.NotEmpty(t, away.Remedy, state)
		}
		_, err = barrier.DoStep(t.Context(), db, "saga", "fine", false, func(_ context.Context, tx *gorm.DB) ([]byte, error) { return nil, raise(tx, state) })
		require.Equal(t, want.theirs, blame.Of(err), "%s of the handler's: %v", state, err)
	}
}

// What nothing can cure, or what has no database in it, is the message's fault.
func TestMessagesFault(t *testing.T) {
	away := &holdfast.UnavailableError{Part: "RabbitMQ", Err: errBoom}
	for _, err := range []error{nil, errBoom, &holdfast.UnavailableError{Part: "the hotel"}, holdfast.Permanent(away), holdfast.ErrInvalid, holdfast.ErrTooLarge, context.DeadlineExceeded,
		context.Canceled, &holdfast.PanicError{Value: away}, holdfast.RetryAfter(time.Second, errBoom)} {
		require.Equal(t, blame.Message, blame.Of(err), "%v", err)
	}
	require.Equal(t, blame.Surroundings, blame.Of(away))
	require.Equal(t, blame.Surroundings, blame.Of(errors.Join(holdfast.ErrNotStored, errBoom)), "of a Send inside a handler")
}

// A deadline that passes while nothing answers is not the step's; one that passes
// while its function runs is.
func TestDeadlines(t *testing.T) {
	_, url := migrated(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	host := url[strings.Index(url, "@")+1:]
	host = host[:strings.Index(host, "/")]
	hole := open(t, strings.Replace(url, host, silent.Addr().String(), 1), &gorm.Config{DisableAutomaticPing: true})
	full := open(t, url, nil)
	pool, err := full.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(1)
	conn, err := pool.Conn(t.Context())
	require.NoError(t, err)
	const short = 200 * time.Millisecond
	do := func(limit time.Duration, db *gorm.DB, run func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		_, err := barrier.DoStep(ctx, db, "saga", "step", false, func(ctx context.Context, _ *gorm.DB) ([]byte, error) { return nil, run(ctx) })
		return err
	}
	never := func(context.Context) error { t.Error("it ran"); return nil }
	for name, db := range map[string]*gorm.DB{"nothing answers": hole, "the pool is used up": full} {
		err := do(short, db, never)
		require.Equal(t, blame.Surroundings, blame.Of(err), "%s: %v", name, err)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	require.ErrorContains(t, do(short, full, never), "all 1 connections of the pool are in use")
	require.NoError(t, conn.Close())
	for name, run := range map[string]func(context.Context) error{
		"its function says so":     func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"its function ignores it":  func(ctx context.Context) error { <-ctx.Done(); return nil },
		"its function begins late": func(ctx context.Context) error { <-ctx.Done(); return do2(ctx, full) },
	} {
		began := false
		var err error
		for limit := short; !began && limit < 5*time.Minute; limit *= 2 { // a slow machine takes longer to come to the function
			err = do(limit, full, func(ctx context.Context) error { began = true; return run(ctx) })
		}
		require.True(t, began, "%s: %v", name, err)
		require.Equal(t, blame.Message, blame.Of(err), name)
	}
}

// do2 begins another transaction when the time is over.
func do2(ctx context.Context, db *gorm.DB) error {
	_, err := barrier.Consume(ctx, db, "c", "m", func(context.Context, *gorm.DB) error { return nil })
	return err
}

// Behind a pooler a session's prepared statements may be gone: that is no fault of
// the message, and the remedy names the setting.
func TestPreparedStatementsGone(t *testing.T) {
	db, _ := migrated(t)
	pool, err := db.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(1)
	consume := func(id string) error {
		_, err := barrier.Consume(t.Context(), db, "billing", id, func(context.Context, *gorm.DB) error { return nil })
		return err
	}
	require.NoError(t, consume("m1"))
	_, err = pool.ExecContext(t.Context(), "DEALLOCATE ALL") // as another connection of the server's
	require.NoError(t, err)
	err = consume("m2")
	var away *holdfast.UnavailableError
	require.ErrorAs(t, err, &away)
	require.Contains(t, away.Remedy, "default_query_exec_mode")
	require.Equal(t, blame.Surroundings, blame.Of(err))
	require.NoError(t, consume("m2"), "it is tried again")
}
