package stack

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	sdktemporal "go.temporal.io/sdk/temporal"

	"github.com/holdfastmq/holdfast/internal/stack/process"
)

// TestKillsAndRestarts kills each part as a crash would, and finds again what
// it had promised to keep; on the same ports.
func TestKillsAndRestarts(t *testing.T) {
	s := start(t, Options{IgnoreEnv: true})
	for _, c := range []struct {
		part *Part
		kept func(*testing.T, *Stack) (check func())
	}{
		{s.RabbitMQ, keepMessage},
		{s.PostgreSQL, keepRow},
		{s.Temporal, keepWorkflow},
	} {
		t.Run(c.part.Name(), func(t *testing.T) {
			ctx := deadline(t)
			env := s.Env()
			check := c.kept(t, s)

			pid := c.part.PID()
			below := process.Descendants(pid)
			require.NoError(t, c.part.Kill())
			require.Zero(t, c.part.PID())
			_, alive := process.Lookup(pid)
			require.False(t, alive, "the main process is gone")
			for _, p := range below {
				require.False(t, process.Running(p.PID, p.Started), "so is what it had started")
			}
			require.NoError(t, c.part.Kill(), "killing what is dead")

			require.NoError(t, c.part.Start(ctx))
			require.NoError(t, c.part.Start(ctx), "starting what runs")
			require.Equal(t, env, s.Env(), "same addresses")
			check()

			require.NoError(t, c.part.Restart(ctx))
			check()
		})
	}
}

func keepMessage(t *testing.T, s *Stack) func() {
	conn, err := amqp.Dial(s.AMQPURL())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	require.NoError(t, err)
	_, err = ch.QueueDeclare("kept", true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
	require.NoError(t, err)
	// RabbitMQ loses a quorum queue that is declared within about a second of a
	// SIGKILL, messages and all (measured on 3.10.8: it never has a leader again).
	// A stop in good order writes the declaration down.
	require.NoError(t, s.RabbitMQ.Restart(deadline(t)))
	conn, err = amqp.Dial(s.AMQPURL())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	ch, err = conn.Channel()
	require.NoError(t, err)
	require.NoError(t, ch.Confirm(false))
	confirm, err := ch.PublishWithDeferredConfirmWithContext(deadline(t), "", "kept", true, false,
		amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("still here")})
	require.NoError(t, err)
	acked, err := confirm.WaitContext(deadline(t))
	require.NoError(t, err)
	require.True(t, acked)
	return func() {
		conn, err := amqp.Dial(s.AMQPURL())
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		ch, err := conn.Channel()
		require.NoError(t, err)
		deliveries, err := ch.ConsumeWithContext(deadline(t), "kept", "", false, false, false, false, nil)
		require.NoError(t, err)
		select {
		case d := <-deliveries:
			require.Equal(t, "still here", string(d.Body))
		case <-time.After(time.Minute):
			t.Fatal("the message did not come back")
		}
	}
}

func keepRow(t *testing.T, s *Stack) func() {
	ctx := deadline(t)
	url, err := s.CreateDatabase(ctx, "kept")
	require.NoError(t, err)
	conn, err := pgx.Connect(ctx, url)
	require.NoError(t, err)
	_, err = conn.Exec(ctx, "CREATE TABLE kept (id int); INSERT INTO kept VALUES (42)")
	require.NoError(t, err)
	// A backend at work does not outlive the kill either.
	busy, err := pgx.Connect(ctx, url)
	require.NoError(t, err)
	go func() { _, _ = busy.Exec(context.WithoutCancel(ctx), "SELECT pg_sleep(600)") }()
	require.NoError(t, conn.Close(ctx))
	return func() {
		conn, err := pgx.Connect(ctx, url)
		require.NoError(t, err)
		defer func() { _ = conn.Close(ctx) }()
		var id int
		require.NoError(t, conn.QueryRow(ctx, "SELECT id FROM kept").Scan(&id))
		require.Equal(t, 42, id)
	}
}

func keepWorkflow(t *testing.T, s *Stack) func() {
	ctx := deadline(t)
	dial := func() client.Client {
		o, err := s.TemporalOptions()
		require.NoError(t, err)
		c, err := client.DialContext(ctx, o)
		require.NoError(t, err)
		return c
	}
	c := dial()
	defer c.Close()
	_, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: "kept", TaskQueue: "nobody",
		TypedSearchAttributes: sdktemporal.NewSearchAttributes(
			sdktemporal.NewSearchAttributeKeyKeyword("HoldfastState").ValueSet("waiting"),
			sdktemporal.NewSearchAttributeKeyKeyword("HoldfastTopic").ValueSet("order.placed"),
			sdktemporal.NewSearchAttributeKeyKeywordList("HoldfastKey").ValueSet([]string{"1", "2"}),
		),
	}, "Anything")
	require.NoError(t, err)
	return func() {
		c := dial()
		defer c.Close()
		d, err := c.DescribeWorkflowExecution(ctx, "kept", "")
		require.NoError(t, err)
		require.Equal(t, "Running", d.GetWorkflowExecutionInfo().GetStatus().String())
	}
}

// TestStartFails: a part that cannot start says so at once, with its log.
func TestStartFails(t *testing.T) {
	s := start(t, Options{IgnoreEnv: true})
	require.NoError(t, s.PostgreSQL.Kill())
	s.PostgreSQL.driver.(*postgres).ports["sql"] = s.RabbitMQ.driver.(*rabbit).ports["amqp"]
	begun := time.Now()
	err := s.PostgreSQL.Start(deadline(t))
	require.ErrorIs(t, err, errPortTaken)
	require.ErrorContains(t, err, "PostgreSQL did not start")
	require.ErrorContains(t, err, fmt.Sprintf("the end of %s", s.PostgreSQL.Log()))
	require.ErrorContains(t, err, "Address already in use")
	require.Less(t, time.Since(begun), time.Minute)
}
