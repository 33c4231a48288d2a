package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/cli/half"
	"github.com/holdfastmq/holdfast/internal/operator/doctor"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// TestHalfQueuesOnARealRabbitMQ: what stats, peek and doctor say of a group with
// two half queues, while hand-overs fail, and when nobody keeps one.
func TestHalfQueuesOnARealRabbitMQ(t *testing.T) {
	s := stacktest.Shared(t)
	prefix := stacktest.Prefix(t)
	b, err := broker.Open(t.Context(), broker.Options{URL: s.AMQPURL(), Prefix: prefix, Name: "p1", HalfQueues: 2})
	require.NoError(t, err)
	queues := append(b.HalfQueues("g"), b.DeadQueue(), b.DeadQueue()+".oversized")
	t.Cleanup(func() { stacktest.DeleteQueues(t, s.AMQPURL(), queues...) })
	t.Cleanup(func() { require.NoError(t, b.Close(context.Background())) })
	require.NoError(t, b.DeclareGroup(t.Context(), "g"))
	sh := &shop{t: t, env: []string{"HOLDFAST_PREFIX=" + prefix, "AMQP_URL=" + s.AMQPURL()}}

	r := sh.holdfast("half", "stats")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	require.Contains(t, r.out, "No Keeper answers.")
	r = sh.holdfast("half", "stats", "g", "none")
	require.Contains(t, r.out, "g#2: nobody keeps it")
	require.Contains(t, r.out, "there is no half queue "+prefix+".half.none")
	r = sh.holdfast("half", "peek", "g")
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, "no Keeper of group g answers")

	var away atomic.Bool
	away.Store(true)
	ctx, stop := context.WithCancel(context.Background())
	kept := make(chan error, 1)
	go func() {
		kept <- b.KeepGroup(ctx, broker.KeeperOptions{Group: "g", CheckAfter: time.Second, HandOver: func(_ context.Context, halves []holdfast.Half) []error {
			errs := make([]error, len(halves))
			for i := range errs {
				if away.Load() {
					errs[i] = errors.New("Temporal cannot be reached")
				}
			}
			return errs
		}})
	}()
	halt := func() {
		stop()
		require.NoError(t, <-kept)
	}
	defer func() { stop() }()
	byQueue := map[string][]string{}
	for i := range 12 {
		tx := fmt.Sprintf("tx-%d", i)
		byQueue[b.HalfQueueOf("g", tx)] = append(byQueue[b.HalfQueueOf("g", tx)], tx)
		require.NoError(t, b.PublishHalf(t.Context(), holdfast.Half{TxID: tx, Group: "g", Lane: holdfast.Express, At: time.Now(),
			Messages: []holdfast.Message{{ID: tx, Topic: "order.placed", Key: "A-1", Body: []byte("secret")}}}))
	}
	require.Len(t, byQueue, 2)

	var stats []processes.KeptQueue
	failing := func(k processes.KeptQueue) bool { return !k.FailingSince.IsZero() }
	sh.eventually(func() bool {
		sh.decode(&stats, "half", "stats")
		return len(stats) == 2 && failing(stats[0]) && failing(stats[1]) && stats[0].Undecided+stats[1].Undecided == 12
	}, func() string { return fmt.Sprint(stats) })
	for i, k := range stats {
		require.Equal(t, "p1", k.Keeper)
		require.Equal(t, i+1, k.Queue)
		require.Equal(t, len(byQueue[k.Name]), k.Undecided)
		require.InDelta(t, 1, k.CheckAfter, 0)
		require.Equal(t, 1, k.Readers)
	}
	sh.answered(prints(fmt.Sprintf("%d half messages wait: Temporal cannot be reached", stats[1].Undecided)), "half", "stats", "g")

	held := func(r result) bool { return r.status == frame.ExitOK }
	var halves []half.HeldHalf
	r = sh.answered(held, "half", "peek", "g", "--json")
	require.NoError(t, json.Unmarshal([]byte(r.out), &halves), r.out)
	require.Len(t, halves, 12)
	require.Equal(t, holdfast.Express, halves[0].Lane)
	require.True(t, slices.IsSortedFunc(halves, func(x, y half.HeldHalf) int { return cmp.Compare(y.Age, x.Age) }))
	r = sh.answered(held, "half", "peek", "g", "-n", "5")
	require.Equal(t, 6, strings.Count(r.out, "\n"))
	require.NotContains(t, r.out, "secret")

	examined := func(args ...string) map[string]doctor.Finding {
		_, by := sh.diagnose(sh.env, append([]string{"--skip", "postgresql,temporal"}, args...)...)
		return by
	}
	var by map[string]doctor.Finding
	found := func(ready func() bool, args ...string) {
		t.Helper()
		sh.eventually(func() bool {
			by = examined(args...)
			return ready()
		}, func() string { return fmt.Sprint(by) })
	}
	for _, args := range [][]string{nil, {"--group", "g"}} {
		fails := func(check string) bool {
			return by[check].Level == text.LevelProblem && strings.Contains(by[check].Detail, "hand-overs fail since")
		}
		found(func() bool { return fails("RabbitMQ keeper g") && fails("RabbitMQ keeper g#2") }, args...)
	}
	found(func() bool { return by["RabbitMQ group g#2"].Level == text.LevelOK }, "--group", "g")

	away.Store(false)
	sh.eventually(func() bool {
		stats = nil
		sh.decode(&stats, "half", "stats", "g")
		return len(stats) == 2 && stats[0].Undecided+stats[1].Undecided == 0 && !failing(stats[0]) && !failing(stats[1]) &&
			stats[0].HandedOver > 0
	}, func() string { return fmt.Sprint(stats) })
	sh.answered(prints("No undecided half message is held."), "half", "peek", "g")
	found(func() bool { return by["RabbitMQ keeper g#2"].Level == text.LevelOK }, "--group", "g")

	halt()
	found(func() bool { return by["RabbitMQ group g#2"].Level == text.LevelProblem }, "--group", "g")
	require.Contains(t, by["RabbitMQ group g#2"].Detail, "no Keeper reads "+prefix+".half.g#2")
}
