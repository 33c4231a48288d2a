package cli

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/consumers"
	"github.com/holdfastmq/holdfast/internal/operator/doctor"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/waits"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
)

// TestConsumersArePaused from the command line: doctor says so without a flag, so do waiting, the
// alerts and the list; the process is as ready as before; Temporal is not needed.
func TestConsumersArePaused(t *testing.T) {
	t.Parallel()
	g := newTown(t)
	g.env = append(g.env, "TEMPORAL_ADDRESS=127.0.0.1:1")
	var handled atomic.Int32
	alerts := make(chan holdfast.Alert, 100)
	n := g.neighbour(worker.Options{OnAlert: func(_ context.Context, a holdfast.Alert) { alerts <- a }}, func(w *worker.Worker) {
		w.Consume(worker.Consumer{Name: "mail", Topics: []string{"mail.due"},
			HandleAtLeastOnce: func(context.Context, holdfast.Message) error { handled.Add(1); return nil }})
	})
	r := g.holdfast("consumers", "pause", "mail")
	require.Equal(t, frame.ExitUsage, r.status, "it is signed")
	r = g.holdfast("consumers", "pause", "male", "--reason", "x")
	require.Contains(t, r.err, "male")
	require.Equal(t, frame.ExitError, r.status)
	r = g.holdfast("consumers", "resume", "mail", "--reason", "x")
	require.Contains(t, r.err, "nobody has paused consumer mail")

	var told consumers.Told
	g.decode(&told, "consumers", "pause", "mail", "--reason", "the server moves", "--for", "45m")
	require.False(t, told.Bad())
	require.Len(t, told.Processes, 1)
	g.publish("mail.due", "m-1")
	by := g.find(func(by map[string]doctor.Finding) bool { return by["RabbitMQ pause of mail"].Detail != "" },
		"--skip", "temporal")
	found := by["RabbitMQ pause of mail"]
	require.Equal(t, text.LevelWarning, found.Level)
	require.Contains(t, found.Detail, "paused by hand by ann (claimed): the server moves since ")
	require.Contains(t, found.Detail, ", until ")
	require.Contains(t, found.Remedy, "holdfast consumers resume mail")
	require.Empty(t, by["RabbitMQ breaker mail"].Detail, "it is not the breaker's")
	var all struct{ Waiting []*waits.Wait }
	g.eventually(func() bool {
		g.decode(&all, "waiting")
		return len(all.Waiting) == 1 && all.Waiting[0].For == "somebody who resumes mail"
	}, func() string { return "waiting" })
	require.Equal(t, "paused by hand by ann (claimed): the server moves", all.Waiting[0].Detail)
	a := <-alerts
	require.Equal(t, holdfast.AlertConsumerPaused, a.Kind)
	require.Equal(t, "mail", a.Consumer)
	require.True(t, n.w.Health(t.Context()).Ready, "a paused consumer is no reason to be taken out of service")
	var paused []broker.ConsumerPause
	g.decode(&paused, "consumers", "paused")
	require.Equal(t, told.Pause.ID, paused[0].ID)
	require.Regexp(t, `(?m)^mail .* ann \(claimed\) +the server moves$`, g.holdfast("consumers", "paused").out)
	require.Zero(t, handled.Load())

	r = g.holdfast("consumers", "resume", "mail", "--reason", "it has moved")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	require.True(t, strings.HasPrefix(r.out, "Consumer mail goes on.\n"), r.out)
	g.eventually(func() bool { return handled.Load() == 1 }, func() string { return "it goes on" })
	require.Contains(t, g.holdfast("consumers", "paused").out, "Nobody has paused a consumer.")
	require.Contains(t, g.holdfast("consumers", "paused", "--past").out, "ended ann (claimed) it has moved")
	require.Equal(t, holdfast.AlertConsumerResumed, (<-alerts).Kind)
}

// publish publishes a message past Holdfast.
func (g *town) publish(topic, id string) {
	g.t.Helper()
	conn, err := amqp.Dial(stacktest.Shared(g.t).AMQPURL())
	require.NoError(g.t, err)
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	require.NoError(g.t, err)
	require.NoError(g.t, ch.Confirm(false))
	sent, err := ch.PublishWithDeferredConfirm(g.prefix()+".topics", topic, false, false, amqp.Publishing{MessageId: id})
	require.NoError(g.t, err)
	require.True(g.t, sent.Wait())
}

// TestConsumersAreRemoved: not while a process has it, nor with messages that nobody has counted.
func TestConsumersAreRemoved(t *testing.T) {
	t.Parallel()
	g := newTown(t)
	stop := make(chan struct{})
	ended := make(chan error, 1)
	w, err := worker.New(worker.Options{AMQPURL: stacktest.Shared(t).AMQPURL(), Prefix: g.prefix()})
	require.NoError(t, err)
	w.Consume(worker.Consumer{Name: "mail", Topics: []string{"mail.due", "mail.old"},
		HandleAtLeastOnce: func(context.Context, holdfast.Message) error { return nil }})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { ended <- w.Run(ctx); close(stop) }()
	g.answered(complains("consumer mail runs in 1 process"), "consumers", "remove", "mail", "--reason", "gone")
	r := g.holdfast("consumers", "unbind", "mail", "mail.due", "--reason", "gone")
	require.Contains(t, r.err, "a process of consumer mail that runs listens to mail.due")
	cancel()
	<-stop
	require.NoError(t, <-ended)

	require.Equal(t, frame.ExitUsage, g.holdfast("consumers", "unbind", "mail", "mail.old").status, "it is signed")
	require.Equal(t, frame.ExitOK, g.holdfast("consumers", "unbind", "mail", "mail.old", "--reason", "billing does it").status)
	require.Contains(t, g.holdfast("consumers", "paused", "--past").out, "unbinding from mail.old: billing does it")
	require.Contains(t, g.holdfast("consumers", "paused").out, "Nobody has paused a consumer.")
	g.publish("mail.old", "m-1") // reaches nobody
	g.publish("mail.due", "m-2")
	r = g.answered(complains("1 message in the queues of mail, which would be lost"), "consumers", "remove", "mail", "--reason", "gone")
	require.Contains(t, r.err, "--purge 1")
	require.Equal(t, frame.ExitUsage, g.holdfast("consumers", "remove", "mail", "--purge", "1").status, "it is signed")
	require.Contains(t, g.holdfast("consumers", "remove", "mail", "--reason", "gone", "--purge", "2").err, "--purge 1")
	r = g.holdfast("consumers", "remove", "mail", "--reason", "gone", "--purge", "1")
	require.Equal(t, "Consumer mail is removed, with 1 message.\n", r.out, r.err)
	require.Contains(t, g.holdfast("consumers", "remove", "mail", "--reason", "gone").err, "mail")
	require.Contains(t, g.holdfast("consumers", "paused").out, "Nobody has paused a consumer.")
	require.Regexp(t, `being removed: gone`, g.holdfast("consumers", "paused", "--past").out)
}
