package lanes

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/client"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// cohortGrace is how long after its start has been recorded a cohort still counts
// as in flight, if its callers are not answered before: a slow local transaction
// does not hold up the next cohort.
const cohortGrace = 50 * time.Millisecond

// gathered is a transaction that may share a workflow with its neighbours.
type gathered struct {
	tx     activities.Tx
	p      *Pending
	caller context.Context
	cohort *cohort // once it is taken; guarded by the gatherer

	started chan struct{}      // closed when the two below are known
	run     client.WorkflowRun // the workflow that it is in
	err     error              // or why that was not started
}

// cohort is the transactions that share a workflow.
type cohort struct {
	id      string // of the workflow
	members []*gathered
	release func() // says that it is no longer in flight; only the first call counts

	mu      sync.Mutex
	waiting int                // callers that are not answered
	give    context.CancelFunc // ends its start; nil before that
}

func newCohort(g *gatherer, members []*gathered) *cohort {
	id := workflows.WorkflowID(g.prefix, g.group, members[0].tx.ID)
	if len(members) > 1 {
		id = workflows.CohortWorkflowID(g.prefix, g.group, uuid.Must(uuid.NewV7()).String())
	}
	return &cohort{id: id, members: members, waiting: len(members), release: sync.OnceFunc(g.freed)}
}

// answered says that one caller is answered, or has given up. After the last one
// nobody needs the start any more.
func (c *cohort) answered() {
	c.mu.Lock()
	c.waiting--
	last, give := c.waiting == 0, c.give
	c.mu.Unlock()
	if !last {
		return
	}
	if give != nil {
		give()
	}
	c.release()
}

// startContext bounds the start of c by the last of its callers. One who is alone
// may be the one who runs it: it ends as soon as that one goes away.
func (c *cohort) startContext() (context.Context, context.CancelFunc) {
	ctx, cancel := c.members[0].caller, context.CancelFunc(nil)
	if len(c.members) == 1 {
		ctx, cancel = context.WithCancel(ctx)
	} else {
		ctx, cancel = context.WithDeadline(context.WithoutCancel(ctx), c.deadline())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.give = cancel
	if c.waiting == 0 {
		cancel()
	}
	return ctx, cancel
}

// deadline is that of the caller who waits longest.
func (c *cohort) deadline() (latest time.Time) {
	for _, m := range c.members {
		if m.p.deadline.After(latest) {
			latest = m.p.deadline
		}
	}
	return latest
}

// gathers reports whether p may share a workflow: a chosen ID has one of its own,
// so that a second use of it is noticed.
func (l *Lanes) gathers(p *Pending) bool { return l.MaxCohort > 1 && p.Inline() && p.Fresh() }

// gather starts the workflow of tx, alone or in a cohort, and waits for its
// answer.
func (l *Lanes) gather(ctx context.Context, p *Pending, tx activities.Tx,
	receipt holdfast.Receipt) (holdfast.Receipt, error) {
	defer func() { l.pendings.end(p, time.Now()) }()
	m := &gathered{tx: tx, p: p, caller: ctx, started: make(chan struct{})}
	c := l.gatherer.enter(m)
	if c != nil {
		l.startCohort(c)
	}
	var left error // why nobody waits for the start any more
	select {
	case <-m.started:
	case <-p.done: // its answer came before that of its start
	case <-ctx.Done():
		left = temporalerr.Unavailable("start transaction "+tx.ID, context.Cause(ctx))
	case <-l.gate.Over():
		left = l.gate.Ended()
	}
	if c = l.gatherer.withdraw(m); c != nil {
		defer c.answered()
	}
	var run client.WorkflowRun
	select {
	case <-m.started:
		run, left = m.run, m.err
	default:
	}
	if errors.Is(left, holdfast.ErrInvalid) && c != nil && len(c.members) > 1 {
		run, left = l.StartTransaction(ctx, tx, 0, true) // too much together, but perhaps not alone
	}
	if left != nil {
		if told, over := p.notStarted(left); over {
			return receipt, told
		}
	}
	if run == nil { // what became of its start is not known, but it was started
		run = l.temporal.GetWorkflow(ctx, c.id, "")
	}
	receipt.WorkflowID, receipt.RunID = run.GetID(), run.GetRunID()
	return l.await(ctx, p, run, receipt)
}

// startCohort starts the workflow of c, and tells its members.
func (l *Lanes) startCohort(c *cohort) {
	ctx, cancel := c.startContext()
	defer cancel()
	if len(c.members) == 1 {
		m := c.members[0]
		m.run, m.err = l.StartTransaction(ctx, m.tx, 0, true)
		c.recorded(m.err)
		return
	}
	txs := make([]activities.Tx, len(c.members))
	for i, m := range c.members {
		txs[i] = m.tx
	}
	in := l.Input(txs...)
	in.Cohort = true
	options := transactions.CohortStartOptions(c.id, in)
	options.WorkflowTaskTimeout = l.TaskTimeout
	run, err := l.temporal.ExecuteWorkflow(ctx, options, transactions.Name, in)
	if err != nil {
		err = temporalerr.Unavailable(fmt.Sprintf("start a cohort of %d transactions", len(txs)), err)
	}
	for _, m := range c.members {
		m.run, m.err = run, err
	}
	c.recorded(err)
}

// recorded tells the members that c has been started, or that it has not.
func (c *cohort) recorded(err error) {
	for _, m := range c.members {
		close(m.started)
	}
	if err != nil {
		c.release()
		return
	}
	time.AfterFunc(cohortGrace, c.release)
}
