package worker_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

// publish delivers an order's message as its committed transaction would, without
// a process of the group.
func (s *site) publish(b *broker.Broker, ms ...holdfast.Message) {
	s.t.Helper()
	for _, m := range ms {
		require.NoError(s.t, s.commits(m))
	}
	s.deliver(b, ms...)
}

// deliver is publish for what has its outcome row, or needs none.
func (s *site) deliver(b *broker.Broker, ms ...holdfast.Message) {
	s.t.Helper()
	for _, m := range ms {
		require.NoError(s.t, b.PublishMessages(s.ctx(), s.at.Group, m.ID, []holdfast.Message{m}))
	}
}

// commits inserts the outcome row of the transaction of m.
func (s *site) commits(m holdfast.Message) error {
	return s.orders.Transaction(func(tx *gorm.DB) error {
		_, err := barrier.Insert(s.ctx(), tx, m.ID, s.at.Group, m)
		return err
	})
}

// someOrders are n messages.
func someOrders(n int) (ms []holdfast.Message) {
	for range n {
		ms = append(ms, order(newID()))
	}
	return ms
}

// queuesOf are those in which messages of these consumers can be: their own, the
// dead letters', and the delay queues, of which ladders adds some.
func queuesOf(b *broker.Broker, consumers []string, ladders ...time.Duration) []string {
	queues := []string{b.DeadQueue(), b.OversizedQueue()}
	for _, name := range consumers {
		queues = append(queues, b.ConsumerQueue(name))
	}
	for _, delay := range append(broker.DefaultLadder(), append(ladders, retryDelay)...) {
		queues = append(queues, b.RetryQueue(delay))
	}
	return queues
}

// waiting counts the messages in queues that nobody holds.
func (s *site) waiting(b *broker.Broker, queues ...string) (messages, holders int) {
	s.t.Helper()
	info, err := b.Inspect(s.ctx(), queues...)
	require.NoError(s.t, err)
	for _, q := range info.Queues {
		messages, holders = messages+q.Messages, holders+q.Consumers
	}
	return messages, holders
}

// nothingLeft requires that no message is left anywhere in the consumers' queues,
// the delay queues and the dead letters: neither waiting nor, once the workers
// have stopped, given back.
func (s *site) nothingLeft(b *broker.Broker, consumers []string, workers ...*running) {
	s.t.Helper()
	queues := queuesOf(b, consumers)
	until(s.t, "the queues are empty", func() bool {
		messages, _ := s.waiting(b, queues...)
		return messages == 0
	})
	for _, w := range workers {
		w.stop()
	}
	until(s.t, "nobody holds anything", func() bool {
		_, holders := s.waiting(b, queues...)
		return holders == 0
	})
	info, err := b.Inspect(s.ctx(), queues...)
	require.NoError(s.t, err)
	for _, q := range info.Queues {
		require.Zero(s.t, q.Messages, "left in %s", q.Name)
	}
}

// countLetters counts the workflows of dead letters in a state; of all for none.
func (s *site) countLetters(state workflows.State) int {
	s.t.Helper()
	query := "TaskQueue = '" + workflows.DeadLetterQueue(s.at.Prefix) + "'"
	if state != "" {
		query += " AND " + workflows.AttributeState + " = '" + string(state) + "'"
	}
	resp, err := s.temporal.CountWorkflow(s.ctx(), &workflowservice.CountWorkflowExecutionsRequest{Namespace: s.at.Namespace, Query: query})
	require.NoError(s.t, err)
	return int(resp.GetCount())
}

// onlyLetter requires that there is one workflow of a dead letter, of one run.
func (s *site) onlyLetter(consumer, message string) {
	s.t.Helper()
	until(s.t, "the dead letter is listed", func() bool { return len(s.letters()) > 0 })
	require.Equal(s.t, []string{s.deadID(consumer, message)}, s.letters())
}

// bells collects alerts.
type bells struct {
	mu   sync.Mutex
	rung []holdfast.Alert
}

func (b *bells) ring(_ context.Context, a holdfast.Alert) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rung = append(b.rung, a)
}

// of returns the alerts of a kind.
func (b *bells) of(kind holdfast.AlertKind) (out []holdfast.Alert) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.rung {
		if a.Kind == kind {
			out = append(out, a)
		}
	}
	return out
}

// about returns the first alert of a kind about an ID.
func (b *bells) about(kind holdfast.AlertKind, id string) (holdfast.Alert, bool) {
	all := b.of(kind)
	i := slices.IndexFunc(all, func(a holdfast.Alert) bool { return a.ID == id })
	if i < 0 {
		return holdfast.Alert{}, false
	}
	return all[i], true
}

// hears makes alerts go to b.
func (b *bells) hears(o *worker.Options) { o.OnAlert = b.ring }

// withAnswer makes a redelivery wait for the consumer's answer.
func withAnswer(r *deadletters.Request) { r.Wait = patience }

// tells reports whether a line of a dead letter's story has the text.
func tells(status deadletters.Status, text string) bool {
	return slices.ContainsFunc(status.Story, func(e deadletters.Event) bool { return strings.Contains(e.Text, text) })
}

// repeats notes which messages came again and had no effect, from a consumer's log.
type repeats struct {
	slog.Handler
	mu   *sync.Mutex
	seen map[string]int
}

func (s *site) repeats() *repeats {
	return &repeats{Handler: s.log().Handler(), mu: &sync.Mutex{}, seen: map[string]int{}}
}

// Enabled implements slog.Handler: repetitions are logged for debugging.
func (r *repeats) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (r *repeats) Handle(ctx context.Context, rec slog.Record) error {
	if rec.Message == "delivery repeated, no effect" {
		rec.Attrs(func(a slog.Attr) bool {
			if a.Key == "message" {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.seen[a.Value.String()]++
			}
			return true
		})
	}
	if !r.Handler.Enabled(ctx, rec.Level) {
		return nil
	}
	return r.Handler.Handle(ctx, rec)
}

func (r *repeats) of(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[id]
}

// consumingRepeats is consuming, and waits until a second copy of the message has
// come to it: what is on its way between two queues is counted in neither.
func (s *site) consumingRepeats(id string, c worker.Consumer) *running {
	s.t.Helper()
	r := s.repeats()
	w := s.run(worker.Options{AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix, Logger: slog.New(r), Timeouts: worker.Timeouts{Drain: 20 * time.Second}}, c)
	until(s.t, "the other copy of "+id, func() bool { return r.of(id) > 0 })
	return w
}
