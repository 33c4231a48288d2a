package worker_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/worker"
)

// alone are options without Temporal.
func alone(o *worker.Options) {
	*o = hurried(*o)
	o.Temporal, o.Lane = nil, holdfast.Express
}

// TestExpressWithoutTemporal: processes that have no Temporal send, and two of them
// are killed on the way. What they leave waits in the half queue, and says what is
// missing, once. A process with Temporal takes it over, although one without holds it.
func TestExpressWithoutTemporal(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	var heard bells
	log := &lines{next: s.log().Handler()}
	o := s.options()
	alone(&o)
	heard.hears(&o)
	o.Logger, o.Lane, o.Lanes = slog.New(log), "", map[string]holdfast.Lane{placed: holdfast.Express}
	w := s.runWith(o, func(w *worker.Worker) { w.Local("place", insertAndPass) })
	b := s.broker()

	sent := newID()
	receipt, err := w.Send(t.Context(), order(sent), insert)
	require.NoError(t, err)
	require.Equal(t, holdfast.Commit, receipt.Resolution)
	s.oneEffect(sent)

	// The other forms.
	sent = newID()
	_, err = w.Start(t.Context(), "place", order(sent))
	require.NoError(t, err)
	s.oneEffect(sent)
	split, err := w.Begin(t.Context(), 0, order(newID()))
	require.NoError(t, err)
	require.NoError(t, s.orders.Transaction(func(tx *gorm.DB) error {
		_, err := split.Barrier(t.Context(), tx)
		return err
	}))
	_, err = split.Commit(t.Context())
	require.NoError(t, err)
	s.oneEffect(split.ID())
	_, err = w.Send(t.Context(), order(sent), insert)
	require.ErrorIs(t, err, holdfast.ErrDuplicate)

	// Killed right after the half message, and right after COMMIT.
	notBegun, committed := newID(), newID()
	first := s.child(childConfig{Role: roleProducer, Form: formInline, Tx: notBegun, Fault: fault.HalfAfterConfirm, Alone: true})
	second := s.child(childConfig{Role: roleProducer, Form: formInline, Tx: committed, Fault: fault.CommitBeforePublish, Alone: true})
	first.killed()
	second.killed()
	require.Zero(t, s.ordered(notBegun))
	require.Equal(t, 1, s.ordered(committed))

	// A second try says that nothing changed.
	var k broker.KeeperStatus
	until(t, "both halves wait, and hand-overs fail", func() bool {
		var found bool
		k, found = keeperOf(t, b, func(k broker.KeeperStatus) bool { return k.Active })
		return found && k.Undecided == 2 && !k.FailingSince.IsZero() && k.Failed > 3
	})
	require.Contains(t, k.Unable, "Options.Temporal is not set")
	answers, err := b.Ask(t.Context(), 300*time.Millisecond)
	require.NoError(t, err)
	for _, p := range answers {
		require.True(t, p.NoTemporal, p.Instance)
	}
	require.Contains(t, k.LastError, "start a process of group orders that has Temporal")
	until(t, "the alert", func() bool { return len(heard.of(holdfast.AlertUndecidedWaits)) > 0 })
	rung := heard.of(holdfast.AlertUndecidedWaits)
	require.Len(t, rung, 1, "once")
	require.Contains(t, rung[0].Remedy, "start a process of group orders that has Temporal")
	require.Len(t, log.with("undecided half messages wait"), 1, "once")
	require.Zero(t, s.effected(committed))
	require.True(t, w.OutcomesNeeded(), "rows that a late check-back asks for are kept")

	s.producer(func(o *worker.Options) { *o = hurried(*o) })
	s.oneEffect(committed)
	until(t, "the check-back's answer", func() bool { return s.hasRow(notBegun) })
	require.Zero(t, s.effected(notBegun))
	s.oneEffect(s.sends(w, insert)) // the one without goes on
	until(t, "the process with Temporal keeps the queue", func() bool {
		_, able := keeperOf(t, b, func(k broker.KeeperStatus) bool { return k.Active && k.Unable == "" })
		return able
	})
	require.LessOrEqual(t, len(log.with("could not be handed over")), 1, "once")
}

// TestKeeperThatDoesNotReachTemporal gives its place to one that does.
func TestKeeperThatDoesNotReachTemporal(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	nowhere, err := client.NewLazyClient(client.Options{HostPort: "127.0.0.1:1", Namespace: s.at.Namespace, Logger: sdklog.NewStructuredLogger(s.log())})
	require.NoError(t, err)
	t.Cleanup(nowhere.Close)
	s.producer(func(o *worker.Options) {
		alone(o)
		o.Temporal = nowhere
	})
	committed := newID()
	s.child(childConfig{Role: roleProducer, Form: formInline, Tx: committed, Fault: fault.CommitBeforePublish, Alone: true}).killed()
	b := s.broker()
	until(t, "hand-overs fail", func() bool {
		_, found := keeperOf(t, b, func(k broker.KeeperStatus) bool { return k.Active && !k.FailingSince.IsZero() && k.Unable != "" })
		return found
	})
	s.producer(func(o *worker.Options) { *o = hurried(*o) })
	s.oneEffect(committed)
}

// TestNeedsTemporal: whatever needs Temporal says so at once, in a worker without.
func TestNeedsTemporal(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.producer(alone)
	never := func(context.Context, *gorm.DB, *holdfast.Message) error {
		t.Error("the local transaction was run")
		return nil
	}
	traced := order("")
	traced.Lane = holdfast.Traced
	handle := worker.JoinSaga(w.Worker, trek, "1")
	for name, call := range map[string]func() error{
		"a transaction in the Traced lane": func() error { _, err := w.Send(t.Context(), traced, never); return err },
		"Start in the Traced lane":         func() error { _, err := w.Start(t.Context(), "place", order("")); return err },
		"Begin in the Traced lane":         func() error { _, err := w.Begin(t.Context(), time.Second, order("")); return err },
		"StartSaga": func() error {
			_, err := worker.StartSaga(t.Context(), w.Worker, trek, trekker("1", false))
			return err
		},
		"a saga's handle": func() error { _, err := handle.Wait(t.Context()); return err },
		"a saga's handle needs": func() error {
			return handle.Approve(t.Context(), "approve", nil, worker.By{Operator: "ann", Reason: "why not"})
		},
	} {
		err := call()
		require.ErrorIs(t, err, holdfast.ErrInvalid, name)
		require.ErrorContains(t, err, name)
		require.ErrorContains(t, err, "needs Options.Temporal, which is not set")
	}

	// What is registered, Run refuses; StartSaga comes to nothing else.
	o := s.options()
	alone(&o)
	for name, register := range map[string]func(*worker.Worker){
		"saga trek":  func(w *worker.Worker) { w.Saga(trek) },
		"Compensate": func(w *worker.Worker) { w.Compensate(placed, refund) },
		"Activity":   func(w *worker.Worker) { w.Activity("print", func(context.Context) error { return nil }) },
	} {
		w, err := worker.New(o)
		require.NoError(t, err)
		register(w)
		if name == "saga trek" {
			_, err = worker.StartSaga(t.Context(), w, trek, trekker("1", false))
			require.ErrorContains(t, err, "StartSaga needs Options.Temporal")
		}
		err = w.Run(t.Context())
		require.ErrorIs(t, err, holdfast.ErrInvalid, name)
		require.ErrorContains(t, err, name)
		require.ErrorContains(t, err, "needs Options.Temporal, which is not set")
	}

	// A worker that only consumes, and one whose messages alone choose the lane.
	o.Lane = ""
	w2, err := worker.New(o)
	require.NoError(t, err)
	express := order("")
	express.Lane = holdfast.Express
	_, err = w2.Send(t.Context(), express, never)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.ErrorContains(t, err, "this worker only consumes")
	o.Lane, o.Group = holdfast.Express, ""
	_, err = worker.New(o)
	require.ErrorContains(t, err, "group")
}

// keeperOf returns the first Keeper of the group that is as wanted.
func keeperOf(t testing.TB, b *broker.Broker, want func(broker.KeeperStatus) bool) (broker.KeeperStatus, bool) {
	t.Helper()
	answers, err := b.Ask(t.Context(), 300*time.Millisecond)
	require.NoError(t, err)
	for _, p := range answers {
		for _, k := range p.Keepers {
			if k.Group == group && want(k) {
				return k, true
			}
		}
	}
	return broker.KeeperStatus{}, false
}

// lines keeps what is logged, and passes it on.
type lines struct {
	next slog.Handler
	mu   sync.Mutex
	all  []string
}

func (l *lines) Enabled(ctx context.Context, level slog.Level) bool {
	return l.next.Enabled(ctx, level)
}
func (l *lines) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *lines) WithGroup(string) slog.Handler      { return l }

// Handle implements slog.Handler.
func (l *lines) Handle(ctx context.Context, r slog.Record) error {
	l.mu.Lock()
	l.all = append(l.all, r.Message)
	l.mu.Unlock()
	return l.next.Handle(ctx, r)
}

// with are the lines that have the text.
func (l *lines) with(text string) (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if strings.Contains(line, text) {
			out = append(out, line)
		}
	}
	return out
}
