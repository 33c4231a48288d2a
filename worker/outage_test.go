package worker_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/stack"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// callers is how many send at the same time.
const callers = 8

// load are callers that send without end, a tenth of them changing their mind.
type load struct {
	s      *site
	w      *running
	lane   lane
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex
	sent []string
	at   map[string]holdfast.Receipt // what callers got, by ID
	good int                         // Sends that returned without an error
	errs map[string]int
	lied []string // receipts that say the wrong thing
	gone []string // what callers were told is rolled back
}

func (s *site) load(l lane, w *running) *load {
	s.t.Helper()
	seed := rand.Uint64()
	s.t.Logf("seed %d", seed)
	ctx, cancel := context.WithCancel(context.Background())
	load := &load{s: s, w: w, lane: l, cancel: cancel, errs: map[string]int{}, at: map[string]holdfast.Receipt{}}
	for n := range callers {
		load.wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(n)))
			for ctx.Err() == nil {
				id := "" // made by Send: then a failure is known to be a rollback
				if n%2 == 0 {
					id = newID()
				}
				load.send(id, rnd.IntN(10) == 0)
			}
		})
	}
	s.t.Cleanup(load.stop)
	return load
}

// send sends one transaction. Its own deadline is what ends it: a caller that
// goes away is not what is tested here.
func (l *load) send(id string, refuse bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	receipt, err := l.w.Send(ctx, order(id), func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
		if err := insert(ctx, tx, m); err != nil {
			return err
		}
		if refuse {
			return errOops
		}
		return nil
	})
	id = receipt.TxID
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent, l.at[id] = append(l.sent, id), receipt
	switch {
	case err == nil:
		l.good++
		if refuse || receipt.Resolution != holdfast.Commit {
			l.lied = append(l.lied, fmt.Sprintf("%s: %+v", id, receipt))
		}
	case errors.Is(err, errOops):
	default:
		l.errs[kind(err)]++
		if errors.Is(err, holdfast.ErrRolledBack) || errors.Is(err, holdfast.ErrNotStored) {
			l.gone = append(l.gone, id)
		}
	}
}

// kind names an error of Send.
func kind(err error) string {
	var unavailable *holdfast.UnavailableError
	switch {
	case errors.Is(err, holdfast.ErrNotStored):
		return "not stored"
	case errors.Is(err, holdfast.ErrRolledBack):
		return "rolled back"
	case errors.Is(err, holdfast.ErrUndecided):
		return "undecided"
	case errors.Is(err, holdfast.ErrDeliveryPending):
		return "delivery pending"
	case errors.As(err, &unavailable):
		return "unavailable"
	}
	return err.Error()
}

// more waits until n more Sends have succeeded.
func (l *load) more(n int) {
	l.s.t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.good
	}
	target := count() + n
	until(l.s.t, fmt.Sprintf("%d more transactions", n), func() bool { return count() >= target })
}

func (l *load) stop() {
	l.cancel()
	l.wg.Wait()
}

// verify ends the load, waits for the end of everything, and compares the two
// databases.
func (l *load) verify() {
	t, s := l.s.t, l.s
	t.Helper()
	l.stop()
	t.Logf("%d sent, %d good, errors: %v", len(l.sent), l.good, l.errs)
	require.Empty(t, l.lied)
	if l.lane.traced {
		l.verifyHistories()
	}
	for _, id := range l.gone {
		require.Zero(t, s.ordered(id), "%s: its caller was told that it is rolled back", id)
	}
	s.redeliver()
	until(t, "one effect for each order, and none else", func() bool { // a COMMIT that nobody heard of may be among the last
		orders := s.strings(s.orders, `SELECT id FROM orders ORDER BY id COLLATE "C"`)
		effects := s.strings(s.effects, `SELECT message_id FROM effects ORDER BY message_id COLLATE "C"`)
		return slices.Equal(orders, effects)
	})
	l.verifyRows()
	if !l.lane.traced {
		s.recovered()
	}
	l.w.stop()
	s.drained()
}

// recovered waits until what the Express lane left undecided up to now has been
// handed over and decided. A Keeper must run.
func (s *site) recovered() {
	s.t.Helper()
	last := newID() // younger than all those
	s.abandon([]string{last})
	until(s.t, "the last half message is rolled back", func() bool { return s.hasRow(last) })
	until(s.t, "no Recovery runs", func() bool { return len(s.recoveries("Running")) == 0 })
}

// endOf waits for the end of a transaction in a workflow of its own, or in its
// cohort.
func (l *load) endOf(id string) (transactions.MemberStatus, error) {
	status, err := endOf(l.s.ctx(), l.s.temporal, l.s.at.Prefix, id)
	var unknown *serviceerror.NotFound
	if errors.As(err, &unknown) && inCohort(l.at[id]) {
		return l.s.member(l.at[id]), nil
	}
	return status, err
}

// verifyHistories waits for the ends of the workflows.
func (l *load) verifyHistories() {
	t, s := l.s.t, l.s
	t.Helper()
	states := map[workflows.State]int{}
	for _, id := range l.sent {
		status, err := l.endOf(id)
		var unknown *serviceerror.NotFound
		if errors.As(err, &unknown) {
			require.Zero(t, s.ordered(id), "%s has no workflow", id)
			continue
		}
		require.NoError(t, err, id)
		require.True(t, status.State.Final(), "%s: %+v", id, status)
		require.Empty(t, status.Decided)
		require.Equal(t, status.State == workflows.Committed, s.ordered(id) == 1, "%s: %+v", id, status)
		states[status.State]++
	}
	t.Logf("ended as: %v", states)
}

// verifyRows compares the outcome rows with the orders.
func (l *load) verifyRows() {
	l.s.t.Helper()
	var committed []string
	for _, id := range l.sent {
		row, err := barrier.Read(l.s.ctx(), l.s.orders, id)
		if errors.Is(err, holdfast.ErrNotFound) {
			continue
		}
		require.NoError(l.s.t, err)
		if row.Resolution == holdfast.Commit {
			committed = append(committed, id)
		}
	}
	slices.Sort(committed)
	require.Equal(l.s.t, l.s.strings(l.s.orders, `SELECT id FROM orders ORDER BY id COLLATE "C"`), committed)
}

func (s *site) strings(db *gorm.DB, query string) (out []string) {
	s.t.Helper()
	require.NoError(s.t, db.Raw(query).Scan(&out).Error)
	return out
}

// redeliver puts what the consumer gave up back into its queue, as an operator
// would once the database is there again.
func (s *site) redeliver() {
	s.t.Helper()
	dead := s.deadLetters()
	if len(dead) == 0 {
		return
	}
	s.t.Logf("%d dead letters are delivered again", len(dead))
	s.channel(func(ch *amqp.Channel) {
		for _, d := range dead {
			require.Equal(s.t, "payments", d.Headers["holdfast-consumer"])
			require.NoError(s.t, ch.Confirm(false))
			c, err := ch.PublishWithDeferredConfirm("", s.at.Prefix+".q.payments", true, false,
				amqp.Publishing{MessageId: d.MessageId, Headers: d.Headers, Body: d.Body, DeliveryMode: amqp.Persistent})
			require.NoError(s.t, err)
			require.True(s.t, c.Wait())
		}
	})
}

// outageOptions: what an outage costs should be seconds.
func outageOptions(l lane, o worker.Options) worker.Options {
	o = l.options(o)
	o.CheckAfter, o.Timeouts.Task = 3*time.Second, 5*time.Second
	return o
}

// TestOutages kills each server under load. The load must resume by itself, and
// nothing may be lost or happen twice.
func TestOutages(t *testing.T) {
	st := stacktest.Private(t)
	for _, row := range []struct {
		name string
		part *stack.Part
	}{{"RabbitMQ", st.RabbitMQ}, {"PostgreSQL", st.PostgreSQL}, {"Temporal", st.Temporal}} {
		for _, lane := range lanes {
			t.Run(lane.name+"/"+row.name, func(t *testing.T) { outage(t, lane, st, row.part) })
		}
	}
	for _, lane := range lanes {
		t.Run(lane.name+"/broker alarm", func(t *testing.T) { brokerAlarm(t, lane, st) })
	}
	failingOutages(t, st)
}

func outage(t *testing.T, lane lane, st *stack.Stack, part *stack.Part) {
	s := newSiteOn(t, st)
	s.consuming(payments(s.effects))
	w := s.run(outageOptions(lane, s.options()))
	l := s.load(lane, w)
	l.more(60)
	if part == st.RabbitMQ {
		// RabbitMQ 3.10 can lose a quorum queue, with all that it confirmed, if it
		// is killed within about a second of the queue's declaration; a stop in
		// good order puts the declaration on disk.
		require.NoError(t, part.Restart(s.ctx()))
		l.more(60)
	}
	require.NoError(t, part.Kill())
	if part == st.Temporal && !lane.traced {
		l.more(100) // nobody misses it
	}
	require.NoError(t, part.Start(s.ctx()))
	l.more(100)
	l.verify()
}

// brokerAlarm: RabbitMQ blocks publishers. Callers see their deadline, consumers
// go on, and all of it heals.
func brokerAlarm(t *testing.T, lane lane, st *stack.Stack) {
	s := newSiteOn(t, st)
	s.consuming(payments(s.effects))
	w := s.run(outageOptions(lane, s.options()))
	l := s.load(lane, w)
	l.more(60)
	stacktest.RabbitMQ(t, st, "rabbitmqctl", "set_vm_memory_high_watermark", "0.0000001")
	// A caller with a deadline sees it, and its local transaction is not run.
	until(t, "publishers are blocked", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		id := newID()
		_, err := w.Send(ctx, order(id), insert)
		if err == nil || errors.Is(err, holdfast.ErrDeliveryPending) {
			return false // it got through before
		}
		require.Contains(t, []string{"not stored", "rolled back", "undecided"}, kind(err), "%v", err)
		return errors.Is(err, holdfast.ErrNotStored) && s.ordered(id) == 0
	})
	stacktest.RabbitMQ(t, st, "rabbitmqctl", "set_vm_memory_high_watermark", "0.4")
	l.more(60)
	l.stop()
	if lane.traced {
		for _, id := range s.strings(s.orders, "SELECT id FROM orders") {
			status, err := l.endOf(id)
			require.NoError(t, err, id)
			require.Equal(t, workflows.Committed, status.State, "%+v", status)
		}
	}
	l.verify()
}

// TestCutConnections cuts the connections to all three servers at random
// moments.
func TestCutConnections(t *testing.T) {
	inLanes(t, cutConnections)
}

func cutConnections(t *testing.T, lane lane) {
	s := newSite(t)
	direct := s.at
	rabbit, postgres, temporal := newRelay(t, hostOf(t, direct.AMQPURL)), newRelay(t, hostOf(t, direct.OrdersURL)), newRelay(t, direct.Temporal)
	behind := *s
	behind.at.AMQPURL = rabbit.through(direct.AMQPURL)
	behind.temporal = dialTemporal(t, temporal.address(), direct.Namespace, nil)
	behind.orders = openDB(t, postgres.through(direct.OrdersURL))
	behind.effects = openDB(t, postgres.through(direct.EffectsURL))
	behind.consuming(payments(behind.effects))
	w := behind.run(outageOptions(lane, behind.options()))

	l := s.load(lane, w)
	seed := rand.Uint64()
	t.Logf("seed of the cuts %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 12 {
		l.more(5 + rnd.IntN(15))
		r := []*relay{rabbit, postgres, temporal}[rnd.IntN(3)]
		until(t, "connections to cut", func() bool { return r.cut() > 0 })
	}
	l.more(20)
	l.verify()
}
