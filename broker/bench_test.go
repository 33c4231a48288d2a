package broker

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

const benchCallers = 64

// BenchmarkPublishHalf is 64 callers that each store one half message after the
// other.
func BenchmarkPublishHalf(b *testing.B) {
	br := open(b, stacktest.Shared(b).AMQPURL(), stacktest.Prefix(b), nil)
	ctx := context.Background()
	require.NoError(b, br.DeclareGroup(ctx, "g"))
	h := half("tx-0123456789abcdef0123456789abcdef", "g")
	b.ReportAllocs()
	callers(b, func() error { return br.PublishHalf(ctx, h) })
}

// BenchmarkBareLoop is the bar: the same records over one channel with deferred
// confirms and nothing around it.
func BenchmarkBareLoop(b *testing.B) {
	br := open(b, stacktest.Shared(b).AMQPURL(), stacktest.Prefix(b), nil)
	require.NoError(b, br.DeclareGroup(context.Background(), "g"))
	h := half("tx-0123456789abcdef0123456789abcdef", "g")
	conn, err := amqp.Dial(stacktest.Shared(b).AMQPURL())
	require.NoError(b, err)
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	require.NoError(b, err)
	require.NoError(b, ch.Confirm(false))
	b.ReportAllocs()
	callers(b, func() error {
		msg, err := wire.EncodeHalf(h)
		if err != nil {
			return err
		}
		msg.DeliveryMode, msg.Timestamp = amqp.Persistent, time.Now()
		dc, err := ch.PublishWithDeferredConfirm("", br.HalfQueue("g"), true, false, msg)
		if err != nil {
			return err
		}
		if !dc.Wait() {
			return errorText("nack")
		}
		return nil
	})
}

func callers(b *testing.B, f func() error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	var wg sync.WaitGroup
	for range benchCallers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkConsume is a consumer whose handler does nothing.
func BenchmarkConsume(b *testing.B) {
	br := open(b, stacktest.Shared(b).AMQPURL(), stacktest.Prefix(b), func(o *Options) { o.Logger = nil })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	require.NoError(b, br.DeclareConsumer(ctx, "c", []string{"order.*"}))
	callers(b, func() error { return br.PublishMessages(ctx, "g", "tx", messages("tx", "order.placed", 1)) })
	b.ReportAllocs()
	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
	require.NoError(b, br.Consume(ctx, Subscription{Name: "c", Topics: []string{"order.*"}, Handle: func(context.Context, Delivery) error {
		if left.Add(-1) == 0 {
			cancel()
		}
		return nil
	}}))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
}

// BenchmarkKeeper drains a half queue of halves and their op records, 100 in one.
func BenchmarkKeeper(b *testing.B) {
	br := open(b, stacktest.Shared(b).AMQPURL(), stacktest.Prefix(b), func(o *Options) { o.Logger, o.OpBatch = nil, 100 })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	require.NoError(b, br.DeclareGroup(ctx, "g"))
	var n atomic.Int64
	callers(b, func() error {
		tx := strconv.FormatInt(n.Add(1), 10) + "-0123456789abcdef0123456789abcdef"
		err := br.PublishHalf(ctx, half(tx, "g"))
		br.Settle("g", tx, holdfast.Commit)
		return err
	})
	require.NoError(b, br.Flush(ctx))
	b.ReportAllocs()
	b.ResetTimer()
	require.NoError(b, br.Keep(ctx, KeeperOptions{Group: "g", CheckAfter: time.Hour,
		HandOver: func(context.Context, []holdfast.Half) []error { panic("all are settled") },
		Stats: func(s KeeperStats) {
			if s.Matched == uint64(b.N) {
				cancel()
			}
		}}))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "halves/s")
}

// BenchmarkReadHalf is what a Keeper does with the record of a half message,
// whole or by its headers alone.
func BenchmarkReadHalf(b *testing.B) {
	for _, size := range []int{200, 4 << 10, 64 << 10} {
		h := half("tx-0123456789abcdef0123456789abcdef", "g")
		h.Messages[0].Body = bytes.Repeat([]byte("order "), size/6)
		p, err := wire.EncodeHalf(h)
		require.NoError(b, err)
		b.Run(fmt.Sprintf("whole-%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = wire.DecodeHalf(p.Headers, p.Body, "g", holdfast.MaxBody)
			}
		})
		b.Run(fmt.Sprintf("head-%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = wire.HeadOfHalf(p.Headers, len(p.Body), "g", holdfast.MaxBody)
			}
		})
	}
}
