package cli

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/grants"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// grantee makes a role that may what `holdfast migrate --print-grants` prints, in a migrated
// database, and nothing else.
func grantee(t *testing.T, address string, owner *gorm.DB) (role, theirs string, db *gorm.DB) {
	t.Helper()
	role = "role_" + strings.ToLower(rand.Text()[:12])
	do := func(statement string) { require.NoError(t, owner.Exec(statement).Error) }
	do("CREATE ROLE " + role + " LOGIN PASSWORD 'pw'")
	t.Cleanup(func() {
		do("DROP OWNED BY " + role)
		do("DROP ROLE " + role)
	})
	do("REVOKE ALL ON SCHEMA public FROM PUBLIC")
	do("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC")
	r := runProgram(t, nil, "migrate", "--print-grants", role)
	require.Equal(t, frame.ExitOK, r.status, r.err)
	do(r.out)
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.User = url.UserPassword(role, "pw")
	db, err = gorm.Open(postgres.Open(u.String()), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	t.Cleanup(func() {
		pool, err := db.DB()
		require.NoError(t, err)
		require.NoError(t, pool.Close())
	})
	return role, u.String(), db
}

// TestGrantsAreEnough: with the rights that `holdfast migrate --print-grants` prints, and
// none to make anything, a process sends in both lanes, consumes, runs and undoes sagas,
// is checked back and deletes old rows. Where one right is missing, the error names it, and
// nothing is lost.
func TestGrantsAreEnough(t *testing.T) {
	t.Parallel()
	s := stacktest.Shared(t)
	address, owner := migrated(t)
	require.NoError(t, owner.Exec("CREATE TABLE effects (id text)").Error)
	role, _, db := grantee(t, address, owner)
	require.NoError(t, owner.Exec("GRANT SELECT, INSERT ON effects TO "+role).Error)
	require.Error(t, db.Exec("CREATE TABLE more (id text)").Error)
	require.Error(t, db.Exec("SELECT * FROM holdfast_audit").Error)

	var log logged
	prefix, got := stacktest.Prefix(t), make(chan string, 100)
	w, err := worker.New(worker.Options{Group: "g", Temporal: stacktest.TemporalClient(t, s), Namespace: s.Namespace(), AMQPURL: s.AMQPURL(), DB: db, Prefix: prefix,
		Logger: slog.New(&log), CheckAfter: time.Second})
	require.NoError(t, err)
	w.Consume(worker.Consumer{Name: "c", Topics: []string{"a"}, Handle: func(_ context.Context, tx *gorm.DB, m holdfast.Message) error {
		got <- m.ID
		return tx.Exec("INSERT INTO effects VALUES (?)", m.ID).Error
	}})
	ending := saga.Saga[string]{Name: "s", Key: func(x string) string { return x }, Steps: []saga.Step[string]{
		saga.Local("do", func(_ context.Context, tx *gorm.DB, x *string) error {
			return tx.Exec("INSERT INTO effects VALUES (?)", *x).Error
		},
			func(_ context.Context, tx *gorm.DB, x *string) error {
				return tx.Exec("INSERT INTO effects VALUES (?)", "undo "+*x).Error
			}),
		saga.Local("refuse", func(context.Context, *gorm.DB, *string) error { return saga.Refuse("no") }, nil).NoUndo()}}
	inExpress := ending
	inExpress.Name, inExpress.Lane = "express", holdfast.Express
	w.Saga(ending)
	w.Saga(inExpress)
	sh := &shop{t: t, w: w}
	sh.run()
	t.Cleanup(func() {
		stacktest.DeleteQueues(t, s.AMQPURL(), prefix+".q.c", prefix+".alone.c", prefix+".half.g", prefix+".dead", prefix+".dead.expired", prefix+".dead.oversized",
			prefix+".replies.g", prefix+".retry.10s", prefix+".retry.30s", prefix+".retry.1m", prefix+".retry.5m", prefix+".retry.15m", prefix+".retry.1h", prefix+".alerts")
	})
	effects := func(id string) (n int64) {
		require.NoError(t, owner.Raw("SELECT count(*) FROM effects WHERE id = ?", id).Scan(&n).Error)
		return n
	}
	arrives := func(id string) {
		t.Helper()
		sh.eventually(func() bool { return effects(id) == 1 }, func() string { return "no effect of " + id + ": " + strings.Join(log.with(""), "\n") })
	}
	for _, lane := range []holdfast.Lane{holdfast.Traced, holdfast.Express} {
		arrives(sh.sends(holdfast.Message{Topic: "a", Lane: lane}))
	}
	for _, def := range []saga.Saga[string]{ending, inExpress} {
		h, err := worker.StartSaga(t.Context(), w, def, "of "+def.Name)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, holdfast.ErrSagaCompensated)
		require.Equal(t, []int64{1, 1}, []int64{effects("of " + def.Name), effects("undo of " + def.Name)})
	}
	dying, err := broker.Open(t.Context(), broker.Options{URL: s.AMQPURL(), Prefix: prefix, NoDeclare: true})
	require.NoError(t, err)
	lost := uuid.NewString()
	require.NoError(t, dying.PublishHalf(t.Context(), holdfast.Half{TxID: lost, Group: "g", Lane: holdfast.Express, Messages: []holdfast.Message{{ID: lost, Topic: "a"}}}))
	require.NoError(t, dying.Close(t.Context()))
	sh.eventually(func() bool {
		var n int64
		require.NoError(t, owner.Raw("SELECT count(*) FROM holdfast_outcomes WHERE tx_id = ? AND resolution = 'rollback'", lost).Scan(&n).Error)
		return n == 1
	}, func() string { return "no check-back: " + strings.Join(log.with(""), "\n") })
	for _, remove := range []func(context.Context, *gorm.DB, time.Duration, int) (int64, error){barrier.DeleteOutcomes, barrier.DeleteInbox, barrier.DeleteSteps} {
		_, err := remove(t.Context(), db, 24*time.Hour, 0)
		require.NoError(t, err)
	}
	require.NoError(t, barrier.CheckMigrated(t.Context(), db))
	require.Empty(t, log.with("42501"))

	// A sender without its right: an error that names it; nothing was done.
	require.NoError(t, owner.Exec("REVOKE INSERT ON holdfast_outcomes FROM "+role).Error)
	id := uuid.NewString()
	_, err = w.Send(t.Context(), holdfast.Message{ID: id, Topic: "a", Lane: holdfast.Express}, func(context.Context, *gorm.DB, *holdfast.Message) error { return nil })
	require.ErrorContains(t, err, "permission denied for table holdfast_outcomes")
	require.ErrorContains(t, err, "grant this user SELECT, INSERT, UPDATE, DELETE on holdfast_outcomes: `holdfast migrate --print-grants ROLE`")
	require.NoError(t, owner.Exec("GRANT INSERT ON holdfast_outcomes TO "+role).Error)
	// A consumer without its right: what was sent meanwhile waits, and takes effect once.
	require.NoError(t, owner.Exec("REVOKE INSERT ON holdfast_inbox FROM "+role).Error)
	waits := sh.sends(holdfast.Message{Topic: "a", Lane: holdfast.Traced})
	sh.eventually(func() bool { return len(log.with("SELECT, INSERT, UPDATE, DELETE on holdfast_inbox")) > 0 },
		func() string { return "it does not say so: " + strings.Join(log.with(""), "\n") })
	require.Zero(t, effects(waits))
	require.NoError(t, owner.Exec("GRANT INSERT ON holdfast_inbox TO "+role).Error)
	arrives(waits)
	require.Zero(t, effects(id))
}

// TestDoctorFindsMissingGrants: each right that a process needs, taken away by itself.
func TestDoctorFindsMissingGrants(t *testing.T) {
	t.Parallel()
	address, owner := migrated(t)
	role, theirs, _ := grantee(t, address, owner)
	env := []string{"DATABASE_URL=" + theirs}
	const others = "rabbitmq,temporal,waiting"
	all, status := found(t, env, others, "PostgreSQL", "rights")
	require.Equal(t, frame.ExitOK, status, all)
	require.Equal(t, text.LevelOK, all[0].Level)
	for _, r := range grants.Of() {
		kind := "TABLE "
		if r.Function() {
			kind = "FUNCTION "
		}
		for _, verb := range r.Verbs {
			if verb == "SELECT" && r.Object == "holdfast_migrations" {
				continue // without it nothing can be said of the tables: that is what doctor says
			}
			require.NoError(t, owner.Exec("REVOKE "+verb+" ON "+kind+r.Object+" FROM "+role).Error)
			all, status = found(t, env, others, "PostgreSQL", "rights")
			require.Equal(t, frame.ExitError, status, r)
			require.Equal(t, text.LevelProblem, all[0].Level)
			require.Contains(t, all[0].Detail, "lacks "+verb+" on "+r.Object+":")
			require.Contains(t, all[0].Remedy, "holdfast migrate --print-grants "+role)
			require.NoError(t, owner.Exec("GRANT "+verb+" ON "+kind+r.Object+" TO "+role).Error)
		}
	}
	for _, r := range grants.Of() { // a role that only reads, as the console's, is no process's
		if !r.Function() {
			require.NoError(t, owner.Exec("REVOKE INSERT, UPDATE, DELETE ON "+r.Object+" FROM "+role).Error)
		}
	}
	all, status = found(t, env, others, "PostgreSQL", "rights")
	require.Equal(t, frame.ExitOK, status)
	require.Contains(t, all[0].Detail, "only reads")
	require.NoError(t, owner.Exec("REVOKE SELECT ON holdfast_migrations FROM "+role).Error)
	all, status = found(t, env, others, "PostgreSQL", "connection")
	require.Equal(t, frame.ExitError, status)
	require.Contains(t, all[0].Detail+all[0].Remedy, "SELECT on holdfast_migrations")
}
