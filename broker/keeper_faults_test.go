package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// keeperEnv makes this test binary a Keeper instead.
const keeperEnv = "HOLDFAST_TEST_KEEPER"

type keeperConfig struct {
	URL, Prefix string
	CheckAfter  time.Duration
	HeldBytes   int
	Refuses     bool // every hand-over fails
}

// childKeeper keeps until its parent kills it, or ends.
func childKeeper(config string) int {
	var c keeperConfig
	if json.Unmarshal([]byte(config), &c) != nil {
		return 2
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(5)
	}()
	b, err := Open(context.Background(), Options{URL: c.URL, Prefix: c.Prefix, Name: "child"})
	if err != nil {
		return 3
	}
	if b.Keep(context.Background(), KeeperOptions{Group: "g", CheckAfter: c.CheckAfter, HeldBytes: c.HeldBytes, HandOver: func(_ context.Context, halves []holdfast.Half) []error {
		errs := make([]error, len(halves))
		for i := range errs {
			if c.Refuses {
				errs[i] = errors.New("Temporal is away")
			}
		}
		return errs
	}}) != nil {
		return 4
	}
	return 0
}

// startKeeper starts a Keeper in a process of its own and returns how to ask and
// how to kill it.
func startKeeper(t *testing.T, b *Broker, c keeperConfig) (status func() wire.KeeperStatus, child *exec.Cmd) {
	t.Helper()
	c.URL, c.Prefix = b.o.URL, b.o.Prefix
	config, err := json.Marshal(c)
	require.NoError(t, err)
	child = exec.Command(os.Args[0])
	child.Env = append(os.Environ(), keeperEnv+"="+string(config))
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = child.Wait()
	})
	wait := 200 * time.Millisecond
	return func() wire.KeeperStatus {
		asked := time.Now()
		all, err := b.Ask(testContext(t), wait)
		if err != nil {
			return wire.KeeperStatus{}
		}
		for _, p := range all {
			if p.Instance == "child" && len(p.Keepers) == 1 {
				return p.Keepers[0]
			}
		}
		if time.Since(asked) >= wait {
			wait = min(2*wait, 10*time.Second) // a slow machine answers later
		}
		return wire.KeeperStatus{}
	}, child
}

// peakMemory is the most memory that a process has had resident, in bytes.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip("no /proc here")
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	require.NoError(t, err)
	return kib << 10
}

// publishMany stores n half messages, pipelined, with the IDs that tx makes.
func publishMany(t *testing.T, b *Broker, n, size int, tx func(i int) string) {
	t.Helper()
	body := bytes.Repeat([]byte("x"), size)
	errs := make(chan error, 64)
	var next atomic.Int64
	for range cap(errs) {
		go func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					errs <- nil
					return
				}
				h := half(tx(i), "g")
				h.Messages[0].Body = body
				if err := b.PublishHalf(testContext(t), h); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
}

func numbered(i int) string { return "tx-" + strconv.Itoa(i) }

// A Keeper is killed with 1,500 halves held: another one decides each.
func TestKeeperKilledWithHalvesHeld(t *testing.T) {
	b, _ := halfQueue(t)
	status, child := startKeeper(t, b, keeperConfig{CheckAfter: time.Hour})
	const n = 1500
	publishMany(t, b, n, 10, numbered)
	eventually(t, "held", func() bool { return status().Undecided == n })
	k := keep(t, b, soon)
	eventually(t, "in second place", func() bool { return k.now().Subscribed })
	require.Zero(t, k.now().Held)
	require.NoError(t, child.Process.Kill())
	eventually(t, "taken over", func() bool { return k.now().HandedOver == n && k.now().Held == 0 })
	require.Equal(t, n, k.taken.distinct())
	require.Equal(t, n, k.taken.sum(), "each once")
	nothingHeld(t, b, k)
}

// records is how many records a test with many queues.
func records(t *testing.T, n int) int {
	t.Helper()
	if text := os.Getenv("HOLDFAST_RECORDS"); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	return n
}

// However many halves are undecided, a Keeper's memory is bounded.
func TestKeeperMemoryOfManyHalves(t *testing.T) {
	b, _ := halfQueue(t)
	n := records(t, 20_000)
	publishMany(t, b, n, 200, numbered)
	status, child := startKeeper(t, b, keeperConfig{CheckAfter: time.Hour})
	eventually(t, "handed over early, up to a window", func() bool { s := status(); return s.HandedOver > uint64(n-2000) && s.HandingOver == 0 })
	peak := peakMemory(t, child.Process.Pid)
	t.Logf("%d halves: at most %d MiB", n, peak>>20)
	require.Less(t, peak, 300<<20)
	require.NoError(t, child.Process.Kill())
}

// Nor do large halves that cannot be handed over fill the memory: most stay with
// RabbitMQ, and come again when they can be.
func TestKeeperMemoryOfLargeHalves(t *testing.T) {
	b, _ := halfQueue(t)
	const n, size, held = 240, 1 << 20, 16 << 20
	publishMany(t, b, n, size, numbered)
	status, child := startKeeper(t, b, keeperConfig{CheckAfter: 10 * time.Millisecond, HeldBytes: held, Refuses: true})
	grows(t, "undecided", n, func() int { return status().Undecided })
	eventually(t, "all held, and refused", func() bool {
		s := status()
		return s.Undecided == n && s.Failed > 20 && s.LastError == "Temporal is away" && !s.FailingSince.IsZero()
	})
	peak := peakMemory(t, child.Process.Pid)
	t.Logf("%d halves of 1 MiB: at most %d MiB", n, peak>>20)
	require.Less(t, peak, 240<<20) // less than the records alone, also with the race detector
	require.NoError(t, child.Process.Kill())

	var most atomic.Int64
	k := keep(t, b, func(o *KeeperOptions) {
		soon(o)
		o.HeldBytes = held
		stats := o.Stats
		o.Stats = func(s KeeperStats) {
			most.Store(max(most.Load(), int64(s.HeldBytes)))
			stats(s)
		}
		take := o.HandOver
		o.HandOver = func(ctx context.Context, halves []holdfast.Half) []error {
			for _, h := range halves {
				if len(h.Messages[0].Body) != size {
					return nil
				}
			}
			return take(ctx, halves)
		}
	})
	grows(t, "taken over", n, func() int { return int(k.now().HandedOver) })
	eventually(t, "none held", func() bool { return k.now().Held == 0 })
	require.Equal(t, n, k.taken.distinct())
	require.LessOrEqual(t, most.Load(), int64(held))
	nothingHeld(t, b, k)
}

// A good half record behind a malformed one of the same transaction is not lost with
// it.
func TestMalformedBeforeGood(t *testing.T) {
	b, ctx := halfQueue(t)
	bad, err := wire.EncodeHalf(half("a", "g"))
	require.NoError(t, err)
	bad.Body = []byte("?")
	rawChannel(t, b, func(ch *amqp.Channel) { require.NoError(t, ch.Publish("", b.HalfQueue("g"), false, false, bad)) })
	require.NoError(t, b.PublishHalf(ctx, half("a", "g")))
	k := keep(t, b, func(o *KeeperOptions) { o.CheckAfter = time.Second })
	eventually(t, "the good one is handed over", func() bool { return k.taken.distinct() == 1 && k.now().Malformed == 1 && k.now().Held == 0 })
	nothingHeld(t, b, k)
}

// A record's body is read when it is handed over; what is wrong with it is found
// then, and with its op record it matters to nobody.
func TestMalformedBodies(t *testing.T) {
	b, ctx := halfQueue(t)
	bad, err := wire.EncodeHalf(half("bad", "g"))
	require.NoError(t, err)
	bad.Body = []byte("?")
	settled := bad
	settled.Headers = amqp.Table{wire.HeaderKind: wire.KindHalf, wire.HeaderVersion: wire.Version, wire.HeaderTx: "settled", wire.HeaderGroup: "g"}
	oversized := settled
	oversized.Body = make([]byte, wire.MaxHalfRecord(b.o.MaxBody)+1)
	nameless := amqp.Publishing{Headers: amqp.Table{wire.HeaderKind: wire.KindHalf, wire.HeaderVersion: wire.Version, wire.HeaderGroup: "g"}, Body: bad.Body}
	rawChannel(t, b, func(ch *amqp.Channel) {
		for _, p := range []amqp.Publishing{bad, oversized, nameless, settled} {
			require.NoError(t, ch.Publish("", b.HalfQueue("g"), false, false, p))
		}
	})
	b.Settle("g", "settled", holdfast.Rollback)
	require.NoError(t, b.Flush(ctx))
	require.NoError(t, b.PublishHalf(ctx, half("good", "g")))
	k := keep(t, b, soonAfterOps)
	eventually(t, "all", func() bool {
		s := k.now()
		return s.HandedOver == 1 && s.Malformed == 3 && s.Matched == 1 && s.Held == 0
	})
	require.Equal(t, 1, k.taken.of("good"))
	for _, d := range takeAll(t, b, b.DeadQueue(), 3) {
		require.EqualValues(t, holdfast.ClassMalformed, d.Headers[wire.HeaderErrorClass])
		require.NotEqual(t, "settled", d.MessageId)
	}
	nothingHeld(t, b, k)
}

// A clock that is an hour wrong, and a lane that nobody knows, change nothing.
func TestKeeperHeedsNoForeignClock(t *testing.T) {
	b, ctx := halfQueue(t)
	got := make(chan holdfast.Half, 10)
	ahead, behind := half("ahead", "g"), half("behind", "g")
	ahead.At, behind.At = time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	p, err := wire.EncodeHalf(half("lane", "g"))
	require.NoError(t, err)
	p.Headers[wire.HeaderLane] = "scenic"
	p.Timestamp = time.Now().Add(-time.Hour)
	rawChannel(t, b, func(ch *amqp.Channel) {
		require.NoError(t, ch.Publish("", b.HalfQueue("g"), false, false, p))
	})
	require.NoError(t, b.PublishHalf(ctx, ahead))
	require.NoError(t, b.PublishHalf(ctx, behind))
	late := keep(t, b, later)
	eventually(t, "held, none by its own clock", func() bool { return late.now().Held == 3 })
	require.Zero(t, late.now().HandingOver+int(late.now().HandedOver))
	late.stop()
	k := keep(t, b, func(o *KeeperOptions) {
		soon(o)
		o.HandOver = func(_ context.Context, halves []holdfast.Half) []error {
			for _, h := range halves {
				got <- h
			}
			return make([]error, len(halves))
		}
	})
	lanes := map[string]holdfast.Lane{}
	for range 3 {
		h := next(t, got)
		lanes[h.TxID] = h.Lane
	}
	require.Equal(t, map[string]holdfast.Lane{"ahead": holdfast.Traced, "behind": holdfast.Traced, "lane": holdfast.Traced}, lanes)
	nothingHeld(t, b, k)
}

// A half queue is deleted again and again while many send: senders go on, and
// nothing is stuck.
func TestHalfQueueDeletedUnderLoad(t *testing.T) {
	b, ctx := halfQueue(t)
	k := keep(t, b, func(o *KeeperOptions) { o.CheckAfter = time.Second })
	stop := make(chan struct{})
	errs := make(chan error, 8)
	var sent atomic.Int64
	for range cap(errs) {
		go func() {
			for {
				select {
				case <-stop:
					errs <- nil
					return
				default:
				}
				tx := fmt.Sprintf("load-%d", sent.Add(1))
				if err := b.PublishHalf(ctx, half(tx, "g")); err != nil {
					errs <- err
					return
				}
				b.Settle("g", tx, holdfast.Commit)
			}
		}()
	}
	for range 3 {
		seen := k.now()
		eventually(t, "work", func() bool { return k.now().Matched > seen.Matched+100 })
		rawChannel(t, b, func(ch *amqp.Channel) {
			_, err := ch.QueueDelete(b.HalfQueue("g"), false, false, false)
			require.NoError(t, err)
		})
		eventually(t, "subscribed anew", func() bool { return k.now().Subscriptions > seen.Subscriptions })
	}
	close(stop)
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
	require.NoError(t, b.PublishHalf(ctx, half("last", "g")))
	eventually(t, "the last one handed over, nothing held", func() bool { return k.taken.of("last") > 0 && k.now().Held == 0 })
	nothingHeld(t, b, k)
}

// RabbitMQ is restarted with many records queued: every half without an op record
// is handed over, and nothing stays.
func TestRabbitMQRestartedWithManyRecords(t *testing.T) {
	t.Parallel()
	s := stacktest.PrivateRabbitMQ(t)
	b := open(t, s.AMQPURL(), "many", nil)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	require.NoError(t, b.DeclareGroup(ctx, "g"))
	n := records(t, 50_000)
	undecided := 0
	const batch = 1000
	for from := 0; from < n; from += batch {
		publishMany(t, b, min(batch, n-from), 10, func(i int) string { return numbered(from + i) })
		for i := from; i < min(n, from+batch); i++ {
			if i%10 == 0 {
				undecided++
			} else {
				b.Settle("g", numbered(i), holdfast.Commit)
			}
		}
	}
	require.NoError(t, b.Flush(ctx))
	require.NoError(t, s.RabbitMQ.Restart(ctx))
	began := time.Now()
	k := keep(t, b, func(o *KeeperOptions) { o.CheckAfter = time.Second })
	require.Eventually(t, func() bool {
		s := k.now()
		return s.Matched+s.HandedOver >= uint64(n) && s.Held == 0
	}, 10*time.Minute, 50*time.Millisecond)
	t.Logf("%d halves, %d of them undecided, drained in %v", n, undecided, time.Since(began))
	for i := 0; i < n; i += 10 {
		require.NotZero(t, k.taken.of(numbered(i)), "half %d was lost", i)
	}
	nothingHeld(t, b, k)
}

// Peek tells what a Keeper holds, but no body.
func TestPeek(t *testing.T) {
	b, ctx := halfQueue(t)
	k := keep(t, b, later)
	h := half("first", "g")
	h.Lane = holdfast.Express
	h.Messages = append(messages("first", "order.placed", 7), holdfast.Message{ID: "first.8", Topic: "stock.reserve", Key: "o-8", Body: []byte("secret")})
	for i := range 7 {
		h.Messages[i].Key = numbered(i)
	}
	require.NoError(t, b.PublishHalf(ctx, h))
	for i := range 9 {
		require.NoError(t, b.PublishHalf(ctx, half(numbered(i), "g")))
	}
	eventually(t, "held", func() bool { return k.now().Held == 10 })
	peek := func(group string, ready func([]wire.PeekedHalf) bool) (oldest []wire.PeekedHalf) {
		wait := 300 * time.Millisecond
		eventually(t, "an answer", func() bool {
			all, err := b.Peek(ctx, group, 4, wait)
			wait = min(2*wait, 10*time.Second) // a slow machine answers later
			if err != nil || len(all) != 1 || len(all[0].Keepers) != 1 {
				return false
			}
			oldest = all[0].Keepers[0].Oldest
			return ready(oldest)
		})
		return oldest
	}
	oldest := peek("g", func(of []wire.PeekedHalf) bool { return len(of) > 0 })
	require.Len(t, oldest, 4)
	for i := range oldest {
		require.Positive(t, oldest[i].Age)
		require.Positive(t, oldest[i].Bytes)
		oldest[i].Age, oldest[i].Bytes = 0, 0
	}
	require.Equal(t, wire.PeekedHalf{Tx: "first", Lane: holdfast.Express, Messages: 8, Topics: []string{"order.placed", "stock.reserve"}}, oldest[0])
	require.Equal(t, wire.PeekedHalf{Tx: "tx-0", Lane: holdfast.Traced, Messages: 1, Topics: []string{"order.placed"}}, oldest[1])
	others := peek("other", func([]wire.PeekedHalf) bool { return true })
	require.Empty(t, others, "another group's are not asked for")
	_, err := b.Peek(ctx, "g", wire.MaxPeek+1, 0)
	require.ErrorIs(t, err, holdfast.ErrInvalid)

	many := make([]wire.PeekedHalf, wire.MaxPeek)
	for i := range many {
		many[i] = wire.PeekedHalf{Tx: strings.Repeat("t", 100), Topics: []string{strings.Repeat("x", 200)}}
	}
	body, err := wire.EncodeStatus(wire.ProcessStatus{V: 1, Keepers: slices.Repeat([]wire.KeeperStatus{{Group: "g", Oldest: many}}, 50)})
	require.NoError(t, err)
	require.Less(t, len(body), wire.MaxStatusAnswer)
}
