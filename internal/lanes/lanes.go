// Package lanes sends the transactions of one process: in the Traced lane, where a workflow
// that several may share (a cohort) coordinates them, and in the Express lane, without one;
// also the split form, whose local transaction the application runs. It takes interfaces for
// the broker, the outcome rows, Temporal and the process's gate, and knows nothing of
// package worker, which offers it to applications. What a caller is told, the pure core in
// core.go decides; testdata/pending has its scripts.
package lanes

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/client"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// Local is a local transaction.
type Local = func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error

// laneBroker is what the lanes need of a broker.
type laneBroker interface {
	PublishHalf(ctx context.Context, h holdfast.Half) error
	PublishMessages(ctx context.Context, group, txID string, ms []holdfast.Message) error
	Settle(group, txID string, r holdfast.Resolution)
	Fits(group, txID string, ms []holdfast.Message) error
}

// Barrier runs local transactions, and knows their outcome rows: see [Rows].
type Barrier interface {
	Run(ctx context.Context, tx barrier.Local, local Local) barrier.Result
	Read(ctx context.Context, txID string) (barrier.Outcome, error)
	Decide(ctx context.Context, txID, group string, r holdfast.Resolution) (barrier.Outcome, error)
}

// laneTemporal is what the lanes need of Temporal's client.
type laneTemporal interface {
	ExecuteWorkflow(ctx context.Context, o client.StartWorkflowOptions, workflow any,
		args ...any) (client.WorkflowRun, error)
	GetWorkflow(ctx context.Context, workflowID, runID string) client.WorkflowRun
	UpdateWorkflow(ctx context.Context, o client.UpdateWorkflowOptions) (client.WorkflowUpdateHandle, error)
	DescribeWorkflow(ctx context.Context, workflowID, runID string) (*client.WorkflowExecutionDescription, error)
}

// Gate lets callers in while the process sends, and counts them.
type Gate interface {
	// Enter waits until sending can begin, and counts the caller.
	Enter(ctx context.Context) error
	// EnterTemporal is Enter for what needs Temporal, whose name is what.
	EnterTemporal(ctx context.Context, what string) error
	// Leave ends what Enter began, and Go runs f, which counts as a caller.
	Leave()
	Go(f func())
	// Over is closed when the process sends no longer, and nobody is waited for. Ended
	// says why.
	Over() <-chan struct{}
	Ended() error
}

// Rows are the outcome rows of a database.
type Rows struct {
	DB *gorm.DB
	// LockTimeout is how long a decision waits for a local transaction that is open.
	LockTimeout time.Duration
}

var _ Barrier = Rows{}

func (r Rows) Run(ctx context.Context, tx barrier.Local, local Local) barrier.Result {
	return barrier.Run(ctx, r.DB, tx, local)
}

func (r Rows) Read(ctx context.Context, txID string) (barrier.Outcome, error) {
	return barrier.Read(ctx, r.DB, txID)
}

func (r Rows) Decide(ctx context.Context, txID, group string, o holdfast.Resolution) (barrier.Outcome, error) {
	return barrier.Decide(ctx, r.DB, txID, group, o, r.LockTimeout)
}

// Options are those of the worker's options that the lanes need, with their defaults.
type Options struct {
	Group, Prefix string
	Instance      string // names the process that holds a closure

	Lane  holdfast.Lane
	Lanes map[string]holdfast.Lane // by topic

	MaxBody                    int
	MaxCohort, CohortsInFlight int
	Schedule                   transactions.Schedule
	ConfirmAsks, ShortIDs      bool // see transactions.Input
	SendOnly                   bool // workflows run in other processes

	SendTimeout, CheckAfter, LocalTimeout, ReachTimeout, TaskTimeout time.Duration

	// Checkers answer check-backs instead of outcome rows, by the first message's topic.
	Checkers map[string]holdfast.Checker

	// Box seals messages before anything else happens with them; closures get them opened.
	Box *seal.Box
}

// Lanes sends the transactions of one process.
type Lanes struct {
	Options
	gate     Gate
	temporal laneTemporal // nil: there is none
	barrier  Barrier      // nil: there is no database
	pendings *registry
	gatherer *gatherer

	// Set by connect, before the gate lets the first caller in.
	broker   laneBroker
	database string // its identity
}

// New returns the lanes of a process; connect has to follow.
func New(o Options, gate Gate, temporal laneTemporal, rows Barrier) *Lanes {
	l := &Lanes{Options: o, gate: gate, temporal: temporal, barrier: rows, pendings: newRegistry(time.Minute, 10_000)}
	l.gatherer = &gatherer{prefix: o.Prefix, group: o.Group, most: o.MaxCohort, room: o.CohortsInFlight,
		shortIDs: o.ShortIDs, start: func(c *cohort) { gate.Go(func() { l.startCohort(c) }) }}
	return l
}

// Connect gives the lanes the broker and the identity of the database.
func (l *Lanes) Connect(b laneBroker, database string) { l.broker, l.database = b, database }

// Waiting returns the transaction that somebody waits for in this process, or nil.
func (l *Lanes) Waiting(txID string) *Pending { return l.pendings.get(txID) }

// Send runs local in its lane, and delivers ms if and only if it commits.
func (l *Lanes) Send(ctx context.Context, lane holdfast.Lane, ms []holdfast.Message,
	local Local) (holdfast.Receipt, error) {
	tx := activities.Tx{Form: activities.Inline, Instance: l.Instance}
	local = l.opening(local)
	if lane == holdfast.Express {
		return l.opened(l.express(ctx, tx, ms, local))
	}
	return l.opened(l.transact(ctx, tx, ms, local))
}

// opening is local for messages that are sealed.
func (l *Lanes) opening(local Local) Local {
	if local == nil {
		return nil
	}
	return func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error {
		return l.Box.Change(ctx, ms, func(ms []*holdfast.Message) error { return local(ctx, tx, ms) })
	}
}

// openTimeout bounds how long a keyring may take to open the messages of a receipt, which its
// caller may have no time left for: the transaction has ended.
const openTimeout = 5 * time.Second

// opened is a receipt with the messages as their sender knows them.
func (l *Lanes) opened(r holdfast.Receipt, err error) (holdfast.Receipt, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	if ms, wrong := l.Box.OpenAll(ctx, r.Messages); wrong == nil {
		r.Messages = ms
	} // else another process sealed them, with a key that is not here: they say so themselves
	return r, err
}

// Start is send for the handler of that name: in the Express lane local, which is it; in
// the Traced lane any process of the group runs it.
func (l *Lanes) Start(ctx context.Context, lane holdfast.Lane, name string, ms []holdfast.Message,
	local Local) (holdfast.Receipt, error) {
	tx := activities.Tx{Form: activities.Registered, Handler: name}
	if lane == holdfast.Express {
		return l.opened(l.express(ctx, tx, ms, l.opening(local)))
	}
	return l.opened(l.transact(ctx, tx, ms, nil))
}

// Choose says how the transaction of ms is coordinated: Express only if each message
// is.
func (l *Lanes) Choose(ms []holdfast.Message) holdfast.Lane {
	if len(ms) == 0 {
		return l.Lane // it is refused in either
	}
	for i := range ms {
		lane := ms[i].Lane
		if lane == "" {
			lane = l.Lanes[ms[i].Topic]
		}
		if lane == "" {
			lane = l.Lane
		}
		if lane != holdfast.Express {
			return holdfast.Traced
		}
	}
	return holdfast.Express
}

// identify checks the messages, gives them and tx their IDs, and seals them in tx.
func (l *Lanes) identify(ctx context.Context, tx *activities.Tx, ms []holdfast.Message) (holdfast.Receipt, error) {
	receipt := holdfast.Receipt{Group: l.Group}
	ms = caused(ctx, ms)
	if err := holdfast.ValidateMessages(ms, l.MaxBody); err != nil {
		return receipt, err
	}
	if err := holdfast.ValidateTxID(ms[0].ID); err != nil {
		return receipt, err
	}
	tx.Messages = holdfast.CloneMessages(ms)
	if tx.ID = ms[0].ID; tx.ID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return receipt, fmt.Errorf("holdfast: make a transaction ID: %w", err)
		}
		tx.ID = id.String()
	}
	holdfast.NumberMessages(tx.ID, tx.Messages)
	for i := range tx.Messages {
		tx.Messages[i].Lane = "" // it is chosen, and no part of what is delivered
	}
	receipt.TxID, receipt.WorkflowID = tx.ID, l.workflowID(tx.ID)
	if err := l.Box.Messages(ctx, tx.Messages); err != nil {
		return receipt, err
	}
	if l.Box.Seals() { // which makes them longer
		if err := holdfast.ValidateMessages(tx.Messages, l.MaxBody); err != nil {
			return receipt, fmt.Errorf("encrypted: %w", err)
		}
	}
	return receipt, nil
}

// caused is ms as what is sent in the handler of ctx, if that is one's: see
// [holdfast.Message.Caused].
func caused(ctx context.Context, ms []holdfast.Message) []holdfast.Message {
	d, handling := holdfast.DeliveryFrom(ctx)
	if !handling {
		return ms
	}
	out := make([]holdfast.Message, len(ms))
	for i, m := range ms {
		out[i] = m.Caused(d)
	}
	return out
}

// Input is that of the workflow of txs.
func (l *Lanes) Input(txs ...activities.Tx) transactions.Input {
	return transactions.Input{Group: l.Group, Prefix: l.Prefix, Transactions: txs, Schedule: l.Schedule,
		LocalTimeout: l.LocalTimeout, ReachTimeout: l.ReachTimeout, ConfirmAsks: l.ConfirmAsks,
		ShortIDs: l.ShortIDs && len(txs) > 1}
}

// workflowID is the ID of the workflow of one transaction of the group.
func (l *Lanes) workflowID(txID string) string {
	return workflows.WorkflowID(l.Prefix, l.Group, txID)
}

// ownID is the ID of the workflow to which a transaction leaves that shares the
// workflow workflowID.
func ownID(workflowID, group, txID string) string {
	id, _ := workflows.ParseID(workflowID)
	return workflows.WorkflowID(id.Prefix, group, txID)
}

// CheckerOf returns the Checker for the transaction of ms, or nil.
func (l *Lanes) CheckerOf(ms []holdfast.Message) holdfast.Checker { return l.Checkers[ms[0].Topic] }

// DatabaseOf returns the identity of the database whose outcome row answers for
// the transaction of ms; empty where a Checker does.
func (l *Lanes) DatabaseOf(ms []holdfast.Message) string {
	if l.CheckerOf(ms) != nil {
		return ""
	}
	return l.database
}

// Bounded gives ctx the SendTimeout where it has no deadline.
func (l *Lanes) Bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, l.SendTimeout,
		fmt.Errorf("Options.Timeouts.Send (%v) passed: %w", l.SendTimeout, context.DeadlineExceeded))
}
