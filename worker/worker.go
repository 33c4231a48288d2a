package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	amqp "github.com/rabbitmq/amqp091-go"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/alerts"
	"github.com/holdfastmq/holdfast/internal/databases"
	"github.com/holdfastmq/holdfast/internal/keep"
	"github.com/holdfastmq/holdfast/internal/lanes"
	"github.com/holdfastmq/holdfast/internal/metrics"
	"github.com/holdfastmq/holdfast/internal/observe"
	"github.com/holdfastmq/holdfast/internal/peers"
	"github.com/holdfastmq/holdfast/internal/remember"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/internal/steps"
	"github.com/holdfastmq/holdfast/internal/telemetry"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
)

// Worker is Holdfast in one process. Make it with [Open] or [New], register what it
// does, then call Run. Send, SendAll, Start, Begin and StartSaga may be called from
// many goroutines; the methods that register may not, and not after Run.
type Worker struct {
	o             Options
	box           *seal.Box
	sender        bool // transactions can be sent here: see Options.sends
	consumers     []Consumer
	participants  []Participant
	handlers      map[string]steps.Local
	checkers      map[string]holdfast.Checker
	activities    map[string]any
	compensations map[string]steps.Compensation
	problems      []error
	lanes         *lanes.Lanes
	patience      time.Duration // of cohorts; 0: the default
	answers       steps.Answers
	metrics       *metrics.Metrics
	trace         *telemetry.Tracer // nil: nothing is traced
	alerts        *alerts.Alerter
	observer      *observe.Observer
	sagas         sagaParts
	attached      *attachment
	databases     *databases.Set
	peers         *peers.Peers
	keeper        *keep.Keeper
	memory        *remember.Memory

	broker *broker.Broker // set before ready is closed

	ready   chan struct{} // closed when sending can begin
	mu      sync.Mutex
	claimed bool
	endRun  context.CancelFunc // nil until Run is called
	owned   *owned             // nil: from New
	stopped chan struct{}      // closed when nothing new may be sent
	sending sync.WaitGroup     // callers inside; none is added once stopped is closed
	// drainUntil is how long what is in hand may take once Run's context is done; nil before.
	drainUntil atomic.Pointer[time.Time]
	over       chan struct{} // closed when Run has returned
	runErr     error         // what it returned; valid once over is closed
}

// New returns a worker. It connects to nothing: Run does.
func New(o Options) (*Worker, error) {
	o = o.withDefaults()
	if err := o.openKeyrings(); err != nil {
		return nil, err
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	m, err := metrics.New(o.Meter)
	if err != nil {
		return nil, err
	}
	alerter, err := alerts.New(o.OnAlert, alerts.Target(o.Webhook), o.Logger, m)
	if err != nil {
		return nil, err
	}
	w := &Worker{o: o, box: seal.New(o.Keyring, o.Encryption).HashingKeys(o.HashKeys), sender: o.sends(),
		metrics: m, attached: newAttachment(),
		trace:  telemetry.New(o.TracerProvider, o.Prefix),
		alerts: alerter, handlers: map[string]steps.Local{}, checkers: map[string]holdfast.Checker{},
		activities: map[string]any{}, compensations: map[string]steps.Compensation{},
		ready: make(chan struct{}), stopped: make(chan struct{}),
		over: make(chan struct{})}
	w.observer = observe.New(o.Group, m, alerter, func(id string) { w.sagas.handles.Look(id) })
	w.observer.Trace = w.trace
	w.lanes = lanes.New(w.laneOptions(), gate{w}, o.Temporal, w.rows())
	w.keeper = keep.New(keep.Options{Prefix: o.Prefix, Group: o.Group, IDs: w.idPrefix(), Sends: w.sender,
		Window: o.Tuning.KeeperWindow, CheckAfter: o.CheckAfter, TaskTimeout: o.Timeouts.Task, Temporal: o.Temporal,
		Trouble: w.attached.why, Lanes: w.lanes, HandOverSaga: w.handOverSaga, Metrics: m, Logger: o.Logger,
		Trace: w.trace, Alert: alerter.Alert})
	w.memory = remember.New(remember.Options{Prefix: o.Prefix, Group: o.Group, Namespace: o.Namespace, Sends: w.sender,
		DB: o.DB, Temporal: o.Temporal, Logger: o.Logger, Alert: alerter.Alert})
	w.databases = databases.New(databases.Options{Group: o.Group, Instance: o.Instance, Own: o.DB,
		Retention: o.Retention, OutcomesNeeded: w.keeper.OutcomesNeeded, Logger: o.Logger, Alert: alerter.Alert})
	w.peers = peers.New(peers.Options{Prefix: o.Prefix, Group: o.Group, Instance: o.Instance,
		Temporal: o.Temporal != nil, Databases: w.databases, Logger: o.Logger, Alert: alerter.Alert})
	w.sagas.handles = w.sagaHandles()
	return w, nil
}

// Ready is closed once the worker is connected and its parts run.
func (w *Worker) Ready() <-chan struct{} { return w.ready }

// Run connects, runs everything until ctx is done, lets running work come to its
// end, and returns. It returns an error at once for a wrong registration or wrong
// credentials, and after Options.Timeouts.Start where one of the three parts cannot
// be reached; once running, it reconnects for ever, and what needs Temporal fails
// where that refuses its workers, until it takes them again. With Options.Lane
// Express it does not wait for Temporal, nor for its namespace, but goes on trying;
// it returns an error only if Temporal is there at once, and refuses. A worker runs
// once.
func (w *Worker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := w.claim(cancel); err != nil {
		return err
	}
	w.runErr = w.run(w.trace.Outside(ctx)) // messages are not in the trace of who calls Run
	w.stop()
	w.trace.Flush()
	_ = w.metrics.Close() // nobody reads them any more
	close(w.over)
	w.owned.close()
	return w.runErr
}

func (w *Worker) run(ctx context.Context) error {
	w.reserveNames()
	if w.o.SendOnly {
		w.problem(w.registered())
	}
	if len(w.handlers) > 0 && w.o.DB == nil {
		w.problem(fmt.Errorf("%w: Local needs Options.DB", holdfast.ErrInvalid))
	}
	if len(w.checkers) > 0 && w.o.RemoteCheck {
		w.problem(fmt.Errorf("%w: Check and Options.RemoteCheck exclude each other: "+
			"the group's own processes answer check-backs", holdfast.ErrInvalid))
	}
	if len(w.compensations) > 0 && w.o.DB == nil {
		w.problem(fmt.Errorf("%w: Compensate needs Options.DB", holdfast.ErrInvalid))
	}
	if len(w.compensations) > 0 && w.o.Temporal == nil {
		w.problem(needsTemporal("Compensate, which runs in the producer group,"))
	}
	w.sagaProblems()
	if err := errors.Join(w.problems...); err != nil {
		return err
	}
	w.alerts.Own(w.o.Group, w.observer.Names(), w.o.AllAlerts)
	if err := w.connect(ctx); err != nil {
		return err
	}
	defer w.disconnect(ctx)
	w.alerts.RelayTo(w.broker)
	defer w.alerts.Start(ctx)()
	defer w.observer.LeaveBreakers()

	w.databases.ComparePools()
	w.metrics.Watch(w.load)
	defer w.broker.ShowTroubles(w.troubles)()
	if w.o.Temporal == nil {
		defer w.broker.ShowNoTemporal()()
	}
	if w.o.SendOnly {
		defer w.broker.ShowSender(w.o.Group)()
	}

	group, running := errgroup.WithContext(ctx)
	defer context.AfterFunc(running, func() {
		until := time.Now().Add(w.o.Timeouts.Drain)
		w.drainUntil.Store(&until)
	})()
	if w.o.Temporal != nil {
		if w.o.Lane == holdfast.Express {
			group.Go(func() error { return w.stayAttached(running, group.Go, false) })
		} else if err := w.attach(running, group.Go); err != nil {
			return err
		} else {
			group.Go(func() error { return w.stayAttached(running, group.Go, true) })
		}
		defer w.attached.detach()
	}
	if w.sender {
		defer w.drain()
		group.Go(func() error { return w.memory.Learn(running, w.broker) })
	}
	for _, c := range w.consumers {
		group.Go(func() error { return w.consume(running, c) })
	}
	for _, p := range w.participants {
		group.Go(func() error { return w.participate(running, p) })
	}
	defer w.broker.ShowDatabases(w.databases.Statuses)()
	group.Go(func() error { return w.alerts.Take(running, w.broker, w.o.Prefix) })
	if w.o.SendOnly {
		group.Go(func() error { return w.keeper.Watch(running) })
	} else {
		w.runForOthers(running, group.Go)
	}
	group.Go(func() error { return w.peers.Watch(running, w.broker) })
	close(w.ready)
	w.keeper.SayWithout()
	w.o.Logger.Info("holdfast runs", "group", w.o.Group, "instance", w.o.Instance, "consumers", len(w.consumers),
		"participants", len(w.participants), "sagas", len(w.sagas.defs.All()))
	return group.Wait()
}

// runForOthers begins what a process does for its group, and for all of the prefix.
func (w *Worker) runForOthers(ctx context.Context, running func(func() error)) {
	if w.o.Temporal != nil {
		running(func() error { return w.intake().Run(ctx) })
	}
	if w.sender {
		running(func() error { return w.keeper.Keep(ctx) })
	}
	running(func() error { return w.broker.ConsumeExpired(ctx, w.memory.Expired) })
	running(func() error { return w.databases.Sweep(ctx) })
}

func (w *Worker) claim(cancel context.CancelFunc) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.claimed {
		return fmt.Errorf("%w: Run or Close was called before: make a new worker", holdfast.ErrInvalid)
	}
	w.claimed, w.endRun = true, cancel
	return nil
}

func (w *Worker) problem(err error) { w.problems = append(w.problems, err) }

// stop refuses what is sent from now on.
func (w *Worker) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.stopped:
	default:
		close(w.stopped)
	}
}

// drain lets those who are sending come to their end, until drainUntil at most.
func (w *Worker) drain() {
	w.stop()
	until := w.drainUntil.Load()
	if until == nil { // this very moment
		now := time.Now().Add(w.o.Timeouts.Drain)
		until = &now
	}
	done := make(chan struct{})
	go func() {
		w.sending.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Until(*until)):
		w.o.Logger.Warn("stopping although transactions are being sent: check-back will end them")
	}
}

// enter waits until sending can begin, and counts the caller in w.sending.
func (w *Worker) enter(ctx context.Context) error {
	if err := w.awaitReady(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.stopped:
		return fmt.Errorf("%w: Run is ending", holdfast.ErrNotRunning)
	default:
		w.sending.Add(1)
		return nil
	}
}

// awaitReady waits until sending can begin.
func (w *Worker) awaitReady(ctx context.Context) error {
	if !w.sender {
		return w.cannotSend()
	}
	select {
	case <-w.ready:
		return nil // whatever else is true
	default:
	}
	select {
	case <-w.ready:
		return nil
	case <-w.over:
		return w.ended()
	case <-w.stopped:
		return fmt.Errorf("%w: Run is ending", holdfast.ErrNotRunning)
	case <-ctx.Done():
		return fmt.Errorf("%w: it was not ready in time; is Run called? %w", holdfast.ErrNotRunning, context.Cause(ctx))
	}
}

// ended says that Run has returned, and why.
func (w *Worker) ended() error {
	if w.runErr == nil {
		return fmt.Errorf("%w: Run has returned", holdfast.ErrNotRunning)
	}
	return fmt.Errorf("%w: Run has returned: %w", holdfast.ErrNotRunning, w.runErr)
}

// connect reaches the three parts, and prepares what they need.
func (w *Worker) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.o.Timeouts.Start)
	defer cancel()
	var err error
	if w.broker, err = w.openBroker(ctx); err != nil {
		return err
	}
	if err = w.prepare(ctx); err != nil {
		_ = w.broker.Close(ctx) // the first error is the one to know
		return err
	}
	traced := w.trace.LaneBroker(w.broker)
	w.lanes.Connect(traced, w.databases.Own())
	if w.sagas.express != nil {
		w.sagas.express.Connect(traced)
		w.useExpress(nil)
	}
	w.keeper.Broker = w.broker
	return nil
}

// Options are the options of the lanes.
func (w *Worker) laneOptions() lanes.Options {
	return lanes.Options{Group: w.o.Group, Prefix: w.o.Prefix, IDs: w.idPrefix(),
		Instance: w.o.process, Lane: w.o.Lane, Lanes: w.o.Lanes,
		SendOnly: w.o.SendOnly, MaxBody: w.o.Tuning.MaxBody,
		MaxCohort: w.o.Tuning.MaxCohort, CohortsInFlight: w.o.Tuning.CohortsInFlight,
		Schedule: w.o.CheckBack, ConfirmAsks: !w.o.RollingUpgrade,
		SendTimeout: w.o.Timeouts.Send, CheckAfter: w.o.CheckAfter, LocalTimeout: w.o.Timeouts.Local,
		ReachTimeout: w.o.Timeouts.Reach, TaskTimeout: w.o.Timeouts.Task, Checkers: w.checkers,
		Box: w.box}
}

// rows are the outcome rows of the worker's database; nil: it has none.
func (w *Worker) rows() lanes.Barrier {
	if w.o.DB == nil {
		return nil
	}
	return lanes.Rows{DB: w.o.DB, LockTimeout: w.o.Timeouts.Lock}
}

func (w *Worker) prepare(ctx context.Context) error {
	for _, db := range w.databases.All() {
		if err := w.retry(ctx, "PostgreSQL", func() error { return w.databases.Meet(ctx, db) }); err != nil {
			return err
		}
	}
	if err := w.require(ctx); err != nil {
		return err
	}
	if w.o.Temporal != nil {
		if w.o.Lane != holdfast.Express { // which goes without for a while
			if err := w.retry(ctx, "Temporal", func() error { return w.prepareTemporal(ctx) }); err != nil {
				return err
			}
		}
	}
	if w.sender {
		if err := w.broker.DeclareGroup(ctx, w.o.Group); err != nil {
			return err
		}
	}
	for _, c := range w.consumers {
		if err := w.broker.DeclareConsumer(ctx, c.Name, c.Topics, c.notices()...); err != nil {
			return err
		}
	}
	for _, p := range w.participants {
		if err := w.broker.DeclareConsumer(ctx, p.Name, p.topics()); err != nil {
			return err
		}
	}
	if w.sender {
		return w.recall(ctx)
	}
	return nil
}

func (w *Worker) openBroker(ctx context.Context) (b *broker.Broker, err error) {
	err = w.retry(ctx, "RabbitMQ", func() error {
		o := w.o.brokerOptions()
		o.HalfQueues, o.NoDeclare, o.ConsumerTimeout = w.o.Tuning.HalfQueues, !w.o.declares(), w.o.Timeouts.Consumer
		o.HalfBatch = w.o.Tuning.HalfBatch
		o.OnRemade = w.memory.Remade
		o.OnRefused = func(r broker.Refusal) { w.observer.Refused(r, r.First && w.broker.IsAlert(r)) }
		o.RollingUpgrade = w.o.RollingUpgrade
		b, err = broker.Open(ctx, o)
		return err
	})
	return b, err
}

func (w *Worker) prepareTemporal(ctx context.Context) error {
	if _, err := w.o.Temporal.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		return temporalerr.Unavailable("reach the server", err)
	}
	namespace, err := w.namespace(ctx)
	if err != nil {
		return err
	}
	err = EnsureSearchAttributes(ctx, w.o.Temporal, namespace)
	if temporalerr.NoNamespace(err) {
		return temporalerr.Unavailable("see to the search attributes", err)
	}
	var unavailable *serviceerror.Unavailable
	var deadline *serviceerror.DeadlineExceeded
	if errors.As(err, &unavailable) || errors.As(err, &deadline) {
		return temporalerr.Unavailable("see to the search attributes", err)
	}
	return err
}

// retry repeats do while the part cannot be reached. Anything else that is wrong
// will not change by waiting.
func (w *Worker) retry(ctx context.Context, part string, do func() error) error {
	pause := backoff.NewExponentialBackOff()
	pause.MaxInterval = 2 * time.Second
	var last error // of a try that was not cut off, if there was one
	silent := 0    // refusals without a word, in a row
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := do()
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if err == nil || !lasting(err) {
			silent = 0
			return struct{}{}, err
		}
		if silent++; unsaid(err) && silent < silentRefusals {
			return struct{}{}, err
		}
		return struct{}{}, backoff.Permanent(err)
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, next time.Duration) {
		w.o.Logger.Warn("not reached yet", "part", part, "error", err, "next", next)
	}))
	if err != nil && ctx.Err() != nil && last != nil {
		return last // it says more than that the time is up
	}
	return err
}

// lasting reports whether err will not change by waiting.
func lasting(err error) bool {
	var unavailable *holdfast.UnavailableError
	return !errors.As(err, &unavailable) || refused(err)
}

// silentRefusals are as many refusals without a word as are believed.
const silentRefusals = 3

// unsaid reports whether a refusal may be none: RabbitMQ refuses credentials by closing the
// connection without a word, and a RabbitMQ that goes down does the same.
func unsaid(err error) bool {
	var rabbit *amqp.Error
	return errors.As(err, &rabbit) && !rabbit.Server
}

// refused reports whether a server was reached, and refuses these credentials,
// this virtual host or this database.
func refused(err error) bool {
	if temporalerr.Denied(err) || temporalerr.NoNamespace(err) {
		return true
	}
	var rabbit *amqp.Error
	if errors.As(err, &rabbit) {
		return rabbit.Code == amqp.AccessRefused || rabbit.Code == amqp.NotAllowed
	}
	var postgres interface{ SQLState() string }
	if errors.As(err, &postgres) {
		code := postgres.SQLState()
		return strings.HasPrefix(code, "28") || code == "3D000"
	}
	return false
}

// disconnect writes the last op records and closes the broker's connections.
func (w *Worker) disconnect(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := w.broker.Close(ctx); err != nil {
		w.o.Logger.Warn("closing the broker", "error", err)
	}
	w.memory.Wait()
}

// closeTimeout bounds the closing of each kind of connection.
const closeTimeout = 5 * time.Second
