// Package keep is a process's part in keeping the half queues of its group: it runs the
// Keepers, hands undecided half messages over to Temporal, and says why where it cannot.
// Package worker runs it; the lanes start the workflows.
package keep

import (
	"context"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/metrics"
	"github.com/holdfastmq/holdfast/internal/telemetry"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// Options say how a process keeps the half queues of its group.
type Options struct {
	Prefix, Group string
	// Sends says that the process sends; Window and CheckAfter are as in
	// [broker.KeeperOptions].
	Sends       bool
	Window      int
	CheckAfter  time.Duration
	TaskTimeout time.Duration
	// Temporal is nil in a process that has none.
	Temporal keeperTemporal
	// Trouble is why the process does not work for Temporal; nil while it does.
	Trouble func() error
	Lanes   keeperLanes
	// HandOverSaga starts the workflow of a saga's half message, or finds that it has one.
	HandOverSaga func(ctx context.Context, h holdfast.Half) error
	Metrics      *metrics.Metrics
	Trace        *telemetry.Tracer // nil: none
	Logger       *slog.Logger
	Alert        func(holdfast.Alert)
}

// keeperBroker is what a Keeper needs of a broker.
type keeperBroker interface {
	KeepGroup(ctx context.Context, o broker.KeeperOptions) error
	Ask(ctx context.Context, wait time.Duration) ([]broker.ProcessStatus, error)
	FindHalfQueues(ctx context.Context, group string) ([]string, error)
	Inspect(ctx context.Context, queues ...string) (broker.Info, error)
}

// keeperTemporal is what a Keeper needs of Temporal's client.
type keeperTemporal interface {
	ExecuteWorkflow(ctx context.Context, o client.StartWorkflowOptions, workflow any,
		args ...any) (client.WorkflowRun, error)
}

// keeperLanes start the workflows of transactions.
type keeperLanes interface {
	Input(txs ...activities.Tx) transactions.Input
	StartTransaction(ctx context.Context, tx activities.Tx, firstCheck time.Duration,
		fresh bool) (client.WorkflowRun, error)
}

// Keeper is a process's part in keeping its group's half queues.
type Keeper struct {
	// Broker is set before anything is called.
	Broker keeperBroker
	// LookEvery is how often Watch looks, Grace how long nobody may keep a half queue
	// before people are told.
	LookEvery, Grace time.Duration

	o       Options
	without without
	unkept  unkept
}

// New returns what keeps the half queues of o.Group, once it has its Broker.
func New(o Options) *Keeper { return &Keeper{o: o, LookEvery: lookEvery, Grace: grace} }

// Keep runs this process's Keepers; one is active per half queue.
func (k *Keeper) Keep(ctx context.Context) error {
	return k.Broker.KeepGroup(ctx, broker.KeeperOptions{
		Group:      k.o.Group,
		Window:     k.o.Window,
		CheckAfter: k.o.CheckAfter,
		HandOver:   k.handOver,
		Unable:     k.unable,
		Stats:      k.o.Metrics.Kept,
	})
}
