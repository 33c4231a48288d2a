// Package remember is what a process remembers of the consumers of its prefix, in the
// group's database: it makes their queues again where these are missing, tells people that
// they were, and has transactions tried again that waited for a consumer. Package worker
// runs it.
package remember

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/signals"
)

// noteTimeout bounds the note in the database that queues were made again.
const noteTimeout = 10 * time.Second

// Options say whose consumers are remembered, and where.
type Options struct {
	Prefix, Group, Namespace string
	// Sends says that the process sends: it has a group.
	Sends bool
	// DB is the group's database; it may be nil.
	DB *gorm.DB
	// Temporal is nil in a process that has none.
	Temporal memoryTemporal
	Logger   *slog.Logger
	Alert    func(holdfast.Alert)
}

// memoryTemporal is what a memory needs of Temporal's client.
type memoryTemporal interface {
	signals.Temporal
	ListWorkflow(ctx context.Context,
		r *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error)
}

// memoryBroker is what a memory needs of a broker.
type memoryBroker interface {
	Learn(ctx context.Context, o broker.Learning) error
}

// Memory is what a process remembers of the consumers of its prefix.
type Memory struct {
	o      Options
	noting sync.WaitGroup // what is being noted, or told, meanwhile
}

// New returns the memory of a process; it has learnt nothing yet.
func New(o Options) *Memory { return &Memory{o: o} }

// Wait waits until all is noted and told.
func (m *Memory) Wait() { m.noting.Wait() }

// Known returns the consumers that the group's processes have known: their queues have to
// be there before anything is published.
func (m *Memory) Known(ctx context.Context) (out []broker.Bound, err error) {
	if m.o.DB == nil {
		return nil, nil
	}
	known, err := barrier.KnownConsumers(ctx, m.o.DB, m.o.Prefix)
	for _, c := range known {
		out = append(out, broker.Bound{Name: c.Name, Topics: c.Topics, Age: c.Seen})
	}
	return out, err
}

// Learn remembers the consumers of all processes, in the group's database where it
// has one.
func (m *Memory) Learn(ctx context.Context, b memoryBroker) error {
	return b.Learn(ctx, m.learning(ctx))
}

func (m *Memory) learning(ctx context.Context) broker.Learning {
	l := broker.Learning{News: m.consumersBegan(ctx)}
	if m.o.DB != nil {
		l.Load = m.Known
		l.Save = func(ctx context.Context, seen []broker.Bound) error {
			cs := make([]barrier.KnownConsumer, len(seen))
			for i, c := range seen {
				cs[i] = barrier.KnownConsumer{Name: c.Name, Topics: c.Topics}
			}
			return barrier.SaveConsumers(ctx, m.o.DB, m.o.Prefix, cs)
		}
	}
	return l
}

// Remade tells that queues were missing. It is called while a connection waits for
// it: the note in the database is written meanwhile.
func (m *Memory) Remade(r broker.Remade) {
	m.o.Alert(holdfast.Alert{Kind: holdfast.AlertQueuesLost, At: r.At, Group: m.o.Group, Reason: r.String(),
		Remedy: "see docs/runbook/empty-broker.md: which messages were lost, and how to send them again; " +
			"a consumer that is gone on purpose: `holdfast consumers forget NAME`"})
	if m.o.DB == nil || !m.o.Sends || len(r.Consumers) == 0 {
		return
	}
	var names []string
	for _, c := range r.Consumers {
		names = append(names, c.Name)
	}
	m.noting.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), noteTimeout)
		defer cancel()
		if err := barrier.NoteRemade(ctx, m.o.DB, m.o.Prefix, names, r.String()); err != nil {
			m.o.Logger.Warn("that queues were made again could not be noted for doctor", "error", err)
		}
	})
}

// Expired tells that a policy takes dead letters out of their queue.
func (m *Memory) Expired(e broker.Expired) {
	m.o.Alert(holdfast.Alert{Kind: holdfast.AlertDeadLettersExpire, Group: m.o.Group,
		Reason: fmt.Sprintf("dead letters leave the queue %s, and are put back as long as a process runs: %s",
			e.Queue, e.Why),
		Remedy: "exclude the queues of Holdfast from that policy (see docs/runbook/policy.md), " +
			"and start a worker with Temporal, which takes dead letters in"})
}
