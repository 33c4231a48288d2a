package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/doctor"
	"github.com/holdfastmq/holdfast/internal/operator/waits"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
)

// What waits on a ladder is listed by consumer, and tried at once where somebody asks for
// it; so is an open breaker. Other consumers' messages stay where they are.
func TestRetryNowOnLadderAndBreaker(t *testing.T) {
	t.Parallel()
	g := newTown(t)
	var works atomic.Bool
	heard := map[string]*atomic.Int32{"billing": {}, "audit": {}, "mail": {}}
	g.neighbour(worker.Options{}, func(w *worker.Worker) {
		consume := func(name, topic string, breaker holdfast.BreakerOptions) {
			w.Consume(worker.Consumer{Name: name, Topics: []string{topic}, Tries: 1,
				Ladder: []time.Duration{47 * time.Minute}, Breaker: breaker,
				HandleAtLeastOnce: func(context.Context, holdfast.Message) error {
					if !works.Load() {
						return errors.New("the ledger is wrong")
					}
					heard[name].Add(1)
					return nil
				}})
		}
		consume("billing", "order.placed", holdfast.BreakerOptions{})
		consume("audit", "order.placed", holdfast.BreakerOptions{})
		consume("mail", "mail.due", holdfast.BreakerOptions{Failures: 1, Pause: time.Hour})
	})
	conn, err := amqp.Dial(stacktest.Shared(t).AMQPURL())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	require.NoError(t, err)
	require.NoError(t, ch.Confirm(false))
	for _, topic := range []string{"order.placed", "mail.due"} {
		m := amqp.Publishing{MessageId: "m-" + topic}
		sent, err := ch.PublishWithDeferredConfirm(g.prefix()+".topics", topic, false, false, m)
		require.NoError(t, err)
		require.True(t, sent.Wait())
	}

	var listed map[string]*waits.Wait
	list := func() map[string]*waits.Wait {
		var all struct{ Waiting []*waits.Wait }
		g.decode(&all, "waiting")
		listed = map[string]*waits.Wait{}
		for _, w := range all.Waiting {
			listed[w.For] = w
		}
		return listed
	}
	said := func() string { return fmt.Sprint(listed) }
	has := func(what string) bool { return list()[what] != nil && listed[what].Count == 1 }
	g.eventually(func() bool {
		return has("the retry ladder of billing") && listed["the retry ladder of audit"] != nil &&
			listed["the breaker of mail"] != nil
	}, said)
	billing := listed["the retry ladder of billing"]
	require.Equal(t, []string{"m-order.placed"}, billing.Examples)
	require.Equal(t, "1 in 47m", billing.Detail)
	require.NotZero(t, billing.Since)
	require.Equal(t, 47*time.Minute, billing.Next.Sub(billing.Since))
	by := g.find(func(by map[string]doctor.Finding) bool { return by["RabbitMQ retries billing"].Detail != "" },
		"--skip", "temporal,waiting")
	require.Contains(t, by["RabbitMQ retries billing"].Detail, "1 message on its retry ladder; the oldest has failed for ")

	var r result // a process that is slow to answer does not name its delays
	g.eventually(func() bool {
		r = g.holdfast("retry-now", "--dry-run", "--for", "ladder of billing")
		return regexp.MustCompile(`(?m)^1 +the retry ladder of billing$`).MatchString(r.out)
	}, func() string { return r.out + r.err })
	require.NotContains(t, r.out, "audit")
	r = g.holdfast("retry-now", "--dry-run", "--group", g.group)
	require.NotContains(t, r.out, "ladder", "it is of no group")
	require.Equal(t, frame.ExitUsage, g.holdfast("retry-now").status, "it is signed")
	require.Zero(t, heard["billing"].Load())

	works.Store(true)
	now := func(what, consumer string) {
		g.eventually(func() bool {
			r = g.holdfast("retry-now", "--for", what, "--reason", "the ledger is right")
			return r.err == "" && heard[consumer].Load() > 0
		}, func() string { return r.out + r.err })
	}
	now("ladder of billing", "billing")
	g.eventually(func() bool { return has("the retry ladder of audit") }, said)
	require.Nil(t, listed["the retry ladder of billing"])
	require.Zero(t, heard["audit"].Load())
	now("breaker of mail", "mail")
	require.Zero(t, heard["audit"].Load())
}
