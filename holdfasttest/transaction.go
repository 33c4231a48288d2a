package holdfasttest

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/fakebroker"
	"github.com/holdfastmq/holdfast/internal/lanes"
	"github.com/holdfastmq/holdfast/internal/steps"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// transaction is a process that sends one transaction, as a worker does, by package lanes
// and package steps. It is what these need of the world, and where a test has it break.
type transaction struct {
	k     *Kit
	lanes *lanes.Lanes
	dead  bool                       // the process that sends it
	ended *transactions.MemberStatus // in its workflow, if it has had one

	published []holdfast.Message
	asked     int // check-backs
}

// enough is a time that nothing here takes.
const enough = time.Hour

func (k *Kit) transaction() *transaction {
	p := &transaction{k: k}
	p.lanes = lanes.New(lanes.Options{Group: k.o.Group, Instance: "kit", Lane: k.o.Lane, MaxBody: holdfast.MaxBody,
		SendTimeout: enough, CheckAfter: enough, LocalTimeout: enough}, p, server{p: p}, rows{lanes.Rows{DB: k.o.DB}, p})
	p.lanes.Connect(wire{k.broker, p}, "")
	return p
}

// handOver does what a Keeper does with what a process of the Express lane has left.
func (p *transaction) handOver(ctx context.Context, txID string) error {
	h, there := p.k.server.Halves()[txID]
	if !there {
		return errors.New("no half message is left to hand over")
	}
	_, err := p.lanes.StartTransaction(ctx, activities.Tx{ID: txID, Form: activities.HandedOver, Messages: h.Messages,
		Why: "the Keeper held its half message without an op record"}, 0, false)
	return err
}

// breakable is local, whose process may die before COMMIT.
func (p *transaction) breakable(local lanes.Local) lanes.Local {
	return func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error {
		err := local(ctx, tx, ms)
		if err == nil && p.k.breaks(BeforeCommit) {
			p.dead = true
			err = errBroken
		}
		return err
	}
}

// lives has run run the local transaction, if its process lives, and reports whether it
// then lives to tell how that ended.
func (p *transaction) lives(run func() holdfast.Resolution) bool {
	if p.dead || p.k.breaks(AfterHalf) || run() == holdfast.Commit && p.k.breaks(AfterCommit) {
		p.dead = true
	}
	return !p.dead
}

// wire is the broker.
type wire struct {
	*fakebroker.Broker
	p *transaction
}

func (w wire) PublishHalf(ctx context.Context, h holdfast.Half) error {
	if w.p.k.breaks(BeforeHalf) {
		return errBroken
	}
	return w.Broker.PublishHalf(ctx, h)
}

func (w wire) PublishHalves(ctxs []context.Context, hs []holdfast.Half, done func(i int, err error)) {
	for i, h := range hs {
		done(i, w.PublishHalf(ctxs[i], h))
	}
}

func (w wire) PublishMessages(ctx context.Context, _, txID string, ms []holdfast.Message) error {
	if err := w.p.k.publish(ctx, txID, ms); err != nil {
		return err
	}
	w.p.published = holdfast.CloneMessages(ms)
	if w.p.k.breaks(AfterPublish) {
		return errBroken
	}
	return nil
}

// rows are the outcome rows.
type rows struct {
	lanes.Rows
	p *transaction
}

func (r rows) Run(ctx context.Context, tx barrier.Local, local lanes.Local) (res barrier.Result) {
	if r.p.lives(func() holdfast.Resolution { res = r.Rows.Run(ctx, tx, local); return res.Resolution }) {
		return res
	}
	return barrier.Result{Err: errBroken}
}

// ports are those of the workflow's steps.
type ports struct {
	*steps.Steps
	p *transaction
}

func (s ports) RunLocal(ctx context.Context, group string, tx activities.Tx) (out activities.LocalResult) {
	waits := s.p.lanes.Waiting(tx.ID)
	if s.p.lives(func() holdfast.Resolution { out = s.Steps.RunLocal(ctx, group, tx); return out.Resolution }) {
		return out
	}
	if waits != nil {
		waits.RunsElsewhere()
	}
	return activities.LocalResult{ID: tx.ID, Elsewhere: true,
		Error: "the process that held the local transaction is gone"}
}

func (s ports) CheckBack(ctx context.Context, group string, tx activities.Tx) activities.LocalResult {
	s.p.asked++
	return s.Steps.CheckBack(ctx, group, tx)
}

// Waiting finds the caller of the transaction.
func (p *transaction) Waiting(txID string) steps.Caller {
	if waits := p.lanes.Waiting(txID); waits != nil {
		return waits
	}
	return nil
}

// steps are those of the kit's group.
func (k *Kit) steps() *steps.Steps {
	return &steps.Steps{Group: k.o.Group, Process: "kit", DB: k.o.DB, Databases: one{}, MaxBody: holdfast.MaxBody,
		Compensations: k.undoes, Recovered: func([]activities.LocalResult) {}}
}

// one is what a process knows of databases where there is one.
type one struct{}

func (one) Own() string                           { return "" }
func (one) Other(string) error                    { return nil }
func (one) TellOther(*barrier.OtherDatabaseError) {}
func (one) Differ() bool                          { return false }

// server is Temporal's client, of which sending a transaction needs one method.
type server struct {
	client.Client
	p *transaction
}

// ExecuteWorkflow plays the workflow of the transaction until it ends, or until it can
// only wait for an operator.
func (s server) ExecuteWorkflow(_ context.Context, o client.StartWorkflowOptions, _ any,
	args ...any) (client.WorkflowRun, error) {
	p, k := s.p, s.p.k
	k.t.Helper()
	if k.sent[o.ID] {
		return nil, serviceerror.NewWorkflowExecutionAlreadyStarted("it was started before", "", "")
	}
	k.sent[o.ID] = true
	r := k.begin(o.ID)
	does := ports{k.steps(), p}
	does.Broker, does.Callers = wire{k.broker, p}, p
	(&activities.Transactions{Halves: does, Publish: does, Ops: does, Locals: does, Truth: does}).Register(r.env)
	in := args[0].(transactions.Input)
	r.env.RegisterDelayedCallback(func() { r.leave("it would go on like this") }, day)
	run := ended{id: o.ID}
	whole := func(ctx workflow.Context) (any, error) { return transactions.Transaction(ctx, in) }
	r.play("Transaction", whole, &run.status)
	p.ended = &run.status.Transactions[0]
	return run, nil
}

// ended is the run of a workflow that was played.
type ended struct {
	client.WorkflowRun
	id     string
	status transactions.Status
}

func (e ended) GetID() string    { return e.id }
func (e ended) GetRunID() string { return "" }
func (e ended) Get(_ context.Context, status any) error {
	*status.(*transactions.Status) = e.status
	return nil
}

// A kit's process always sends, and does one thing after the other.
func (p *transaction) Enter(context.Context) error                 { return nil }
func (p *transaction) EnterTemporal(context.Context, string) error { return nil }
func (p *transaction) Leave()                                      {}
func (p *transaction) Go(f func())                                 { f() }
func (p *transaction) Over() <-chan struct{}                       { return nil }
func (p *transaction) Ended() error                                { return nil }
