package chaos

import (
	"context"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/brokertest"
	"github.com/holdfastmq/holdfast/internal/stack"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

const (
	group      = "shop"
	halfQueues = 2
	// patience is how long anything may go on without progress.
	patience = 5 * time.Minute
	// killedProcess counts what was killed, at a point or anywhere.
	killedProcess target = "processes in all"
)

// world is what a run of the test has: servers, processes, and what happened.
type world struct {
	*testing.T
	seed            uint64
	calls           int
	stack           *stack.Stack
	temporal        client.Client
	broker          *broker.Broker
	orders, effects *gorm.DB
	slots           []*slot // the producers, then the consumers
	relays          []*stacktest.Relay
	starting        sync.WaitGroup // servers

	mu       sync.Mutex
	ended    int
	progress chan struct{} // closed, and another made, when calls have ended
	killed   map[target]int
}

// newWorld starts the servers. The first producer and the first consumer reach
// them over relays.
func newWorld(t *testing.T, seed uint64, calls int) *world {
	st := stacktest.Private(t)
	w := &world{T: t, seed: seed, calls: calls, stack: st, temporal: stacktest.TemporalClient(t, st), progress: make(chan struct{}), killed: map[target]int{}}
	ordersURL, effectsURL := stacktest.Database(t, st), stacktest.Database(t, st)
	w.orders, w.effects = w.database(ordersURL), w.database(effectsURL)
	prefix := stacktest.Prefix(t)
	var err error
	w.broker, err = broker.Open(t.Context(), broker.Options{URL: st.AMQPURL(), Prefix: prefix, Name: "chaos", HalfQueues: halfQueues})
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.broker.Close(context.Background()) })

	rabbit := stacktest.NewRelay(t, stacktest.HostOf(t, st.AMQPURL()))
	postgres := stacktest.NewRelay(t, stacktest.HostOf(t, st.DatabaseURL()))
	temporal := stacktest.NewRelay(t, st.TemporalAddress())
	w.relays = []*stacktest.Relay{rabbit, postgres, temporal}
	direct := childConfig{AMQPURL: st.AMQPURL(), Prefix: prefix, Group: group, Temporal: st.TemporalAddress(), Namespace: st.Namespace(), Seed: seed}
	folder := t.TempDir()
	for i := range producers + consumers {
		c := direct
		c.Database, c.Slot, c.Name = ordersURL, i, fmt.Sprint("producer", i)
		if c.Calls = calls / producers; i == 0 {
			c.Calls += calls % producers
		}
		c.Journal = filepath.Join(folder, c.Name)
		if i >= producers {
			c.Database, c.Slot, c.Name = effectsURL, -1, fmt.Sprint("consumer", i-producers)
		}
		if i == 0 || i == producers {
			c.AMQPURL, c.Database, c.Temporal = rabbit.Through(c.AMQPURL), postgres.Through(c.Database), temporal.Address()
		}
		w.slots = append(w.slots, w.slot(c))
	}
	return w
}

// database makes the tables of a database.
func (w *world) database(url string) *gorm.DB {
	db, err := openDB(url, 2)
	require.NoError(w, err)
	w.Cleanup(func() {
		if pool, err := db.DB(); err == nil {
			_ = pool.Close()
		}
	})
	require.NoError(w, barrier.Migrate(w.Context(), db))
	require.NoError(w, db.Exec(schema).Error)
	require.NoError(w, db.Exec("INSERT INTO accounts SELECT n, ? FROM generate_series(0, ?) n", opening, accounts-1).Error)
	return db
}

// spawnAll starts the processes. RabbitMQ 3.10 can lose a quorum queue if it is
// killed within about a second of the queue's declaration; a stop in good order
// puts the declarations on disk.
func (w *world) spawnAll() {
	for _, s := range w.slots {
		go s.live()
		w.Cleanup(s.close)
	}
	for _, s := range w.slots {
		select {
		case <-s.ready:
		case <-s.over:
			w.Fatal(s.said())
		case <-time.After(patience):
			w.Fatal("never ready: " + s.said())
		}
	}
	require.NoError(w, w.stack.RabbitMQ.Restart(w.Context()))
}

// closeAll ends the processes: they finish what they have in hand.
func (w *world) closeAll() {
	var all sync.WaitGroup
	for _, s := range w.slots {
		all.Go(s.close)
	}
	all.Wait()
}

func (w *world) count(what target) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.killed[what]++
}

// tally is what was killed, and how often.
func (w *world) tally() map[target]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.killed)
}

// advance takes note of calls that have ended.
func (w *world) advance(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended += n
	close(w.progress)
	w.progress = make(chan struct{})
}

// awaitEnded waits until so many calls have ended, or all that will.
func (w *world) awaitEnded(n int) {
	for {
		w.mu.Lock()
		ended, more := w.ended, w.progress
		w.mu.Unlock()
		if ended >= n || w.finished() {
			return
		}
		select {
		case <-more:
		case <-time.After(patience):
			w.Fatalf("no call has ended for %v, and %d of %d have\n%s", patience, ended, w.calls, w.said())
		}
	}
}

// awaitEnd waits until all calls have ended, or died with their process, and the
// servers run.
func (w *world) awaitEnd() {
	w.awaitEnded(math.MaxInt)
	w.starting.Wait()
}

func (w *world) finished() bool {
	for _, s := range w.slots {
		if !s.isFinished() {
			return false
		}
	}
	return true
}

func (w *world) said() string {
	var out []string
	for _, s := range w.slots {
		out = append(out, s.said())
	}
	return strings.Join(out, "\n")
}

// rage kills as planned.
func (w *world) rage(kills []kill) {
	for _, k := range kills {
		w.awaitEnded(k.after)
		w.kill(k)
	}
}

func (w *world) kill(k kill) {
	switch k.what {
	case aProducer:
		w.slots[k.which%producers].kill(k)
	case aConsumer:
		w.slots[producers+k.which%consumers].kill(k)
	case theKeeper:
		if s := w.keeper(k.which); s != nil {
			s.kill(k)
		}
	case rabbitMQ:
		w.crash(w.stack.RabbitMQ)
	case postgreSQL:
		w.crash(w.stack.PostgreSQL)
	case temporal:
		w.crash(w.stack.Temporal)
	case connections:
		w.relays[k.which%len(w.relays)].Cut()
	}
	w.count(k.what)
}

// crash kills a server, and starts it again meanwhile.
func (w *world) crash(part *stack.Part) {
	if err := part.Kill(); err != nil {
		w.Errorf("%s: %v", part.Name(), err)
	}
	w.starting.Go(func() {
		if err := part.Start(context.Background()); err != nil {
			w.Errorf("%s does not start again: %v", part.Name(), err)
		}
	})
}

// keeper is the process with an active Keeper, or nil if no call has ended before
// one was found.
func (w *world) keeper(which int) *slot {
	w.mu.Lock()
	ended := w.ended
	w.mu.Unlock()
	for {
		processes, _ := w.broker.Ask(w.Context(), time.Second) // nobody answers while RabbitMQ is down
		var active []*slot
		for _, p := range processes {
			for _, k := range p.Keepers {
				name, _, _ := strings.Cut(p.Instance, "-")
				for _, s := range w.slots {
					if k.Active && k.Subscribed && s.config.Name == name {
						active = append(active, s)
					}
				}
			}
		}
		if len(active) > 0 {
			return active[which%len(active)]
		}
		if w.finished() {
			return nil
		}
		ended++
		w.awaitEnded(ended)
	}
}

// rest waits until nothing is under way any more: no record with a Keeper, no
// message in a queue, no open workflow.
func (w *world) rest() {
	var last string
	since := time.Now()
	for calm := 0; calm < 2; {
		busy := w.busy()
		if busy == "" {
			calm++
			continue
		}
		calm = 0
		if busy != last {
			last, since = busy, time.Now()
		}
		if time.Since(since) > patience {
			w.Fatalf("it does not come to rest: %s\n%s", busy, w.said())
		}
	}
}

// busy says what is under way.
func (w *world) busy() string {
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	var out []string
	if !w.finished() {
		return "a producer repeats what one before it had begun"
	}
	left, err := w.left(ctx)
	if err != nil {
		return err.Error()
	}
	out = append(out, left...)
	processes, err := w.broker.Ask(ctx, time.Second)
	if err != nil || len(processes) < producers+consumers {
		return fmt.Sprintf("%d processes answer (%v)", len(processes), err)
	}
	out = append(out, brokertest.UnderWay(processes)...)
	open, err := w.temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: "ExecutionStatus = 'Running'"})
	if err != nil {
		return err.Error()
	}
	if open.GetCount() > 0 {
		out = append(out, fmt.Sprintf("%d workflows are open: %s", open.GetCount(), w.workflows(ctx, "ExecutionStatus = 'Running'")))
	}
	return strings.Join(out, "; ")
}

// workflows names some workflows.
func (w *world) workflows(ctx context.Context, query string) string {
	found, err := w.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: query, PageSize: 10})
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, x := range found.Executions {
		out = append(out, x.Execution.WorkflowId)
	}
	return strings.Join(out, " ")
}

// left says which queues are not empty.
func (w *world) left(ctx context.Context) (out []string, err error) {
	queues := []string{w.broker.ConsumerQueue(ledger), w.broker.DeadQueue(), w.broker.OversizedQueue()}
	queues = append(queues, w.broker.HalfQueues(group)...)
	for _, d := range ladder() {
		queues = append(queues, w.broker.RetryQueue(d))
	}
	return brokertest.Left(ctx, w.broker, queues...)
}

// empty looks at the queues once nobody holds anything of theirs.
func (w *world) empty() {
	left, err := w.left(w.Context())
	require.NoError(w, err)
	if len(left) > 0 {
		w.Errorf("there are still %s", strings.Join(left, ", "))
	}
	const bad = "ExecutionStatus IN ('Failed', 'Terminated', 'TimedOut', 'Canceled')"
	if found := w.workflows(w.Context(), bad); found != "" {
		w.Errorf("workflows that ended badly: %s", found)
	}
	if found := w.workflows(w.Context(), "WorkflowType = 'DeadLetter'"); found != "" {
		w.Errorf("dead letters: %s", found)
	}
}
