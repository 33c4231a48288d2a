package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	sdklog "go.temporal.io/sdk/log"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	gormlogger "gorm.io/gorm/logger"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/stack"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// patience is how long tests wait for what must happen. It says nothing about
// how fast it is.
const patience = 10 * time.Minute

const (
	group  = "orders"
	placed = "order.placed"
)

// place says where a process of a test finds everything.
type place struct {
	AMQPURL, OrdersURL, EffectsURL, Temporal, Namespace, Prefix, Group string
}

// site is a test's own corner of the stack: a prefix in RabbitMQ and Temporal, a
// database of the producer, one of the consumer.
type site struct {
	t               testing.TB
	stack           *stack.Stack
	at              place
	consumers       map[string]bool // their names, to delete their queues
	orders, effects *gorm.DB
	temporal        client.Client
	cohorts         bool // its sagas share workflows
}

func newSite(t testing.TB) *site {
	t.Helper()
	return newSiteOn(t, stacktest.Shared(t))
}

func newSiteOn(t testing.TB, st *stack.Stack) *site {
	t.Helper()
	s := &site{t: t, stack: st, temporal: stacktest.TemporalClient(t, st), consumers: map[string]bool{"payments": true}}
	t.Cleanup(s.deleteQueues)
	s.at = place{AMQPURL: st.AMQPURL(), OrdersURL: stacktest.Database(t, st), EffectsURL: stacktest.Database(t, st),
		Temporal: st.TemporalAddress(), Namespace: st.Namespace(), Prefix: stacktest.Prefix(t), Group: group}
	s.orders, s.effects = openDB(t, s.at.OrdersURL), openDB(t, s.at.EffectsURL)
	for _, db := range []*gorm.DB{s.orders, s.effects} {
		require.NoError(t, barrier.Migrate(t.Context(), db))
	}
	require.NoError(t, s.orders.Exec("CREATE TABLE orders (id text, note text)").Error)
	require.NoError(t, s.effects.Exec("CREATE TABLE effects (message_id text, topic text, key text, body text, headers text)").Error)
	return s
}

func (s *site) deleteQueues() {
	queues := []string{"alerts", "alerts." + group, "dead", "dead.expired", "dead.oversized", "half." + group,
		"retry.10s", "retry.30s", "retry.1m", "retry.5m", "retry.15m", "retry.1h"}
	for name := range s.consumers {
		queues = append(queues, "q."+name, "alone."+name)
	}
	for i := range queues {
		queues[i] = s.at.Prefix + "." + queues[i]
	}
	stacktest.DeleteQueues(s.t, s.at.AMQPURL, queues...)
}

// dialDB connects lazily, with few connections.
func dialDB(url string) (*gorm.DB, error) {
	db, err := gorm.Open(postgres.Open(url), &gorm.Config{Logger: gormlogger.Discard, DisableAutomaticPing: true})
	if err != nil {
		return nil, err
	}
	pool, err := db.DB()
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(12)
	return db, nil
}

func openDB(t testing.TB, url string) *gorm.DB {
	t.Helper()
	db, err := dialDB(url)
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() { _ = pool.Close() })
	return db
}

// options are patient: what waits for a time-out shows as a test that takes
// long, and a check-back as one that was not meant to be.
func (p place) options(c client.Client, orders *gorm.DB, log *slog.Logger) worker.Options {
	return worker.Options{Group: p.Group, Temporal: c, Namespace: p.Namespace, AMQPURL: p.AMQPURL, DB: orders,
		Prefix: p.Prefix, Logger: log, CheckAfter: time.Minute,
		Timeouts:  worker.Timeouts{Send: patience, Drain: 20 * time.Second, Reach: 30 * time.Second, Task: 20 * time.Second},
		CheckBack: transactions.Schedule{Delays: []time.Duration{time.Minute}}}
}

// hurried are options with which a crash costs seconds.
func hurried(o worker.Options) worker.Options {
	o.CheckAfter, o.Timeouts.Reach, o.Timeouts.Task, o.Timeouts.Lock = 1500*time.Millisecond, time.Second, 2*time.Second, time.Second
	o.CheckBack = transactions.Schedule{Delays: []time.Duration{500 * time.Millisecond}, MaxChecks: 1_000_000} // a slow machine parks nothing
	return o
}

func (s *site) options() worker.Options {
	o := s.at.options(s.temporal, s.orders, s.log())
	if o.Tuning.MaxSagaCohort = 1; s.cohorts {
		o.Tuning.MaxSagaCohort = 48
	}
	return o
}

func (s *site) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{s.t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// testWriter shows the log of a failed test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// producer runs a worker of the group without consumers.
func (s *site) producer(change ...func(*worker.Options)) *running {
	s.t.Helper()
	o := s.options()
	for _, c := range change {
		c(&o)
	}
	return s.run(o)
}

// consuming runs a worker that only consumes.
func (s *site) consuming(cs ...worker.Consumer) *running {
	s.t.Helper()
	return s.run(worker.Options{AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix, Logger: s.log(), Timeouts: worker.Timeouts{Drain: 20 * time.Second}}, cs...)
}

// running is a worker whose Run runs.
type running struct {
	*worker.Worker
	t      testing.TB
	cancel context.CancelFunc
	ended  chan struct{}
	err    error
}

// run makes and runs a worker until the test's end, or until stop.
func (s *site) run(o worker.Options, cs ...worker.Consumer) *running {
	s.t.Helper()
	return s.runWith(o, func(w *worker.Worker) {
		for _, c := range cs {
			s.consumers[c.Name] = true
			w.Consume(c)
		}
	})
}

func (s *site) runWith(o worker.Options, register func(*worker.Worker)) *running {
	s.t.Helper()
	w, err := worker.New(o)
	require.NoError(s.t, err)
	register(w)
	return runWorker(s.t, w)
}

func runWorker(t testing.TB, w *worker.Worker) *running {
	t.Helper()
	r := start(t, w)
	select {
	case <-w.Ready():
	case <-r.ended:
		require.NoError(t, r.err)
		require.FailNow(t, "Run returned at once")
	case <-time.After(patience):
		require.FailNow(t, "the worker is never ready")
	}
	return r
}

// start calls Run, and does not wait until it is ready.
func start(t testing.TB, w *worker.Worker) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Worker: w, t: t, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.err = w.Run(ctx)
	}()
	t.Cleanup(func() { r.stop() })
	return r
}

// stop ends Run in good order, and requires that it returns nil.
func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	require.NoError(r.t, r.result())
}

// result is what Run returned.
func (r *running) result() error {
	r.t.Helper()
	select {
	case <-r.ended:
		return r.err
	case <-time.After(patience):
		require.FailNow(r.t, "Run does not return")
		return nil
	}
}

// until waits until cond holds.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline, tick := time.NewTimer(patience), time.NewTicker(20*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			require.FailNow(t, "did not happen: "+what)
		}
	}
}

// next waits for a value.
func next[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}

func newID() string { return uuid.NewString() }

// order is the message about an order with that ID, which is the transaction's
// ID, too.
func order(id string) holdfast.Message {
	return holdfast.Message{ID: id, Topic: placed, Key: "K-" + id, ContentType: "text/plain", Body: []byte("order " + id)}
}

// insert is the local transaction that makes the order.
func insert(_ context.Context, tx *gorm.DB, m *holdfast.Message) error {
	return tx.Exec("INSERT INTO orders (id) VALUES (?)", m.ID).Error
}

// sends sends an order, and returns its ID. On a slow machine a Keeper that is hurried
// may be faster than the local transaction, which is then rolled back; the next order
// is another one.
func (s *site) sends(w *running, local worker.Local) (id string) {
	s.t.Helper()
	until(s.t, "an order is sent", func() bool {
		id = newID()
		_, err := w.Send(s.ctx(), order(id), local)
		if err != nil {
			require.ErrorIs(s.t, err, holdfast.ErrRolledBack)
		}
		return err == nil
	})
	return id
}

// asked asks the processes of b's prefix until their answers are as they should be.
func (s *site) asked(b *broker.Broker, what string, ready func([]broker.ProcessStatus) bool) (answers []broker.ProcessStatus) {
	s.t.Helper()
	wait := time.Second
	until(s.t, what, func() bool {
		var err error
		answers, err = b.Ask(s.ctx(), wait)
		require.NoError(s.t, err)
		wait = min(2*wait, 10*time.Second) // a slow machine needs longer
		return ready(answers)
	})
	return answers
}

func (s *site) ordered(id string) int {
	s.t.Helper()
	return s.count(s.orders, "SELECT count(*) FROM orders WHERE id = ?", id)
}

func (s *site) effected(id string) int {
	s.t.Helper()
	return s.count(s.effects, "SELECT count(*) FROM effects WHERE message_id = ?", id)
}

func (s *site) count(db *gorm.DB, query string, args ...any) int {
	s.t.Helper()
	var n int
	require.NoError(s.t, db.Raw(query, args...).Scan(&n).Error)
	return n
}

// effect is what a consumer wrote down about a message.
type effect struct{ MessageID, Topic, Key, Body, Headers string }

// oneEffect waits for the effect of a message.
func (s *site) oneEffect(id string) (e effect) {
	s.t.Helper()
	until(s.t, "effect of "+id, func() bool { return s.effected(id) > 0 })
	require.NoError(s.t, s.effects.Raw("SELECT * FROM effects WHERE message_id = ?", id).Scan(&e).Error)
	require.Equal(s.t, 1, s.effected(id))
	return e
}

// payments is the consumer whose effects are counted.
func payments(db *gorm.DB) worker.Consumer {
	return worker.Consumer{Name: "payments", Topics: []string{"order.#"}, DB: db, Handle: take}
}

// take is the effect of a message.
func take(_ context.Context, tx *gorm.DB, m holdfast.Message) error {
	headers, err := json.Marshal(m.Headers)
	if err != nil {
		return err
	}
	return tx.Exec("INSERT INTO effects VALUES (?, ?, ?, ?, ?)", m.ID, m.Topic, m.Key, string(m.Body), string(headers)).Error
}

// audit counts deliveries, effects or not.
type audit struct {
	mu   sync.Mutex
	seen map[string]int
}

func (a *audit) consumer() worker.Consumer {
	return worker.Consumer{Name: "audit", Topics: []string{"order.#"}, HandleAtLeastOnce: func(_ context.Context, m holdfast.Message) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.seen == nil {
			a.seen = map[string]int{}
		}
		a.seen[m.ID]++
		return nil
	}}
}

func (a *audit) of(id string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen[id]
}

// broker opens a connection past the worker.
func (s *site) broker() *broker.Broker {
	s.t.Helper()
	b, err := broker.Open(s.ctx(), broker.Options{URL: s.at.AMQPURL, Prefix: s.at.Prefix, Logger: s.log()})
	require.NoError(s.t, err)
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = b.Close(ctx)
	})
	return b
}

// ctx bounds a call that must not hang.
func (s *site) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	s.t.Cleanup(cancel)
	return ctx
}

// ended waits for the end of a transaction's workflow.
func (s *site) ended(id string) transactions.MemberStatus {
	s.t.Helper()
	status, err := endOf(s.ctx(), s.temporal, s.at.Prefix, id)
	require.NoError(s.t, err, "workflow of %s", id)
	return status
}

func endOf(ctx context.Context, c client.Client, prefix, id string) (transactions.MemberStatus, error) {
	var status transactions.Status
	if err := c.GetWorkflow(ctx, workflows.WorkflowID(prefix, group, id), "").Get(ctx, &status); err != nil {
		return transactions.MemberStatus{}, err
	}
	for _, m := range status.Transactions {
		if m.ID == id {
			return m, nil
		}
	}
	return transactions.MemberStatus{}, fmt.Errorf("%s is not in %+v", id, status)
}

// status asks a running workflow.
func (s *site) status(id string) transactions.MemberStatus {
	s.t.Helper()
	var status transactions.Status
	stacktest.Query(s.t, s.temporal, workflows.WorkflowID(s.at.Prefix, group, id), workflows.QueryStatus, &status)
	require.Len(s.t, status.Transactions, 1)
	return status.Transactions[0]
}

// ask sends an operator's Update.
func (s *site) ask(id, name string, change ...func(*transactions.Request)) (transactions.MemberStatus, error) {
	s.t.Helper()
	req := transactions.Request{Operator: "ann", Reason: "looked at the books"}
	for _, c := range change {
		c(&req)
	}
	var status transactions.MemberStatus
	handle, err := s.temporal.UpdateWorkflow(s.ctx(), client.UpdateWorkflowOptions{WorkflowID: workflows.WorkflowID(s.at.Prefix, group, id),
		UpdateName: name, Args: []any{req}, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err != nil {
		return status, err
	}
	return status, handle.Get(s.ctx(), &status)
}

// history reads the history of a transaction's workflow.
func (s *site) history(id string) *historypb.History {
	s.t.Helper()
	return s.historyOf(workflows.WorkflowID(s.at.Prefix, group, id))
}

func (s *site) historyOf(workflowID string) *historypb.History {
	s.t.Helper()
	h := &historypb.History{}
	for events := s.temporal.GetWorkflowHistory(s.ctx(), workflowID, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		e, err := events.Next()
		require.NoError(s.t, err)
		h.Events = append(h.Events, e)
	}
	return h
}

// scheduled are the names of the regular activities of a workflow.
func (s *site) scheduled(id string) []string {
	s.t.Helper()
	return s.activitiesOf(workflows.WorkflowID(s.at.Prefix, group, id))
}

func (s *site) activitiesOf(workflowID string) (names []string) {
	s.t.Helper()
	for _, e := range s.historyOf(workflowID).Events {
		if a := e.GetActivityTaskScheduledEventAttributes(); a != nil {
			names = append(names, a.GetActivityType().GetName())
		}
	}
	return names
}

// localsOf are the names of the local activities of a workflow.
func (s *site) localsOf(workflowID string) (names []string) {
	s.t.Helper()
	for _, e := range s.historyOf(workflowID).Events {
		if data := e.GetMarkerRecordedEventAttributes().GetDetails()["data"]; data != nil {
			var marker struct{ ActivityType string }
			require.NoError(s.t, converter.GetDefaultDataConverter().FromPayloads(data, &marker))
			names = append(names, marker.ActivityType)
		}
	}
	return names
}

// drained requires that nothing is stuck in the half queue: what no op record
// settles belongs to a workflow that has ended, or has an outcome row. It returns
// how many those were. No other Keeper may run.
func (s *site) drained() (unsettled int) {
	s.t.Helper()
	b := s.broker()
	var mu sync.Mutex
	var stats broker.KeeperStats
	var stuck []string
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- b.Keep(ctx, broker.KeeperOptions{Group: s.at.Group, CheckAfter: 500 * time.Millisecond,
			HandOver: func(ctx context.Context, halves []holdfast.Half) []error {
				errs := make([]error, len(halves))
				for _, h := range halves {
					if err := s.stuck(ctx, h); err != nil {
						mu.Lock()
						stuck = append(stuck, fmt.Sprintf("%s: %v", h.TxID, err))
						mu.Unlock()
					}
				}
				return errs
			},
			Stats: func(k broker.KeeperStats) { mu.Lock(); stats = k; mu.Unlock() },
		})
	}()
	// The last record: once it is matched, all those before it have come.
	last := newID()
	require.NoError(s.t, b.PublishHalf(s.ctx(), holdfast.Half{TxID: last, Group: s.at.Group, At: time.Now(), Messages: []holdfast.Message{order(last)}}))
	b.Settle(s.at.Group, last, holdfast.Rollback)
	until(s.t, "the half queue is drained", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return stats.Matched > 0 && stats.Held == 0
	})
	cancel()
	require.NoError(s.t, next(s.t, done))
	require.Empty(s.t, stuck, "half messages without an end")
	return int(stats.HandedOver)
}

// stuck says what is wrong with a half message that no op record settles.
func (s *site) stuck(ctx context.Context, h holdfast.Half) error {
	if h.Lane == holdfast.Express {
		_, err := barrier.Read(ctx, s.orders, h.TxID)
		return err
	}
	status, err := endOf(ctx, s.temporal, s.at.Prefix, h.TxID)
	if err == nil && !status.State.Final() {
		err = fmt.Errorf("it is %s", status.State)
	}
	return err
}

// quiet is a client logger that writes errors to the test's log.
func quiet(t testing.TB) sdklog.Logger {
	return sdklog.NewStructuredLogger(slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelError})))
}

var errOops = errors.New("out of anchors")
