package cli

import (
	"context"
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/keyring"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// Where keys are hashed, an operator types them in clear: every flag and argument that means a key
// finds what the application keeps under its hash, and what is started is kept so, too. What
// has another key, from before, is still found by it where an ID is asked for.
func TestKeysAreTypedInClear(t *testing.T) {
	s := stacktest.Shared(t)
	ring := filepath.Join(t.TempDir(), "ring")
	prefix, database := stacktest.Prefix(t), stacktest.Database(t, s)
	env := []string{"USER=ann", "HOLDFAST_TIMEOUT=2m", "HOLDFAST_PREFIX=" + prefix, "AMQP_URL=" + s.AMQPURL(), "DATABASE_URL=" + database,
		"TEMPORAL_ADDRESS=" + s.TemporalAddress(), "TEMPORAL_NAMESPACE=" + s.Namespace()}
	_, err := keyring.New(ring)
	require.NoError(t, err)
	k, err := keyring.Open(ring)
	require.NoError(t, err)
	clear := prefix + " ann@example.com"
	hash, err := holdfast.HashKey(t.Context(), k, clear)
	require.NoError(t, err)
	hashing := append(env[:len(env):len(env)], "HOLDFAST_KEYRING="+ring, "HOLDFAST_HASH_KEYS=on")
	run := func(args ...string) result { t.Helper(); return runProgram(t, hashing, args...) }
	fine := func(args ...string) string {
		t.Helper()
		r := run(args...)
		require.Equal(t, frame.ExitOK, r.status, r.err)
		require.NotContains(t, r.out, "ann@", "%v", args)
		return r.out
	}

	db, err := gorm.Open(postgres.Open(database), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	t.Cleanup(func() {
		pool, err := db.DB()
		require.NoError(t, err)
		require.NoError(t, pool.Close())
	})
	require.NoError(t, barrier.Migrate(t.Context(), db))
	// It is told hashes, as a program that calls HashKey by itself.
	w, err := worker.New(worker.Options{Group: "orders", Temporal: stacktest.TemporalClient(t, s), Namespace: s.Namespace(), AMQPURL: s.AMQPURL(),
		DB: db, Prefix: prefix, Keyring: k})
	require.NoError(t, err)
	w.Local("place", func(_ context.Context, tx *gorm.DB, m *holdfast.Message) error { return tx.Exec("SELECT 1").Error })
	w.Consume(worker.Consumer{Name: "payments", Topics: []string{"order.#"},
		HandleAtLeastOnce: func(context.Context, holdfast.Message) error { return holdfast.Permanent(errSoldOut) }})
	def := saga.Saga[sealedOrder]{Name: "pay", Key: func(sealedOrder) string { return hash }, Steps: []saga.Step[sealedOrder]{saga.Wait("approve", 0)}}
	quick := saga.Saga[sealedOrder]{Name: "quick", Lane: holdfast.Express, Key: def.Key, Steps: []saga.Step[sealedOrder]{
		saga.Local("do", func(_ context.Context, tx *gorm.DB, _ *sealedOrder) error { return tx.Exec("SELECT 1").Error }, nil).NoUndo()}}
	w.Saga(def)
	w.Saga(quick)
	sh := &shop{t: t, group: "orders", w: w, env: env}
	sh.run()

	tx := prefix + "-1"
	fine("tx", "start", "--group", "orders", "--handler", "place", "--topic", "order.placed", "--id", tx, "--key", clear, "--body", "{}")
	sh.eventually(func() bool { return run("dead", "show", tx).status == frame.ExitOK }, func() string { return "no dead letter" })
	for _, key := range []string{clear, hash} {
		sh.eventually(func() bool {
			return run("dead", "show", key).status == frame.ExitOK && run("tx", "show", key).status == frame.ExitOK
		}, func() string { return "not found by " + key })
		require.Contains(t, fine("dead", "show", key), hash)
		require.Contains(t, fine("tx", "show", key), tx)
		require.Contains(t, fine("tx", "list", "--key", key), tx)
		require.Contains(t, fine("dead", "list", "--key", key), tx)
		r := run("dead", "list", "--group-by", "topic", "--key", key) // which repeats what was typed in a command
		require.Contains(t, r.out, "order.placed", r.err)
	}
	require.NotContains(t, fine("tx", "list", "--key", "another"), tx)

	h, err := worker.StartSaga(t.Context(), w, def, sealedOrder{Card: "1"})
	require.NoError(t, err)
	r := run("saga", "start", "pay", "--group", "orders", "--key", clear, "--data", `{"card":"1"}`)
	require.Contains(t, r.err, h.ID()+" is there already")
	fine("saga", "start", "pay", "--group", "orders", "--key", clear+" 2", "--data", `{"card":"1"}`)
	for _, key := range []string{clear, hash, "pay/" + clear, h.ID(), prefix + ":saga/orders/pay/" + hash} {
		require.Contains(t, fine("saga", "show", key, "--group", "orders"), h.ID(), key)
	}
	sh.eventually(func() bool {
		var rows []sagas.Row
		require.NoError(t, json.Unmarshal([]byte(fine("saga", "list", "--key", clear, "--json")), &rows))
		return len(rows) == 1 && rows[0].ID == h.ID()
	}, func() string { return "not listed" })
	fine("saga", "answer", clear, "--step", "approve", "--reason", "fair")
	_, err = h.Wait(t.Context())
	require.NoError(t, err)
	fine("saga", "compensate", "pay/"+clear, "--group", "orders", "--reason", "no more")

	h, err = worker.StartSaga(t.Context(), w, quick, sealedOrder{})
	require.NoError(t, err)
	_, err = h.Wait(t.Context())
	require.NoError(t, err)
	require.Contains(t, fine("saga", "show", "quick/"+clear, "--group", "orders"), h.ID(), "it has no workflow")

	old := prefix + "-2"
	r = runProgram(t, append(env[:len(env):len(env)], "HOLDFAST_KEYRING="+ring), "saga", "start", "pay", "--group", "orders", "--key", old,
		"--data", "{}")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	require.Contains(t, fine("saga", "show", "pay/"+old, "--group", "orders"), "/pay/"+old)

	for want, env := range map[string][]string{"there is no keyring: set HOLDFAST_KEYRING": append(env[:len(env):len(env)], "HOLDFAST_HASH_KEYS=on"),
		`HOLDFAST_HASH_KEYS is "yes": want on or off`: append(hashing[:len(hashing):len(hashing)], "HOLDFAST_HASH_KEYS=yes")} {
		r := runProgram(t, env, "tx", "list", "--key", clear)
		require.Equal(t, frame.ExitUsage, r.status)
		require.Contains(t, r.err, want)
		require.NotContains(t, r.err, "ann@")
	}
}
