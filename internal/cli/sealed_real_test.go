package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/keyring"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// sealedOrder is the state of the saga here.
type sealedOrder struct {
	Card string `json:"card"`
	By   string `json:"by,omitempty"`
}

// What is encrypted is shown with the keyring; without it, and with another one, the commands
// say so, and show nothing of it. What is given to a command is encrypted, too.
func TestSealed(t *testing.T) {
	s := stacktest.Shared(t)
	dir := t.TempDir()
	ring, other := filepath.Join(dir, "ring"), filepath.Join(dir, "other")
	prefix, database := stacktest.Prefix(t), stacktest.Database(t, s)
	env := []string{"USER=ann", "HOLDFAST_TIMEOUT=2m", "HOLDFAST_PREFIX=" + prefix, "AMQP_URL=" + s.AMQPURL(), "DATABASE_URL=" + database,
		"TEMPORAL_ADDRESS=" + s.TemporalAddress(), "TEMPORAL_NAMESPACE=" + s.Namespace()}
	without := func(args ...string) result { t.Helper(); return runProgram(t, env, args...) }
	with := func(args ...string) result {
		t.Helper()
		return runProgram(t, append(env[:len(env):len(env)], "HOLDFAST_KEYRING="+ring), args...)
	}
	wrong := func(args ...string) result {
		t.Helper()
		return runProgram(t, append(env[:len(env):len(env)], "HOLDFAST_KEYRING="+other), args...)
	}
	fine := func(r result) string { t.Helper(); require.Equal(t, frame.ExitOK, r.status, r.err); return r.out }

	require.Contains(t, fine(with("keyring", "new")), "with key ")
	fine(without("keyring", "new", other))
	require.NotEqual(t, frame.ExitOK, with("keyring", "new").status, "it is there")
	k, err := keyring.Open(ring)
	require.NoError(t, err)
	key := k.List()[0].ID
	require.Contains(t, fine(with("keyring", "list")), key)
	data, err := os.ReadFile(ring)
	require.NoError(t, err)
	secret := strings.SplitN(strings.SplitN(string(data), `"value": "`, 2)[1], `"`, 2)[0]

	db, err := gorm.Open(postgres.Open(database), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	t.Cleanup(func() {
		pool, err := db.DB()
		require.NoError(t, err)
		require.NoError(t, pool.Close())
	})
	require.NoError(t, barrier.Migrate(t.Context(), db))
	w, err := worker.New(worker.Options{Group: "orders", Temporal: stacktest.TemporalClient(t, s), Namespace: s.Namespace(), AMQPURL: s.AMQPURL(),
		DB: db, Prefix: prefix, Keyring: k})
	require.NoError(t, err)
	var broken atomic.Bool
	broken.Store(true)
	handled := make(chan holdfast.Message, 10)
	w.Local("place", func(_ context.Context, tx *gorm.DB, m *holdfast.Message) error { return tx.Exec("SELECT 1").Error })
	w.Consume(worker.Consumer{Name: "payments", Topics: []string{"order.#"}, DeadLetters: holdfast.Policy{AllowEdits: true},
		HandleAtLeastOnce: func(_ context.Context, m holdfast.Message) error {
			if broken.Load() {
				return holdfast.Permanent(errSoldOut)
			}
			handled <- m.Clone()
			return nil
		}})
	def := saga.Saga[sealedOrder]{Name: "pay", Key: func(o sealedOrder) string { return "1" }, Steps: []saga.Step[sealedOrder]{
		saga.Wait("approve", 0).Receive(saga.Into(func(o *sealedOrder, by string) error { o.By = by; return nil }))}}
	w.Saga(def)
	sh := &shop{t: t, group: "orders", w: w, env: env}
	sh.run()

	const body = `{"card":"4711-secret"}`
	fine(with("tx", "start", "--group", "orders", "--handler", "place", "--topic", "order.placed", "--id", prefix+"-1", "--key", prefix, "--body", body))
	shown := func(args ...string) {
		t.Helper()
		require.Contains(t, fine(with(args...)), "4711-secret")
		for name, r := range map[string]result{"without": without(args...), "another": wrong(args...)} {
			fine(r)
			require.Contains(t, r.out, "encrypted: give HOLDFAST_KEYRING", name)
			require.Contains(t, r.out, "key "+key, name)
			require.NotContains(t, r.out, "4711", name)
			require.NotContains(t, r.out, "(binary)", name)
		}
	}
	shown("tx", "show", prefix+"-1", "--body")
	sh.eventually(func() bool { return with("dead", "show", prefix+"-1").status == frame.ExitOK }, func() string { return "no dead letter" })
	shown("dead", "show", prefix+"-1")
	require.Equal(t, body, fine(with("dead", "show", prefix+"-1", "--raw")))
	r := without("dead", "show", prefix+"-1", "--raw")
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, "HOLDFAST_KEYRING")
	require.Empty(t, r.out)

	edited := filepath.Join(dir, "edited.json")
	require.NoError(t, os.WriteFile(edited, []byte(`{"card":"4712-secret"}`), 0o600))
	broken.Store(false)
	redeliver := []string{"dead", "redeliver", prefix + "-1", "--edit", edited, "--reason", "as agreed", "--wait", "1m"}
	r = without(redeliver...)
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, "HOLDFAST_KEYRING")
	fine(with(redeliver...))
	got := <-handled
	require.Equal(t, `{"card":"4712-secret"} application/json`, string(got.Body)+" "+got.ContentType)

	fine(with("saga", "start", "pay", "--group", "orders", "--key", "1", "--data", `{"card":"4711-secret"}`))
	h := worker.JoinSaga(w, def, "1")
	_, err = worker.StartSaga(t.Context(), w, def, sealedOrder{Card: "4711-secret"})
	require.NoError(t, err, "the same content")
	shown("saga", "show", "pay/1", "--group", "orders", "--data")
	fine(with("saga", "answer", "pay/1", "--group", "orders", "--step", "approve", "--value", `"ann-secret"`, "--reason", "fair"))
	end, err := h.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, sealedOrder{"4711-secret", "ann-secret"}, end)
	require.NotContains(t, fine(without("saga", "show", "pay/1", "--group", "orders", "--data", "--json", "--history")), "-secret")
	require.Contains(t, fine(with("saga", "show", "pay/1", "--group", "orders", "--data", "--json")), "ann-secret")

	for _, r := range []result{with("keyring", "list"), with("keyring", "rotate", "--stage"), with("keyring", "rotate"), with("keyring", "list", "--json")} {
		require.NotContains(t, fine(r)+r.err, secret)
	}
	require.NoError(t, os.Chmod(ring, 0o644))
	r = with("tx", "list")
	require.Contains(t, r.err, "chmod 600")
	require.NotContains(t, r.err, secret)
}
