package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/cli/setup"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/doctor"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// patience is how long tests wait for what must come.
const patience = 5 * time.Minute

// errSoldOut is a local transaction's own refusal.
var errSoldOut = errors.New("sold out")

// shop is a producer group and a consumer on the shared stack, and the
// environment in which the program sees them.
type shop struct {
	t     *testing.T
	group string
	env   []string
	w     *worker.Worker
	c     client.Client
	stop  func() // stops the worker; may be called again
}

// undecidable is a topic whose Checker never knows.
const undecidable = "order.odd"

func newShop(t *testing.T) *shop {
	s := stacktest.Shared(t)
	prefix, database := stacktest.Prefix(t), stacktest.Database(t, s)
	sh := &shop{t: t, group: prefix, c: stacktest.TemporalClient(t, s), env: []string{"USER=ann", "HOLDFAST_TIMEOUT=2m", "HOLDFAST_PREFIX=" + prefix,
		"AMQP_URL=" + s.AMQPURL(), "DATABASE_URL=" + database, "TEMPORAL_ADDRESS=" + s.TemporalAddress(),
		"TEMPORAL_NAMESPACE=" + s.Namespace(), "HOLDFAST_TEMPORAL_UI=http://ui.example"}}
	db, err := gorm.Open(postgres.Open(database), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	t.Cleanup(func() {
		pool, err := db.DB()
		require.NoError(t, err)
		require.NoError(t, pool.Close())
	})
	require.NoError(t, barrier.Migrate(t.Context(), db))
	sh.w, err = worker.New(worker.Options{Group: sh.group, Temporal: sh.c, Namespace: s.Namespace(), AMQPURL: s.AMQPURL(), DB: db, Prefix: prefix,
		CheckBack: txflow.Schedule{Delays: []time.Duration{10 * time.Millisecond}, MaxChecks: 1}})
	require.NoError(t, err)
	sh.w.Check(undecidable, holdfast.CheckerFunc(func(context.Context, holdfast.Message) (holdfast.Resolution, error) {
		return holdfast.Unknown, nil
	}))
	sh.w.Local("place", func(_ context.Context, tx *gorm.DB, m *holdfast.Message) error {
		if m.Key == "none" {
			return errSoldOut
		}
		return tx.Exec("SELECT 1").Error
	})
	sh.w.Consume(worker.Consumer{Name: "payments", Topics: []string{"order.#"},
		HandleAtLeastOnce: func(context.Context, holdfast.Message) error { return nil }})
	sh.run()
	return sh
}

// run runs the worker until stop, or the end of the test.
func (s *shop) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- s.w.Run(ctx)
		close(ended)
	}()
	s.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(s.t, <-ended)
	})
	s.t.Cleanup(func() { s.stop() })
	select {
	case <-s.w.Ready():
	case err := <-ended:
		require.NoError(s.t, err)
		s.t.Fatal("the worker ended")
	}
}

func (s *shop) holdfast(args ...string) result {
	s.t.Helper()
	return runProgram(s.t, s.env, args...)
}

// answered runs the program until its result is as it should be: it gives processes a
// second to answer, which is too short on a slow machine.
func (s *shop) answered(ready func(result) bool, args ...string) (r result) {
	s.t.Helper()
	s.eventually(func() bool {
		r = s.holdfast(args...)
		return ready(r)
	}, func() string { return fmt.Sprint(args, r) })
	return r
}

// prints is a result with this part in its output, complains one with it in its errors.
func prints(part string) func(result) bool {
	return func(r result) bool { return strings.Contains(r.out, part) }
}

func complains(part string) func(result) bool {
	return func(r result) bool { return strings.Contains(r.err, part) }
}

// decode runs the program with --json.
func (s *shop) decode(v any, args ...string) {
	s.t.Helper()
	r := s.holdfast(append(args, "--json")...)
	require.Equal(s.t, frame.ExitOK, r.status, r.err)
	require.NoError(s.t, json.Unmarshal([]byte(r.out), v), r.out)
}

// list lists until what ready waits for is there: the visibility store is late.
func (s *shop) list(ready func([]transactions.Row) bool, args ...string) []transactions.Row {
	s.t.Helper()
	var rows []transactions.Row
	s.eventually(func() bool {
		s.decode(&rows, append([]string{"tx", "list", "--group", s.group}, args...)...)
		return ready(rows)
	}, func() string { return fmt.Sprint(rows) })
	return rows
}

func (s *shop) eventually(ready func() bool, what func() string) {
	s.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ready(); <-tick.C {
		if time.Now().After(deadline) {
			s.t.Fatalf("not in %v: %s", patience, what())
		}
	}
}

// sends sends m until no check-back is faster, and returns its ID.
func (s *shop) sends(m holdfast.Message) (id string) {
	s.t.Helper()
	s.eventually(func() bool {
		r, err := s.w.Send(s.t.Context(), m, func(context.Context, *gorm.DB, *holdfast.Message) error { return nil })
		if id = r.TxID; err != nil {
			require.ErrorIs(s.t, err, holdfast.ErrRolledBack)
		}
		return err == nil
	}, func() string { return "check-backs are always faster" })
	return id
}

func (s *shop) send(key string) holdfast.Receipt {
	s.t.Helper()
	r, err := s.w.Send(s.t.Context(), holdfast.Message{Topic: "order.placed", Key: key, Body: []byte(`{"key":true}`)},
		func(context.Context, *gorm.DB, *holdfast.Message) error {
			if key == "none" {
				return errSoldOut
			}
			return nil
		})
	if key != "none" {
		require.NoError(s.t, err)
	}
	return r
}

// park begins a transaction that nobody can decide, and waits until it is
// parked.
func (s *shop) park(key string) string {
	s.t.Helper()
	split, err := s.w.Begin(s.t.Context(), 10*time.Millisecond, holdfast.Message{Topic: undecidable, Key: key})
	require.NoError(s.t, err)
	s.list(func(rows []transactions.Row) bool { return len(rows) == 1 }, "--state", "parked", "--key", key)
	return split.ID()
}

func ids(rows []transactions.Row) []string {
	var all []string
	for _, r := range rows {
		all = append(all, r.Tx)
	}
	return all
}

func TestListOnARealStack(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	good, bad := s.send("A-1").TxID, s.send("none").TxID
	odd := s.park("P-1")
	tricky := `"a\'b" OR HoldfastKey != ''`
	quoted := s.send(tricky).TxID

	rows := s.list(func(rows []transactions.Row) bool {
		closed := 0
		for _, r := range rows {
			if r.Closed != nil {
				closed++
			}
		}
		return len(rows) == 4 && closed == 3
	})
	require.ElementsMatch(t, []string{good, bad, odd, quoted}, ids(rows))
	require.Equal(t, odd, rows[0].Tx, "open ones come first")
	for _, r := range rows {
		require.Equal(t, s.group, r.Group)
		require.Equal(t, workflows.WorkflowID(s.prefix(), s.group, r.Tx), r.WorkflowID)
	}
	for state, want := range map[string][]string{"committed": {good, quoted}, "rolled-back": {bad}, "parked": {odd}, "running": nil, "refused": nil, "terminated": nil} {
		require.ElementsMatch(t, want, ids(s.list(func([]transactions.Row) bool { return true }, "--state", state)), state)
	}
	require.Equal(t, []string{good}, ids(s.list(func([]transactions.Row) bool { return true }, "--key", "A-1")))
	require.Equal(t, []string{quoted}, ids(s.list(func([]transactions.Row) bool { return true }, "--key", tricky)), "quotes are escaped")
	require.Equal(t, []string{odd}, ids(s.list(func([]transactions.Row) bool { return true }, "--topic", undecidable)))
	require.Len(t, s.list(func([]transactions.Row) bool { return true }, "--since", "1h"), 4)
	require.Empty(t, s.list(func([]transactions.Row) bool { return true }, "--since", "1ns"))

	r := s.holdfast("tx", "list", "--group", s.group, "--limit", "2")
	require.Equal(t, frame.ExitOK, r.status)
	require.Contains(t, r.err, "raise --limit")
	require.Equal(t, 3, strings.Count(r.out, "\n"), r.out)
}

func TestShowOnARealStack(t *testing.T) {
	s := newShop(t)
	tx := s.send("A-2").TxID
	s.list(func(rows []transactions.Row) bool { return len(rows) == 1 && rows[0].Closed != nil })

	for _, args := range [][]string{{tx}, {tx, "--group", s.group}, {workflows.WorkflowID(s.prefix(), s.group, tx)}, {"A-2", "--group", s.group}} {
		var d transactions.Detail
		s.decode(&d, append([]string{"tx", "show", "--body"}, args...)...)
		require.Equal(t, tx, d.Tx)
		require.Equal(t, "committed", d.State)
		require.Equal(t, "A-2", d.Messages[0].Key)
		require.Equal(t, `{"key":true}`, d.Messages[0].Text)
		require.Equal(t, "http://ui.example/namespaces/default/workflows/"+s.prefix()+":tx%2F"+s.group+"%2F"+tx+"/"+d.RunID+"/history", d.UI)
		var names []string
		for _, st := range d.Steps {
			names = append(names, st.Name+": "+st.Result)
		}
		require.Equal(t, []string{"started: ", "HalfSend: ok", "LocalTransaction: commit", "Commit: ok", "completed: "}, names)
		require.Contains(t, d.Steps[1].Summary, "half message for order.placed A-2")
	}
	r := s.holdfast("tx", "show", tx)
	require.Equal(t, frame.ExitOK, r.status, r.err)
	require.Regexp(t, `state +committed`, r.out)
	require.NotContains(t, r.out, `{"key":true}`, "bodies are shown only when asked for")

	r = s.holdfast("tx", "show", "01927c4e-6f0e-7cc3-98c4-dc0c0c07398f")
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, "no transaction has the ID or the key")
	require.Contains(t, r.err, "--group")
}

func TestAKeyOfSeveralIsAmbiguous(t *testing.T) {
	s := newShop(t)
	one, two := s.send("same").TxID, s.send("same").TxID
	s.list(func(rows []transactions.Row) bool { return len(rows) == 2 })
	r := s.holdfast("tx", "show", "same", "--group", s.group)
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, `"same" means 2 transactions`)
	require.Contains(t, r.err, one)
	require.Contains(t, r.err, two)
}

func TestOperatorSettlesWhatIsParked(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	commit, rollback := s.park("P-2"), s.park("P-3")

	var d transactions.Detail
	s.decode(&d, "tx", "show", commit, "--group", s.group)
	require.Equal(t, "parked", d.State)
	require.Contains(t, d.Reason, "undecided after 1 check-backs")
	rows := s.list(func(rows []transactions.Row) bool { return len(rows) == 2 }, "--state", "parked", "--error", "undecided after <n> check-backs")
	require.Contains(t, rows[0].Reason, "undecided after 1 check-backs")
	require.Empty(t, s.list(func(rows []transactions.Row) bool { return len(rows) == 0 }, "--state", "parked", "--error", "no consumer"))
	require.Len(t, d.Commands, 3)
	require.Equal(t, "holdfast tx commit "+d.WorkflowID+" --reason TEXT", d.Commands[0])
	shows := s.holdfast("tx", "show", commit, "--group", s.group)
	require.Equal(t, d.Commands, suggestions(shows.out), shows.out)

	r := s.holdfast("tx", "recheck", commit, "--group", s.group, "--reason", "look again")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	require.Regexp(t, commit+`: rechecked, it is parked: undecided after \d check-backs`, r.out)

	var done []actions.Outcome
	s.decode(&done, "tx", "commit", commit, "--group", s.group, "--reason", "the bank says so")
	require.Equal(t, actions.Committed, done[0].Outcome)
	require.Equal(t, commit, done[0].ID)

	r = s.holdfast("tx", "rollback", "P-3", "--group", s.group, "--reason", "never ran", "--operator", "bob")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	require.Contains(t, r.out, rollback+": rolled-back")

	s.decode(&d, "tx", "show", commit, "--group", s.group)
	require.Equal(t, "committed", d.State)
	var said string
	for _, st := range d.Steps {
		if st.Kind == "update" && st.Name == "commit" {
			said = st.Summary + " → " + st.Result
		}
	}
	require.Equal(t, "ann (claimed): the bank says so → committed", said)

	r = s.holdfast("tx", "commit", commit, "--group", s.group, "--reason", "again")
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, "settled already")
	require.Equal(t, 1, strings.Count(r.err, "\n"))

	r = s.holdfast("tx", "commit", "nobody", "--group", s.group, "--reason", "x")
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, "no transaction has the ID or the key")
}

func TestOperatorIsRefusedAndUnanswered(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	r := s.holdfast("tx", "start", "--group", s.group, "--handler", "place", "--topic", "nobody.listens", "--key", "U-1", "--body", "{}", "--no-wait")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	var d transactions.Detail
	s.eventually(func() bool {
		s.decode(&d, "tx", "show", "U-1", "--group", s.group)
		return d.State == "delivering"
	}, func() string { return d.State })
	r = s.holdfast("tx", "rollback", d.Tx, "--group", s.group, "--reason", "x")
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, ": refused: ")
	require.Contains(t, r.err, "decided already: commit")

	parked := s.park("P-4")
	s.stop()
	r = s.holdfast("tx", "commit", parked, "--group", s.group, "--reason", "x", "--timeout", "30s")
	require.Equal(t, frame.ExitError, r.status)
	require.Regexp(t, "no answer in time|no worker of group .* runs", r.err)
}

func TestStartOnARealStack(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	start := []string{"tx", "start", "--group", s.group, "--handler", "place", "--topic", "order.placed"}
	var got transactions.Started
	s.decode(&got, append(start, "--key", "S-1", "--id", "s-1", "--body", `{"total":12}`, "--header", "source=cli")...)
	require.Equal(t, transactions.Started{Tx: "s-1", Group: s.group, State: "committed", WorkflowID: workflows.WorkflowID(s.prefix(), s.group, "s-1"), RunID: got.RunID}, got)
	var d transactions.Detail
	s.decode(&d, "tx", "show", "s-1", "--group", s.group)
	require.Equal(t, map[string]string{"source": "cli"}, d.Messages[0].Headers)

	r := s.holdfast(append(start, "--id", "s-1")...)
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, "already used")

	r = s.holdfast(append(start, "--key", "none")...)
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.out, "is rolled-back: ")
	require.Contains(t, r.out, "sold out")

	r = runWith(t, s.env, `{"from":"stdin"}`, append(start, "--body-file", "-")...)
	require.Equal(t, frame.ExitOK, r.status, r.err)

	r = s.holdfast("tx", "start", "--group", s.group+".none", "--handler", "place", "--topic", "order.placed", "--timeout", "20s")
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, "no worker of group "+s.group+".none answers; it runs as soon as")
}

// diagnose runs the doctor, and returns what it found by part and check.
func (s *shop) diagnose(env []string, args ...string) (doctor.Diagnosis, map[string]doctor.Finding) {
	s.t.Helper()
	r := runProgram(s.t, env, append([]string{"doctor", "--json", "--timeout", "1m"}, args...)...)
	var d doctor.Diagnosis
	require.NoError(s.t, json.Unmarshal([]byte(r.out), &d), r.err)
	require.Equal(s.t, d.OK, r.status == frame.ExitOK)
	by := map[string]doctor.Finding{}
	for _, f := range d.Findings {
		by[f.Part+" "+f.Check] = f
	}
	return d, by
}

func TestDoctorOnAHealthyStack(t *testing.T) {
	s := newShop(t)
	var d doctor.Diagnosis
	s.eventually(func() bool { // the servers learn of pollers and consumers only when these begin
		d, _ = s.diagnose(s.env, "--group", s.group, "--consumer", "payments")
		return d.OK && !slices.ContainsFunc(d.Findings, func(f doctor.Finding) bool {
			return f.Level != text.LevelOK && f.Check != "parked" // the stack is shared
		})
	}, func() string { return fmt.Sprint(d) })
	r := s.holdfast("doctor")
	require.Equal(t, frame.ExitOK, r.status)
	require.Contains(t, r.out, "\n0 problems, ")
	require.NotContains(t, r.out, "\x1b", "no colours where it is no terminal")

	s.park("P-5")
	_, by := s.diagnose(s.env)
	require.Equal(t, text.LevelWarning, by["Temporal parked"].Level)
}

func TestDoctorOnAnUnhealthyStack(t *testing.T) {
	s := newShop(t)
	stack := stacktest.Shared(t)
	env := append(s.env, "HOLDFAST_PREFIX="+stacktest.Prefix(t), "DATABASE_URL="+stacktest.Database(t, stack))
	_, by := s.diagnose(env, "--group", "orders", "--consumer", "payments")
	for _, check := range []string{"RabbitMQ exchange", "RabbitMQ group orders", "RabbitMQ consumer payments", "PostgreSQL tables", "Temporal group orders"} {
		require.Equal(t, text.LevelProblem, by[check].Level, check)
		require.NotEmpty(t, by[check].Remedy, check)
	}
	require.Equal(t, text.LevelOK, by["RabbitMQ version"].Level)

	env = append(s.env, "TEMPORAL_NAMESPACE=no-such", "AMQP_URL=amqp://ann:s3cret@127.0.0.1:1/", "DATABASE_URL=postgres://ann:s3cret@127.0.0.1:1/x")
	d, by := s.diagnose(env)
	for _, check := range []string{"RabbitMQ connection", "PostgreSQL connection", "Temporal namespace"} {
		require.Equal(t, text.LevelProblem, by[check].Level, check)
		require.NotEmpty(t, by[check].Remedy, check)
	}
	require.NotContains(t, fmt.Sprint(d), "s3cret")
	d, _ = s.diagnose(env, "--skip", "rabbitmq,postgresql,temporal")
	require.Empty(t, d.Findings)
}

func TestDoctorMakesSearchAttributes(t *testing.T) {
	s := newShop(t)
	namespace := stacktest.Prefix(t)
	_, err := s.c.WorkflowService().RegisterNamespace(t.Context(), &workflowservice.RegisterNamespaceRequest{Namespace: namespace,
		WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour)})
	var there *serviceerror.NamespaceAlreadyExists
	if err != nil && !errors.As(err, &there) {
		require.NoError(t, err)
	}
	env := append(s.env, "TEMPORAL_NAMESPACE="+namespace)
	var by map[string]doctor.Finding
	s.eventually(func() bool { // a new namespace takes a while to be known
		_, by = s.diagnose(env, "--skip", "rabbitmq,postgresql")
		return strings.Contains(by["Temporal search attributes"].Detail, "missing: HoldfastKey (KeywordList), HoldfastState (Keyword), HoldfastTopic (Keyword)")
	}, func() string { return fmt.Sprint(by) })
	require.Contains(t, by["Temporal search attributes"].Remedy, "--fix")
	_, by = s.diagnose(env, "--skip", "rabbitmq,postgresql", "--fix")
	require.Equal(t, text.LevelOK, by["Temporal search attributes"].Level, by)
}

func TestMigrateOnARealStack(t *testing.T) {
	url := stacktest.Database(t, stacktest.Shared(t))
	r := runProgram(t, nil, "migrate", "--database-url", url, "--status")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	require.Contains(t, r.out, "not there")
	var m setup.Migration
	r = runProgram(t, []string{"DATABASE_URL=" + url}, "migrate", "--json")
	require.NoError(t, json.Unmarshal([]byte(r.out), &m), r.err)
	require.Zero(t, m.From)
	require.Positive(t, m.To)
	require.Equal(t, m.Latest, m.To)
	require.NotEmpty(t, m.Identity)
	r = runProgram(t, nil, "migrate", "--database-url", url)
	require.Contains(t, r.out, "up to date")
	was := m.Identity
	r = runProgram(t, nil, "migrate", "--database-url", url, "--new-identity")
	require.Contains(t, r.out, "another identity now")
	r = runProgram(t, nil, "migrate", "--database-url", url, "--status", "--json")
	require.NoError(t, json.Unmarshal([]byte(r.out), &m), r.err)
	require.NotEqual(t, was, m.Identity)
}
