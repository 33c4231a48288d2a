package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// An unroutable message is returned first and acknowledged then; the return
// must never be missed, however many are under way.
func TestUnroutableIsNoticed(t *testing.T) {
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	ctx := testContext(t)
	require.NoError(t, b.DeclareGroup(ctx, "g"))
	require.NoError(t, b.DeclareConsumer(ctx, "c", []string{"bound.#"}))
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 100 {
				tx := newTx()
				if (i+g)%3 != 0 {
					if err := b.PublishMessages(ctx, "g", tx, messages(tx, "bound.x", 2)); err != nil {
						t.Errorf("bound: %v", err)
					}
					continue
				}
				ms := messages(tx, "unbound.x", 3)
				ms[0].Topic, ms[2].AllowUnrouted = "bound.y", true
				err := b.PublishMessages(ctx, "g", tx, ms)
				if err == nil || fmt.Sprint(err) != "message "+tx+".2: holdfast: unroutable: no consumer is bound to unbound.x" {
					t.Errorf("unbound: %v", err)
				}
			}
		})
	}
	wg.Wait()
	err := b.PublishMessages(ctx, "g", "t", messages("t", "unbound", 1))
	require.ErrorIs(t, err, holdfast.ErrUnroutable)
}

func TestCommittedMessageOnTheWire(t *testing.T) {
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	ctx := testContext(t)
	require.NoError(t, b.DeclareConsumer(ctx, "c", []string{"order.*"}))
	m := holdfast.Message{ID: "tx1", Topic: "order.placed", Key: "O-1", ContentType: "text/plain",
		Headers: map[string]string{"trace": "1", "CC": "elsewhere"}, Body: []byte("hello")}
	require.NoError(t, b.PublishMessages(ctx, "g", "tx1", []holdfast.Message{m}))
	d := take(t, b, b.ConsumerQueue("c"))
	require.Equal(t, amqp.Persistent, d.DeliveryMode)
	require.False(t, d.Timestamp.IsZero())
	got, tx, group, err := wire.DecodeMessage(&d)
	require.NoError(t, err)
	require.Equal(t, m, got)
	require.Equal(t, "tx1 g", tx+" "+group)
}

func TestInvalidIsRefusedAtOnce(t *testing.T) {
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), func(o *Options) { o.MaxBody = 10 })
	ctx := testContext(t)
	require.ErrorIs(t, b.PublishHalf(ctx, holdfast.Half{TxID: "t", Group: "g"}), holdfast.ErrInvalid)
	require.ErrorIs(t, b.PublishHalf(ctx, holdfast.Half{TxID: "", Group: "g", Messages: messages("t", "x", 1)}), holdfast.ErrInvalid)
	require.ErrorIs(t, b.PublishHalf(ctx, holdfast.Half{TxID: "t", Group: "g g", Messages: messages("t", "x", 1)}), holdfast.ErrInvalid)
	require.ErrorIs(t, b.PublishHalf(ctx, half("a-long-transaction", "g")), holdfast.ErrTooLarge)
	require.ErrorIs(t, b.PublishMessages(ctx, "g", "t", []holdfast.Message{{Topic: "x"}}), holdfast.ErrInvalid)
}

// A half queue and an exchange that vanish are made again by the next publish.
func TestMissingQueuesAreMadeAgain(t *testing.T) {
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	ctx := testContext(t)
	require.NoError(t, b.DeclareGroup(ctx, "g"))
	require.NoError(t, b.DeclareConsumer(ctx, "c", []string{"order.placed"}))
	remove := func() {
		rawChannel(t, b, func(ch *amqp.Channel) {
			_, err := ch.QueueDelete(b.HalfQueue("g"), false, false, false)
			require.NoError(t, err)
			require.NoError(t, ch.ExchangeDelete(b.TopicsExchange(), false, false))
		})
	}
	remove()
	require.NoError(t, b.PublishHalf(ctx, half("a", "g")))
	require.Equal(t, 1, ready(t, b, b.HalfQueue("g")))
	remove()
	require.NoError(t, b.PublishMessages(ctx, "g", "a", messages("a", "order.placed", 1)))
	require.Equal(t, 1, ready(t, b, b.ConsumerQueue("c")))
}

// RabbitMQ is killed under load: what was confirmed is there afterwards, and
// every publish that had time succeeds in the end.
func TestNothingConfirmedIsLost(t *testing.T) {
	t.Parallel()
	s := stacktest.PrivateRabbitMQ(t)
	b := open(t, s.AMQPURL(), "load", nil)
	ctx := testContext(t)
	require.NoError(t, b.DeclareGroup(ctx, "g"))
	require.NoError(t, b.DeclareConsumer(ctx, "c", []string{"order.placed"}))
	settleQueues(t, s.RabbitMQ)
	var confirmed tally
	var wg sync.WaitGroup
	end := make(chan struct{})
	for range 32 {
		wg.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				tx := newTx()
				if err := b.PublishMessages(ctx, "g", tx, messages(tx, "order.placed", 1)); err != nil {
					t.Errorf("publish %s: %v", tx, err)
					return
				}
				confirmed.add(tx)
			}
		})
	}
	for range 2 {
		before := confirmed.distinct()
		eventually(t, "load", func() bool { return confirmed.distinct() > before+300 })
		require.NoError(t, s.RabbitMQ.Kill())
		require.NoError(t, s.RabbitMQ.Start(ctx))
	}
	before := confirmed.distinct()
	eventually(t, "load after the restart", func() bool { return confirmed.distinct() > before+300 })
	close(end)
	wg.Wait()
	var got tally
	background(t, func(ctx context.Context) error {
		return b.Consume(ctx, Subscription{Name: "c", Topics: []string{"order.placed"}, Handle: func(_ context.Context, d Delivery) error {
			got.add(d.Message.ID)
			return nil
		}})
	})
	eventually(t, "every confirmed message", func() bool { return got.distinct() >= confirmed.distinct() })
	for tx := range confirmed.ids {
		require.NotZero(t, got.of(tx), "%s was confirmed and is lost", tx)
	}
}

// With RabbitMQ down, a publish ends at its deadline and says why; later ones
// succeed unaided.
func TestDeadlineWhileDown(t *testing.T) {
	t.Parallel()
	s := stacktest.PrivateRabbitMQ(t)
	b := open(t, s.AMQPURL(), "down", func(o *Options) { o.PublishTimeout = 50 * time.Millisecond })
	ctx := testContext(t)
	require.NoError(t, b.DeclareGroup(ctx, "g"))
	settleQueues(t, s.RabbitMQ)
	require.NoError(t, s.RabbitMQ.Kill())
	eventually(t, "the loss is noticed", func() bool {
		err := b.PublishHalf(context.Background(), half("a", "g")) // no deadline of its own
		require.ErrorIs(t, err, context.DeadlineExceeded)
		return errors.Is(err, link.ErrNotSent) && strings.Contains(err.Error(), "disconnected from RabbitMQ")
	})
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, b.PublishHalf(cancelled, half("a", "g")), context.Canceled)
	b.Settle("g", "a", holdfast.Commit)
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, b.Flush(short), context.DeadlineExceeded)

	require.NoError(t, s.RabbitMQ.Start(ctx))
	require.NoError(t, b.PublishHalf(ctx, half("b", "g")))
	require.NoError(t, b.Flush(ctx))
}

// While an alarm holds, publishers wait, and are told why at their deadline;
// consumers go on.
func TestBlockedByAlarm(t *testing.T) {
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	ctx := testContext(t)
	require.NoError(t, b.DeclareGroup(ctx, "g"))
	require.NoError(t, b.DeclareConsumer(ctx, "c", []string{"order.placed"}))
	require.NoError(t, b.PublishMessages(ctx, "g", "a", messages("a", "order.placed", 1)))

	b.c.Publishing.SetBlocked(amqp.Blocking{Active: true, Reason: "low on memory"})
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	err := b.PublishHalf(short, half("b", "g"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, link.ErrNotSent)
	require.ErrorContains(t, err, "blocks publishers because of a memory or disk alarm (low on memory)")
	require.ErrorContains(t, err, "vm_memory_high_watermark")

	got := make(chan Delivery, 10)
	background(t, func(ctx context.Context) error {
		return b.Consume(ctx, Subscription{Name: "c", Topics: []string{"order.placed"}, Handle: func(_ context.Context, d Delivery) error {
			got <- d
			return nil
		}})
	})
	require.Equal(t, "a", next(t, got).Message.ID)

	done := make(chan error, 1)
	go func() { done <- b.PublishHalf(ctx, half("c", "g")) }()
	b.c.Publishing.SetBlocked(amqp.Blocking{Active: false})
	require.NoError(t, next(t, done))
	// What was given up while blocked is not written afterwards.
	require.Equal(t, 1, ready(t, b, b.HalfQueue("g")))
}

// A real alarm, as RabbitMQ raises it.
func TestRealAlarm(t *testing.T) {
	t.Parallel()
	s := stacktest.PrivateRabbitMQ(t)
	b := open(t, s.AMQPURL(), "alarm", nil)
	ctx := testContext(t)
	require.NoError(t, b.DeclareGroup(ctx, "g"))
	stacktest.RabbitMQ(t, s, "rabbitmqctl", "set_vm_memory_high_watermark", "0.000001")
	eventually(t, "a publish that ends blocked", func() bool {
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		err := b.PublishHalf(short, half(newTx(), "g"))
		return err != nil && b.c.Publishing.IsBlocked()
	})
	info, err := b.Inspect(ctx)
	require.NoError(t, err, "inspecting goes on")
	require.Contains(t, info.Blocked, "memory")
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	err = b.PublishHalf(short, half("last", "g"))
	require.ErrorIs(t, err, link.ErrNotSent)
	require.ErrorContains(t, err, "blocks publishers")
	stacktest.RabbitMQ(t, s, "rabbitmqctl", "set_vm_memory_high_watermark", "0.6")
	require.NoError(t, b.PublishHalf(ctx, half("after", "g")))
}

// A confirm that never comes is "may or may not have been stored", and what
// comes behind it is confirmed all the same.
func TestConfirmLostAtTheDeadline(t *testing.T) {
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	ctx := testContext(t)
	require.NoError(t, b.DeclareGroup(ctx, "g"))
	short, cancel := context.WithCancel(ctx)
	fault.Set(func(name string) {
		if name == fault.HalfBeforeConfirm {
			cancel()
			cutConnections(b)
		}
	})
	defer fault.Set(nil)
	err := b.PublishHalf(short, half("a", "g"))
	fault.Set(nil)
	if err != nil { // the confirm may have been faster than the cut
		require.ErrorIs(t, err, link.ErrConfirmUnknown)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "may or may not have been stored")
	}
	require.NoError(t, b.PublishHalf(ctx, half("b", "g")))
}

// Connections are cut again and again: the same message is published again, and
// nothing is lost.
func TestConnectionsCutUnderLoad(t *testing.T) {
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	ctx := testContext(t)
	require.NoError(t, b.DeclareGroup(ctx, "g"))
	var wg sync.WaitGroup
	var cuts int
	var mu sync.Mutex
	fault.Set(func(name string) {
		mu.Lock()
		defer mu.Unlock()
		if cuts++; name == fault.HalfBeforeConfirm && cuts%100 == 0 && cuts <= 300 {
			cutConnections(b)
		}
	})
	defer fault.Set(nil)
	var txs tally
	for range 16 {
		wg.Go(func() {
			for range 30 {
				tx := newTx()
				if err := b.PublishHalf(ctx, half(tx, "g")); err != nil {
					t.Errorf("%s: %v", tx, err)
				}
				txs.add(tx)
			}
		})
	}
	wg.Wait()
	var got tally
	for _, d := range takeAll(t, b, b.HalfQueue("g"), ready(t, b, b.HalfQueue("g"))) {
		got.add(d.MessageId)
	}
	require.Equal(t, txs.distinct(), got.distinct())
}

func TestTooLargeForRabbitMQ(t *testing.T) {
	e := &amqp.Error{Code: amqp.PreconditionFailed, Reason: "PRECONDITION_FAILED - message size 200 is larger than configured max size 100"}
	require.ErrorIs(t, link.TooLarge(e, &link.Publication{Msg: amqp.Publishing{Body: make([]byte, 200)}}), holdfast.ErrTooLarge)
	require.NoError(t, link.TooLarge(e, &link.Publication{Msg: amqp.Publishing{Body: make([]byte, 50)}}), "a neighbour on the channel is published again")
}

func TestSettleAndFlush(t *testing.T) {
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), func(o *Options) { o.OpBatch = 10; o.OpInterval = time.Hour })
	ctx := testContext(t)
	require.NoError(t, b.DeclareGroup(ctx, "g"))
	require.NoError(t, b.DeclareGroup(ctx, "h"))
	require.NoError(t, b.Flush(ctx))
	for range 7 { // with the next two less than what is written at once
		b.Settle("g", newTx(), holdfast.Commit)
	}
	b.Settle("g", "r", holdfast.Rollback)
	b.Settle("h", "x", holdfast.Commit)
	b.Settle("h", "y", holdfast.Unknown)
	b.Settle("h", "not an ID", holdfast.Commit)
	require.NoError(t, b.Flush(ctx))
	// count takes op records until they name want transactions.
	count := func(group string, want int) (records int) {
		rawChannel(t, b, func(ch *amqp.Channel) {
			ds, err := ch.Consume(b.HalfQueue(group), "", true, false, false, false, nil)
			require.NoError(t, err)
			for txs := 0; txs < want; records++ {
				d := next(t, ds)
				ids, err := wire.DecodeOp(d.Headers, d.Body, group)
				require.NoError(t, err)
				require.LessOrEqual(t, len(ids), 10)
				txs += len(ids)
				require.LessOrEqual(t, txs, want)
			}
		})
		return records
	}
	require.Equal(t, 1, count("h", 1))
	require.Equal(t, 1, count("g", 8))
	for range 25 {
		b.Settle("g", newTx(), holdfast.Commit)
	}
	require.NoError(t, b.Flush(ctx))
	require.GreaterOrEqual(t, count("g", 25), 3)
}

// Close writes what was settled.
func TestCloseFlushes(t *testing.T) {
	prefix := stacktest.Prefix(t)
	url := stacktest.Shared(t).AMQPURL()
	b := open(t, url, prefix, func(o *Options) { o.OpInterval = time.Hour })
	ctx := testContext(t)
	require.NoError(t, b.DeclareGroup(ctx, "g"))
	b.Settle("g", "a", holdfast.Commit)
	require.NoError(t, b.Close(ctx))
	require.NoError(t, b.Close(ctx), "a second time")
	err := b.PublishHalf(ctx, half("b", "g"))
	require.ErrorIs(t, err, link.ErrNotSent)
	b.Settle("g", "b", holdfast.Commit)
	require.Error(t, b.DeclareGroup(ctx, "g"))

	b = open(t, url, prefix, nil)
	d := take(t, b, b.HalfQueue("g"))
	txs, err := wire.DecodeOp(d.Headers, d.Body, "g")
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, txs)
}
