package upgrade

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	gormlogger "gorm.io/gorm/logger"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/brokertest"
	"github.com/holdfastmq/holdfast/internal/stack"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

const (
	group       = "shop" // of all processes, in each of which there are:
	consumer    = "ledger"
	participant = "trip.pay"
	patience    = 5 * time.Minute
)

// world is the servers and the processes.
type world struct {
	*testing.T
	programs map[kind]string
	calls    string // what the callers of a process are told to do: send, or sagas
	stack    *stack.Stack
	url      string // of the database
	prefix   string
	db       *gorm.DB
	broker   *broker.Broker
	temporal client.Client

	tap       *amqp.Channel
	processes []*process // that run, or ran
	running   []*process
	started   map[kind]int
	kills     map[kind]int
	phases    []*phase
	halves    map[string]bool // half messages that went through the half queue: in a record of many?
}

// newWorld starts the servers, and makes the tables of the test: no key of theirs keeps an
// effect from happening twice.
func newWorld(t *testing.T, programs map[kind]string, calls string) *world {
	st := stacktest.Private(t)
	w := &world{T: t, programs: programs, calls: calls, stack: st, url: stacktest.Database(t, st), prefix: stacktest.Prefix(t),
		temporal: stacktest.TemporalClient(t, st), started: map[kind]int{}, kills: map[kind]int{}, halves: map[string]bool{}}
	var err error
	w.db, err = gorm.Open(postgres.Open(w.url), &gorm.Config{Logger: gormlogger.Discard})
	require.NoError(t, err)
	t.Cleanup(func() {
		if pool, err := w.db.DB(); err == nil {
			_ = pool.Close()
		}
	})
	require.NoError(t, w.db.Exec("CREATE TABLE orders (id text NOT NULL, sender text NOT NULL)").Error)
	require.NoError(t, w.db.Exec("CREATE TABLE effects (id text NOT NULL, sender text NOT NULL)").Error)
	require.NoError(t, w.db.Exec("CREATE TABLE marks (key text NOT NULL, what text NOT NULL)").Error)
	require.NoError(t, w.db.Exec(`CREATE TABLE trips (key text NOT NULL, saga integer NOT NULL, sender text NOT NULL,
caller integer NOT NULL, refused boolean NOT NULL, ended text NOT NULL DEFAULT '')`).Error)
	w.broker, err = broker.Open(t.Context(), broker.Options{URL: st.AMQPURL(), Prefix: w.prefix, Name: "upgrade"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.broker.Close(context.Background()) })
	t.Cleanup(func() {
		for _, p := range w.processes {
			p.kill()
		}
	})
	return w
}

// env is the environment of a process of a kind.
func (w *world) env(k kind) []string {
	env := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "HOLDFAST_") })
	env = append(append(env, w.stack.Env()...), "DATABASE_URL="+w.url, "HOLDFAST_PREFIX="+w.prefix)
	if k == rolling {
		env = append(env, "HOLDFAST_ROLLING_UPGRADE=1")
	}
	return env
}

// migrate has a program of a kind make Holdfast's tables.
func (w *world) migrate(k kind) {
	w.Helper()
	cmd := exec.Command(w.programs[k], "migrate")
	cmd.Env = w.env(k)
	out, err := cmd.CombinedOutput()
	require.NoError(w, err, "%s", out)
}

func (w *world) late() <-chan time.Time { return time.After(patience) }

// join starts processes of a kind, which send nothing yet; run starts some that do.
func (w *world) join(k kind, n int) {
	w.Helper()
	for range n {
		w.running = append(w.running, w.start(k))
	}
}

func (w *world) run(k kind, n int) {
	w.Helper()
	w.join(k, n)
	for _, p := range w.running[len(w.running)-n:] {
		p.tell(w.calls)
	}
}

// leave ends the processes of a kind, one after the other, while they send.
func (w *world) leave(k kind) {
	w.Helper()
	w.leaveAnd(k, func(*process) {})
}

// leaveAnd also does something after each.
func (w *world) leaveAnd(k kind, then func(*process)) {
	w.Helper()
	for _, p := range slices.Clone(w.running) {
		if p.kind == k {
			p.end()
			w.gone(p)
			then(p)
		}
	}
}

func (w *world) gone(p *process) {
	w.running = slices.DeleteFunc(w.running, func(o *process) bool { return o == p })
}

// kill kills a process; another one takes its place.
func (w *world) kill(p *process) {
	w.Helper()
	p.kill()
	w.kills[p.kind]++
	w.gone(p)
	w.run(p.kind, 1)
}

// eventually waits until f finds nothing that is missing.
func (w *world) eventually(what string, f func() (missing string)) {
	w.Helper()
	var last string
	for since := time.Now(); ; {
		missing := f()
		if missing == "" {
			return
		}
		if missing != last {
			last, since = missing, time.Now()
		}
		if time.Since(since) > patience {
			w.Fatalf("%s: %s\n%s", what, missing, w.said())
		}
		w.noDeadLetters()
		time.Sleep(50 * time.Millisecond) // between two looks
	}
}

func (w *world) said() string {
	var out []string
	for _, p := range w.running {
		out = append(out, p.tail())
	}
	return strings.Join(out, "\n")
}

// orders waits until a process has committed so many local transactions.
func (w *world) orders(p *process, n int) {
	w.Helper()
	w.eventually("orders of "+p.name, func() string {
		var have int
		require.NoError(w, w.db.Raw("SELECT count(*) FROM orders WHERE sender = ?", p.name).Scan(&have).Error)
		if have >= n {
			return ""
		}
		return fmt.Sprintf("%d of %d", have, n)
	})
}

// keeper is the process that keeps the half queue, and how much it has handed over. None: nobody says so.
func (w *world) keeper() (*process, uint64) {
	said, _ := w.broker.Ask(w.Context(), time.Second)
	for _, s := range said {
		for _, k := range s.Keepers {
			for _, p := range w.running {
				if k.Active && k.Subscribed && p.name == s.Instance {
					return p, k.HandedOver
				}
			}
		}
	}
	return nil, 0
}

// keepBy kills Keepers until one of a kind keeps the half queue.
func (w *world) keepBy(k kind) (p *process, handedOver uint64) {
	w.Helper()
	w.eventually("a Keeper of kind "+string(k), func() string {
		switch p, handedOver = w.keeper(); {
		case p == nil:
			return "nobody keeps the half queue"
		case p.kind != k:
			w.kill(p)
			return "not " + p.name
		}
		return ""
	})
	return p, handedOver
}

// rest has all callers stop, and waits until nothing is under way any more: no record with a
// Keeper, no message in a queue, no open workflow.
func (w *world) rest() {
	w.Helper()
	idle := map[*process]int{}
	for _, p := range w.running {
		idle[p], _ = p.times("idle")
		p.tell("rest")
	}
	for p, n := range idle {
		p.await("idle", n+1)
	}
	w.eventually("it does not come to rest", w.busy)
	w.eventually("it does not come to rest", w.busy) // what was in no queue at the first look
}

// busy says what is under way.
func (w *world) busy() string {
	var out []string
	left, err := w.left()
	if err != nil {
		return err.Error()
	}
	out = append(out, left...)
	said, err := w.broker.Ask(w.Context(), time.Second)
	if err != nil || len(said) != len(w.running) {
		return fmt.Sprintf("%d processes answer (%v)", len(said), err)
	}
	out = append(out, brokertest.UnderWay(said)...)
	if open := w.workflows("ExecutionStatus = 'Running'"); open != "" {
		out = append(out, "open: "+open)
	}
	return strings.Join(out, "; ")
}

// left says which queues are not empty.
func (w *world) left() (out []string, err error) {
	queues := append(w.broker.HalfQueues(group), w.broker.ConsumerQueue(consumer), w.broker.ConsumerQueue(participant),
		w.broker.DeadQueue(), w.broker.OversizedQueue())
	return brokertest.Left(w.Context(), w.broker, queues...)
}

// workflows names some workflows.
func (w *world) workflows(query string) string {
	found, err := w.temporal.ListWorkflow(w.Context(),
		&workflowservice.ListWorkflowExecutionsRequest{Query: query, PageSize: 10})
	require.NoError(w, err)
	var out []string
	for _, x := range found.Executions {
		out = append(out, x.Execution.WorkflowId)
	}
	return strings.Join(out, " ")
}

func (w *world) noDeadLetters() {
	w.Helper()
	if found := w.workflows("WorkflowType = 'DeadLetter'"); found != "" {
		w.Fatalf("dead letters: %s\n%s", found, w.said())
	}
}
