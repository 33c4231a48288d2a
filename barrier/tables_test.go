package barrier_test

import (
	"context"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/schema"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
)

func TestMigrate(t *testing.T) {
	url := databaseURL(t)
	db := open(t, url, nil)
	current, latest, err := barrier.Status(t.Context(), db)
	require.NoError(t, err)
	require.Zero(t, current)
	require.Positive(t, latest)
	var tables int64
	require.NoError(t, db.Raw("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&tables).Error)
	require.Zero(t, tables, "Status writes nothing")
	err = barrier.CheckMigrated(t.Context(), db)
	require.ErrorContains(t, err, "run `holdfast migrate`")
	require.ErrorContains(t, err, "127.0.0.1")
	r := barrier.Run(t.Context(), db, barrier.Local{TxID: "t1", Group: group, Fresh: true}, nil)
	require.Equal(t, holdfast.Rollback, r.Resolution)
	require.ErrorContains(t, r.Err, "run `holdfast migrate`")

	var wg sync.WaitGroup
	for range 4 { // from processes with one connection each
		db := open(t, url, nil)
		pool, err := db.DB()
		require.NoError(t, err)
		pool.SetMaxOpenConns(1)
		wg.Go(func() { assert.NoError(t, barrier.Migrate(t.Context(), db)) })
	}
	wg.Wait()
	require.NoError(t, barrier.Migrate(t.Context(), db))
	require.NoError(t, barrier.CheckMigrated(t.Context(), db))
	current, latest, err = barrier.Status(t.Context(), db)
	require.NoError(t, err)
	require.Equal(t, latest, current)

	require.NoError(t, db.Exec("UPDATE holdfast_migrations SET version_id = 0").Error)
	require.Error(t, barrier.CheckMigrated(t.Context(), db))
	require.NoError(t, db.Exec("INSERT INTO holdfast_migrations (version_id, is_applied) VALUES (99, true)").Error)
	require.NoError(t, barrier.CheckMigrated(t.Context(), db), "newer tables are fine")
	require.Error(t, db.Exec("INSERT INTO holdfast_outcomes VALUES ('x', 'g', 'unknown')").Error)
}

// Tables of the first version are brought to this one with what they hold, and
// back.
func TestMigrateFromTheFirstVersion(t *testing.T) {
	db := open(t, databaseURL(t), nil)
	pool, err := db.DB()
	require.NoError(t, err)
	p, err := goose.NewProvider(goose.DialectPostgres, pool, os.DirFS("migrations"),
		goose.WithTableName("holdfast_migrations"), goose.WithDisableGlobalRegistry(true))
	require.NoError(t, err)
	_, err = p.UpTo(t.Context(), 1)
	require.NoError(t, err)
	require.ErrorContains(t, barrier.CheckMigrated(t.Context(), db), "run `holdfast migrate`")
	_, err = barrier.Step(t.Context(), db, step("m1"), func(context.Context, *gorm.DB) error { t.Error("called"); return nil })
	require.ErrorContains(t, err, "run `holdfast migrate`")
	require.NoError(t, db.Exec("INSERT INTO holdfast_outcomes VALUES ('t1', ?, 'commit')", group).Error)

	for range 2 {
		require.NoError(t, barrier.Migrate(t.Context(), db))
		require.NoError(t, barrier.CheckMigrated(t.Context(), db))
		_, err = barrier.Step(t.Context(), db, step("m1"), func(context.Context, *gorm.DB) error { return nil })
		require.NoError(t, err)
		require.Error(t, db.Exec("INSERT INTO holdfast_steps VALUES ('m1', 'compensate', 'redo')").Error)
		requireRow(t, db, "t1", holdfast.Commit)
		require.NoError(t, proven(t, db, barrier.Claim{TxID: "t1", Group: group, Message: holdfast.Message{ID: "t1"}}), "of a row without a digest")
		_, err = p.DownTo(t.Context(), 1)
		require.NoError(t, err)
		current, _, err := barrier.Status(t.Context(), db)
		require.NoError(t, err)
		require.EqualValues(t, 1, current)
		require.Error(t, db.Exec("SELECT 1 FROM holdfast_steps").Error)
	}
}

// down takes the tables back to a version.
func down(t *testing.T, db *gorm.DB, version int64) {
	t.Helper()
	pool, err := db.DB()
	require.NoError(t, err)
	p, err := goose.NewProvider(goose.DialectPostgres, pool, os.DirFS("migrations"),
		goose.WithTableName("holdfast_migrations"), goose.WithDisableGlobalRegistry(true))
	require.NoError(t, err)
	_, err = p.DownTo(t.Context(), version)
	require.NoError(t, err)
}

func TestRetention(t *testing.T) {
	db, _ := migrated(t)
	require.NoError(t, db.Exec(`INSERT INTO holdfast_outcomes SELECT 't' || i, 'orders', 'commit', null, now() - i * interval '1 hour' FROM generate_series(1, 100) i`).Error)
	require.NoError(t, db.Exec(`INSERT INTO holdfast_inbox SELECT 'billing', 'm' || i, now() - i * interval '1 hour' FROM generate_series(1, 100) i`).Error)
	require.NoError(t, db.Exec(`INSERT INTO holdfast_steps SELECT 'm' || i, 'compensate', 'undo', null, now() - i * interval '1 hour' FROM generate_series(1, 100) i`).Error)
	// Each statement of retention is recorded by its transaction.
	require.NoError(t, db.Exec(`CREATE TABLE deleted (tx xid8 DEFAULT pg_current_xact_id())`).Error)
	require.NoError(t, db.Exec(`CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO deleted DEFAULT VALUES; RETURN OLD; END $$`).Error)
	for table, remove := range map[string]func(context.Context, *gorm.DB, time.Duration, int) (int64, error){
		"holdfast_outcomes": barrier.DeleteOutcomes, "holdfast_inbox": barrier.DeleteInbox, "holdfast_steps": barrier.DeleteSteps} {
		require.NoError(t, db.Exec(`TRUNCATE deleted`).Error)
		require.NoError(t, db.Exec(`CREATE TRIGGER note BEFORE DELETE ON `+table+` FOR EACH ROW EXECUTE FUNCTION note()`).Error)
		age := 50*time.Hour + 30*time.Minute
		n, err := remove(t.Context(), db, age, 7)
		require.NoError(t, err)
		require.EqualValues(t, 50, n)
		var left, largest int64
		require.NoError(t, db.Raw("SELECT count(*) FROM "+table).Scan(&left).Error)
		require.EqualValues(t, 50, left)
		require.NoError(t, db.Raw("SELECT max(n) FROM (SELECT count(*) n FROM deleted GROUP BY tx) b").Scan(&largest).Error)
		require.EqualValues(t, 7, largest)
		n, err = remove(t.Context(), db, age, 0)
		require.NoError(t, err)
		require.Zero(t, n)
		_, err = remove(t.Context(), db, age, -1)
		require.ErrorIs(t, err, holdfast.ErrInvalid)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = remove(ctx, db, 0, 7)
		require.ErrorIs(t, err, context.Canceled)

		// A row that another process is deleting holds up nobody.
		other := db.Begin()
		require.NoError(t, other.Exec("SELECT 1 FROM "+table+" ORDER BY created_at LIMIT 1 FOR UPDATE").Error)
		n, err = remove(t.Context(), db, 0, 7)
		require.NoError(t, err)
		require.EqualValues(t, 49, n)
		require.NoError(t, other.Rollback().Error)
	}
	requireNoRow(t, db, "t100")
}

// No configuration of the caller's gorm changes what happens.
func TestGormConfigurations(t *testing.T) {
	spoil := func(db *gorm.DB) *gorm.DB {
		hook := func(tx *gorm.DB) {
			if sql := tx.Statement.SQL.String(); strings.Contains(sql, "holdfast") {
				_ = tx.AddError(errBoom)
			}
		}
		require.NoError(t, db.Callback().Raw().Before("*").Register("spoil", hook))
		require.NoError(t, db.Callback().Row().Before("*").Register("spoil", hook))
		return db
	}
	_, base := migrated(t)
	inSchema := func(extra string) string {
		u, err := url.Parse(base)
		require.NoError(t, err)
		u.RawQuery += "&search_path=tenant" + extra
		return u.String()
	}
	admin := open(t, base, nil)
	require.NoError(t, admin.Exec("CREATE SCHEMA tenant; CREATE TABLE tenant.orders (id text)").Error)
	tenant := open(t, inSchema(""), nil)
	require.Error(t, barrier.CheckMigrated(t.Context(), tenant))
	require.NoError(t, barrier.Migrate(t.Context(), tenant))

	loud := &countingLogger{Interface: logger.Discard}
	cases := map[string]*gorm.DB{
		"naming":          open(t, base, &gorm.Config{NamingStrategy: schema.NamingStrategy{TablePrefix: "x_", SingularTable: true}}),
		"prepare":         open(t, base, &gorm.Config{PrepareStmt: true}),
		"prepare-session": open(t, base, nil).Session(&gorm.Session{PrepareStmt: true}),
		"skip":            open(t, base, &gorm.Config{SkipDefaultTransaction: true, DisableNestedTransaction: true}),
		"translate":       open(t, base, &gorm.Config{TranslateError: true}),
		"callbacks":       spoil(open(t, base, nil)),
		"simple":          simple(t, base),
		"conditions":      open(t, base, nil).Where("1 = 0").Clauses(clause.Returning{}),
		"logger":          open(t, base, &gorm.Config{Logger: loud}),
		"search-path":     tenant,
	}
	for name, db := range cases {
		t.Run(name, func(t *testing.T) {
			id := "cfg-" + name
			_, err := barrier.Read(t.Context(), db, id)
			require.ErrorIs(t, err, holdfast.ErrNotFound)
			for i := range 2 {
				r := barrier.Run(t.Context(), db, local(id), func(_ context.Context, tx *gorm.DB, ms []*holdfast.Message) error {
					ms[0].Body = []byte("\x00\xff'\\")
					return placeOrder(tx, id)
				})
				require.NoError(t, r.Err)
				require.Equal(t, holdfast.Commit, r.Resolution)
				require.Equal(t, i == 1, r.Repeated)
			}
			row, err := barrier.CheckBack(t.Context(), db, id, group, 0)
			require.NoError(t, err)
			require.Equal(t, holdfast.Commit, row.Resolution)
			require.Equal(t, []byte("\x00\xff'\\"), row.Messages[0].Body)
			row, err = barrier.CheckBack(t.Context(), db, id+"-none", group, 0)
			require.NoError(t, err)
			require.Equal(t, holdfast.Rollback, row.Resolution)
			r := barrier.Run(t.Context(), db, local(id+"-none"), placing(id+"-none"))
			require.ErrorIs(t, r.Err, holdfast.ErrAlreadyResolved)
			for i := range 2 {
				repeated, err := barrier.Consume(t.Context(), db, "billing", id, func(_ context.Context, tx *gorm.DB) error {
					return placeOrder(tx, id+"-consumed")
				})
				require.NoError(t, err)
				require.Equal(t, i == 1, repeated)
			}
			for i := range 2 {
				repeated, err := barrier.Step(t.Context(), db, step(id), func(_ context.Context, tx *gorm.DB) error {
					return placeOrder(tx, id+"-step")
				})
				require.NoError(t, err)
				require.Equal(t, i == 1, repeated)
			}
			for _, want := range []barrier.UndoResult{barrier.Undone, barrier.Repeated} {
				result, err := barrier.Undo(t.Context(), db, "billing", id, id+".notice", func(_ context.Context, tx *gorm.DB) error {
					return placeOrder(tx, id+"-undone")
				})
				require.NoError(t, err)
				require.Equal(t, want, result)
			}
			plainDB := db.Session(&gorm.Session{NewDB: true})
			saga := id + "-saga"
			doStep(t, db, saga, false, doing(saga, "", refuse("sold out")))
			for i := range 2 {
				r := doStep(t, db, saga, true, doing(saga, `{"n":"'\\"}`, nil))
				require.Equal(t, barrier.StepResult{Outcome: barrier.StepDone, Result: []byte(`{"n":"'\\"}`), Repeated: i == 1}, r)
			}
			for _, want := range []barrier.UndoResult{barrier.Undone, barrier.Repeated} {
				require.Equal(t, want, undoOf(t, db, saga, "cancelled", undoingStep(saga)))
			}
			require.Equal(t, []string{saga, saga + ` undone {"n":"'\\"}`}, effects(t, plainDB, saga))
			require.Equal(t, barrier.Blocked, undoOf(t, db, saga+"-none", "cancelled", neverUndo(t)))
			require.Equal(t, "done", string(doStep(t, db, saga+"-silent", false, doing(saga, "", nil)).Outcome))
			require.Empty(t, doStep(t, db, saga+"-silent", false, neverDo(t)).Result)
			for _, effect := range []string{"-consumed", "-step", "-undone"} {
				require.Equal(t, 1, orders(t, plainDB, id+effect))
			}
			require.NoError(t, barrier.CheckMigrated(t.Context(), db))
			_, err = barrier.DeleteOutcomes(t.Context(), db, time.Hour, 10)
			require.NoError(t, err)
		})
	}
	require.Zero(t, loud.barrier, "the caller's log shows the caller's statements")
	var n int
	require.NoError(t, admin.Raw("SELECT count(*) FROM tenant.holdfast_outcomes").Scan(&n).Error)
	require.Equal(t, 2, n)
}

func simple(t *testing.T, url string) *gorm.DB {
	db, err := gorm.Open(postgres.New(postgres.Config{DSN: url, PreferSimpleProtocol: true}), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	t.Cleanup(func() { pool, _ := db.DB(); _ = pool.Close() })
	return db
}

type countingLogger struct {
	logger.Interface
	barrier int
}

func (l *countingLogger) LogMode(logger.LogLevel) logger.Interface { return l }
func (l *countingLogger) Trace(_ context.Context, _ time.Time, f func() (string, int64), _ error) {
	if sql, _ := f(); strings.Contains(sql, "holdfast") {
		l.barrier++
	}
}
