package worker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/client"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/alerts"
	"github.com/holdfastmq/holdfast/internal/databases"
	"github.com/holdfastmq/holdfast/internal/firstcall"
	"github.com/holdfastmq/holdfast/internal/keep"
	"github.com/holdfastmq/holdfast/internal/lanes"
	"github.com/holdfastmq/holdfast/internal/metrics"
	"github.com/holdfastmq/holdfast/internal/observe"
	"github.com/holdfastmq/holdfast/internal/peers"
	"github.com/holdfastmq/holdfast/internal/remember"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/internal/steps"
	"github.com/holdfastmq/holdfast/internal/telemetry"
	"github.com/holdfastmq/holdfast/workflows"
)

// Worker is Holdfast in one process. Make it with [Open] or [New], register what it
// does, then call Run. Send, SendAll, Start, Begin and StartSaga may be called from
// many goroutines; the methods that register may not, and not after Run.
type Worker struct {
	o             Options
	temporal      client.Client // as it was given: o has it with what the SDK lacks
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
	alerter, err := alerts.New(o.OnAlert, alerts.Target(o.Webhook), o.ConsoleURL, o.Logger, m)
	if err != nil {
		return nil, err
	}
	temporal := o.Temporal
	o.Temporal = firstcall.New(temporal)
	w := &Worker{o: o, temporal: temporal, sender: o.sends(),
		box:     seal.New(o.Keyring, o.Encryption).HashingKeys(o.HashKeys),
		metrics: m, attached: newAttachment(),
		trace:  telemetry.New(o.TracerProvider, o.Prefix),
		alerts: alerter, handlers: map[string]steps.Local{}, checkers: map[string]holdfast.Checker{},
		activities: map[string]any{}, compensations: map[string]steps.Compensation{},
		ready: make(chan struct{}), stopped: make(chan struct{}),
		over: make(chan struct{})}
	w.observer = observe.New(o.Group, m, alerter, func(id string) { w.sagas.handles.Look(id) })
	w.observer.Trace = w.trace
	w.lanes = lanes.New(w.laneOptions(), gate{w}, o.Temporal, w.rows())
	w.keeper = keep.New(keep.Options{Prefix: o.Prefix, Group: o.Group, Sends: w.sender,
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

// laneOptions are the options of the lanes.
func (w *Worker) laneOptions() lanes.Options {
	return lanes.Options{Group: w.o.Group, Prefix: w.o.Prefix,
		Instance: w.o.process, Lane: w.o.Lane, Lanes: w.o.Lanes,
		SendOnly: w.o.SendOnly, MaxBody: w.o.Tuning.MaxBody,
		MaxCohort: w.o.Tuning.MaxCohort, CohortsInFlight: w.o.Tuning.CohortsInFlight,
		Schedule: w.o.CheckBack, ConfirmAsks: !w.o.RollingUpgrade, ShortIDs: !w.o.RollingUpgrade,
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

// Ready is closed once the worker is connected and its parts run.
func (w *Worker) Ready() <-chan struct{} { return w.ready }

func (w *Worker) problem(err error) { w.problems = append(w.problems, err) }

// deadLetterID is the ID of the workflow of a dead letter.
func (w *Worker) deadLetterID(d holdfast.DeadLetter) string {
	return workflows.DeadLetterID(w.o.Prefix, d)
}
