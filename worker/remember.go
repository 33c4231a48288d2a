package worker

import (
	"context"
	"fmt"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
)

// noteTimeout bounds the note in the database that queues were made again.
const noteTimeout = 10 * time.Second

// recall makes the queues of the consumers that the group's processes have known,
// where they are missing, before anything is published.
func (w *Worker) recall(ctx context.Context) error {
	known, err := w.knownConsumers(ctx)
	if err != nil {
		return err
	}
	return w.broker.Recall(ctx, known)
}

func (w *Worker) knownConsumers(ctx context.Context) (out []broker.Bound, err error) {
	if w.o.DB == nil {
		return nil, nil
	}
	known, err := barrier.KnownConsumers(ctx, w.o.DB, w.o.Prefix)
	for _, c := range known {
		out = append(out, broker.Bound{Name: c.Name, Topics: c.Topics, Age: c.Seen})
	}
	return out, err
}

// learn remembers the consumers of all processes, in the group's database where it
// has one.
func (w *Worker) learn(ctx context.Context) error { return w.broker.Learn(ctx, w.learning(ctx)) }

func (w *Worker) learning(ctx context.Context) broker.Learning {
	l := broker.Learning{News: w.consumersBegan(ctx)}
	if w.o.DB != nil {
		l.Load = w.knownConsumers
		l.Save = func(ctx context.Context, seen []broker.Bound) error {
			cs := make([]barrier.KnownConsumer, len(seen))
			for i, c := range seen {
				cs[i] = barrier.KnownConsumer{Name: c.Name, Topics: c.Topics}
			}
			return barrier.SaveConsumers(ctx, w.o.DB, w.o.Prefix, cs)
		}
	}
	return l
}

// remade tells that queues were missing. It is called while a connection waits for
// it: the note in the database is written meanwhile.
func (w *Worker) remade(r broker.Remade) {
	w.alerts.Alert(holdfast.Alert{Kind: holdfast.AlertQueuesLost, At: r.At, Group: w.o.Group, Reason: r.String(),
		Remedy: "see docs/runbook/empty-broker.md: which messages were lost, and how to send them again; " +
			"a consumer that is gone on purpose: `holdfast consumers forget NAME`"})
	if w.o.DB == nil || !w.sender || len(r.Consumers) == 0 {
		return
	}
	var names []string
	for _, c := range r.Consumers {
		names = append(names, c.Name)
	}
	w.noting.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), noteTimeout)
		defer cancel()
		if err := barrier.NoteRemade(ctx, w.o.DB, w.o.Prefix, names, r.String()); err != nil {
			w.o.Logger.Warn("that queues were made again could not be noted for doctor", "error", err)
		}
	})
}

// expired tells that a policy takes dead letters out of their queue.
func (w *Worker) expired(e broker.Expired) {
	w.alerts.Alert(holdfast.Alert{Kind: holdfast.AlertDeadLettersExpire, Group: w.o.Group,
		Reason: fmt.Sprintf("dead letters leave the queue %s, and are put back as long as a process runs: %s",
			e.Queue, e.Why),
		Remedy: "exclude the queues of Holdfast from that policy (see docs/runbook/policy.md), " +
			"and start a worker with Temporal, which takes dead letters in"})
}
