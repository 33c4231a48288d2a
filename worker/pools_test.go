package worker_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/worker"
)

// TestSmallPool: handlers that send, on a pool with fewer connections than there are
// handlers: one is always left for what they send. The process says so.
func TestSmallPool(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	few := openDB(t, s.at.OrdersURL)
	pool, err := few.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(2)
	s.consuming(worker.Consumer{Name: "audit", Topics: []string{"follow"}, HandleAtLeastOnce: func(context.Context, holdfast.Message) error { return nil }})
	o := s.options()
	o.DB = few
	relay := func(name string, w *worker.Worker) worker.Consumer {
		s.consumers[name] = true
		return worker.Consumer{Name: name, Topics: []string{placed}, Timeout: time.Minute, Ladder: noLadder,
			Handle: func(ctx context.Context, _ *gorm.DB, m holdfast.Message) error {
				_, err := w.Send(ctx, holdfast.Message{Topic: "follow"}, func(context.Context, *gorm.DB, *holdfast.Message) error { return nil })
				return err
			}}
	}
	s.runWith(o, func(w *worker.Worker) {
		w.Consume(relay("relay", w))
		w.Consume(relay("another", w))
	})
	b := s.broker()
	const n = 20
	s.publish(b, someOrders(n)...)
	until(t, "all are handled, or one is dead", func() bool {
		return len(s.letters()) > 0 || s.count(s.orders, "SELECT count(*) FROM holdfast_inbox") == 2*n
	})
	require.Empty(t, s.letters(), "nothing is wrong with the messages")

	var troubles []broker.Trouble
	for _, a := range s.asked(b, "both processes answer", func(all []broker.ProcessStatus) bool { return len(all) == 2 }) {
		troubles = append(troubles, a.Troubles...)
	}
	require.Len(t, troubles, 1)
	require.Contains(t, troubles[0].What, "consumer another, consumer relay would handle 32 messages at a time, and their pool has 2 connections")
	require.Contains(t, troubles[0].Remedy, "SetMaxOpenConns to 34")
}
