package cli

import (
	"cmp"
	"context"
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
		return len(stats) == 2 && failing(stats[0]) && failing(stats[1])
	}, func() string { return fmt.Sprint(stats) })
	for i, k := range stats {
		require.Equal(t, "p1", k.Keeper)
		require.Equal(t, i+1, k.Queue)
		require.Equal(t, len(byQueue[k.Name]), k.Undecided)
		require.InDelta(t, 1, k.CheckAfter, 0)
		require.Equal(t, 1, k.Readers)
	}
	r = sh.holdfast("half", "stats", "g")
	require.Contains(t, r.out, fmt.Sprintf("%d half messages wait: Temporal cannot be reached", stats[1].Undecided))

	var halves []half.HeldHalf
	sh.decode(&halves, "half", "peek", "g")
	require.Len(t, halves, 12)
	require.Equal(t, holdfast.Express, halves[0].Lane)
	require.True(t, slices.IsSortedFunc(halves, func(x, y half.HeldHalf) int { return cmp.Compare(y.Age, x.Age) }))
	r = sh.holdfast("half", "peek", "g", "-n", "5")
	require.Equal(t, 6, strings.Count(r.out, "\n"))
	require.NotContains(t, r.out, "secret")

	examined := func(args ...string) map[string]doctor.Finding {
		_, by := sh.diagnose(sh.env, append([]string{"--skip", "postgresql,temporal"}, args...)...)
		return by
	}
	for _, by := range []map[string]doctor.Finding{examined(), examined("--group", "g")} {
		for _, check := range []string{"RabbitMQ keeper g", "RabbitMQ keeper g#2"} {
			require.Equal(t, text.LevelProblem, by[check].Level, check)
			require.Contains(t, by[check].Detail, "hand-overs fail since")
		}
	}
	require.Equal(t, text.LevelOK, examined("--group", "g")["RabbitMQ group g#2"].Level)

	away.Store(false)
	sh.eventually(func() bool {
		stats = nil
		sh.decode(&stats, "half", "stats", "g")
		return stats[0].Undecided+stats[1].Undecided == 0 && !failing(stats[0]) && !failing(stats[1])
	}, func() string { return fmt.Sprint(stats) })
	require.Positive(t, stats[0].HandedOver)
	r = sh.holdfast("half", "peek", "g")
	require.Contains(t, r.out, "No undecided half message is held.")
	require.Equal(t, text.LevelOK, examined("--group", "g")["RabbitMQ keeper g#2"].Level)

	halt()
	var by map[string]doctor.Finding
	sh.eventually(func() bool {
		by = examined("--group", "g")
		return by["RabbitMQ group g#2"].Level == text.LevelProblem
	}, func() string { return fmt.Sprint(by) })
	require.Contains(t, by["RabbitMQ group g#2"].Detail, "no Keeper reads "+prefix+".half.g#2")
}
