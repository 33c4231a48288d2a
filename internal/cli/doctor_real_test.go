package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/doctor"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

// quiet is a prefix that no process uses: what the tests put there stays.
type quiet struct {
	*shop
	prefix string
	ch     *amqp.Channel
}

func newQuiet(t *testing.T) *quiet {
	s := stacktest.Shared(t)
	prefix := stacktest.Prefix(t)
	conn, err := amqp.Dial(s.AMQPURL())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	require.NoError(t, err)
	return &quiet{prefix: prefix, ch: ch, shop: &shop{t: t, c: stacktest.TemporalClient(t, s), env: []string{"HOLDFAST_PREFIX=" + prefix,
		"AMQP_URL=" + s.AMQPURL(), "TEMPORAL_ADDRESS=" + s.TemporalAddress(), "TEMPORAL_NAMESPACE=" + s.Namespace()}}}
}

// fill makes a queue with n messages.
func (q *quiet) fill(name string, n int) {
	q.t.Helper()
	_, err := q.ch.QueueDeclare(name, true, false, false, false, nil)
	require.NoError(q.t, err)
	q.t.Cleanup(func() { _, _ = q.ch.QueueDelete(name, false, false, false) })
	for range n {
		require.NoError(q.t, q.ch.Publish("", name, false, false, amqp.Publishing{}))
	}
}

// answer answers status requests as a process of the prefix would.
func (q *quiet) answer(p broker.ProcessStatus) {
	q.t.Helper()
	exchange := q.prefix + ".status"
	require.NoError(q.t, q.ch.ExchangeDeclare(exchange, amqp.ExchangeFanout, true, false, false, false, nil))
	q.t.Cleanup(func() { _ = q.ch.ExchangeDelete(exchange, false, false) })
	queue, err := q.ch.QueueDeclare("", false, true, true, false, nil)
	require.NoError(q.t, err)
	require.NoError(q.t, q.ch.QueueBind(queue.Name, "", exchange, false, nil))
	requests, err := q.ch.Consume(queue.Name, "", true, true, false, false, nil)
	require.NoError(q.t, err)
	body, err := json.Marshal(p)
	require.NoError(q.t, err)
	go func() { // until the connection is closed
		for d := range requests {
			_ = q.ch.Publish("", d.ReplyTo, false, false, amqp.Publishing{MessageId: p.Instance, CorrelationId: d.CorrelationId, Body: body})
		}
	}()
}

// letter starts a dead letter's workflow, which no worker runs.
func (q *quiet) letter(id string, state workflows.State) client.WorkflowRun {
	q.t.Helper()
	run, err := q.c.ExecuteWorkflow(q.t.Context(), client.StartWorkflowOptions{ID: "dead/payments/" + q.prefix + "-" + id,
		TaskQueue:             workflows.DeadLetterQueue(q.prefix),
		TypedSearchAttributes: temporal.NewSearchAttributes(temporal.NewSearchAttributeKeyKeyword(workflows.AttributeState).ValueSet(string(state)))},
		deadflow.Name, deadflow.Input{Prefix: q.prefix})
	require.NoError(q.t, err)
	q.t.Cleanup(func() {
		_ = q.c.TerminateWorkflow(context.WithoutCancel(q.t.Context()), run.GetID(), "", "the test has ended")
	})
	return run
}

func TestDoctorOnFailingConsumers(t *testing.T) {
	q := newQuiet(t)
	q.fill(q.prefix+".dead", 3)
	q.fill(q.prefix+".dead.oversized", 1)
	q.fill(q.prefix+".retry.30s", 2)
	q.fill(q.prefix+".q.payments", 5)
	q.answer(broker.ProcessStatus{V: 1, Instance: "host-1",
		Consumers: []broker.ConsumerStatus{{Name: "payments", Breaker: broker.BreakerOpen, Since: time.Now().Add(-time.Hour), Error: "the bank\n\x1b[31mis away"},
			{Name: "stock", Breaker: broker.BreakerProbing}, {Name: "mail", Breaker: broker.BreakerClosed}},
		Keepers: []broker.KeeperStatus{{Group: "orders", Active: true, Held: 4, Undecided: 2, OldestAge: time.Hour, CheckAfter: time.Second}}})

	var by map[string]doctor.Finding
	// The queues show their messages once these are stored.
	q.eventually(func() bool {
		_, by = q.diagnose(q.env, "--skip", "postgresql,temporal", "--consumer", "payments", "--group", "orders")
		return by["RabbitMQ retries"].Detail == "2 waiting for a delay: 2 of 30s" && by["RabbitMQ oversized dead letters"].Level == text.LevelWarning &&
			by["RabbitMQ consumer payments"].Detail == q.prefix+".q.payments: 5 waiting, paused by its circuit breaker" &&
			by["RabbitMQ dead letters"].Detail == "3 waiting in "+q.prefix+".dead, and no worker with Temporal takes them in"
	}, func() string { return fmt.Sprint(by) })
	require.Equal(t, "1 process answering: host-1", by["RabbitMQ processes"].Detail)
	require.Regexp(t, `^open since .+ \(1h00m\) in 1 of 1 process: last error: the bank \[31mis away$`, by["RabbitMQ breaker payments"].Detail)
	require.Equal(t, text.LevelOK, by["RabbitMQ consumer payments"].Level, "it is paused, not gone")
	require.Equal(t, text.LevelWarning, by["RabbitMQ breaker stock"].Level, "although nobody asked for it")
	require.NotContains(t, by, "RabbitMQ breaker mail")
	require.Equal(t, text.LevelWarning, by["RabbitMQ keeper orders"].Level)
	require.Contains(t, by["RabbitMQ keeper orders"].Detail, "host-1 holds 4 records, 2 half messages undecided, the oldest for 1h00m")

	r := q.answered(prints("breaker payments"), "doctor", "--skip", "postgresql,temporal")
	require.NotContains(t, r.out, "\x1b", "what processes answer cannot colour the terminal")
}

func TestDoctorOnDeadLetters(t *testing.T) {
	q := newQuiet(t)
	var by map[string]doctor.Finding
	diagnose := func() { _, by = q.diagnose(q.env, "--skip", "postgresql,rabbitmq") }
	diagnose()
	require.Equal(t, "none waits for an operator", by["Temporal dead letters"].Detail, "those of other prefixes do not count")
	require.Equal(t, text.LevelOK, by["Temporal lost dead letters"].Level)

	lost := q.letter("a", workflows.Parked)
	q.letter("b", workflows.Parked)
	q.letter("c", workflows.Redelivering)
	q.eventually(func() bool { // the visibility store is late
		diagnose()
		return by["Temporal dead letters"].Detail == "2 dead letters waiting for an operator; 1 being redelivered"
	}, func() string { return fmt.Sprint(by) })
	require.Equal(t, text.LevelWarning, by["Temporal dead letters"].Level)
	require.Contains(t, by["Temporal dead letters"].Remedy, "holdfast dead list")
	require.Equal(t, text.LevelProblem, by["Temporal dead letter workers"].Level, "nobody runs them")

	require.NoError(t, q.c.TerminateWorkflow(t.Context(), lost.GetID(), "", "an accident"))
	q.eventually(func() bool {
		diagnose()
		return by["Temporal lost dead letters"].Level == text.LevelProblem &&
			by["Temporal dead letters"].Detail == "1 dead letter waiting for an operator; 1 being redelivered"
	}, func() string { return fmt.Sprint(by) })
	require.Contains(t, by["Temporal lost dead letters"].Remedy, "holdfast dead show "+lost.GetID())
	q.letter("a", workflows.Parked)
	diagnose()
	require.Equal(t, text.LevelOK, by["Temporal lost dead letters"].Level, "it was taken up again")
}

// A real process answers, with nothing between it and the doctor but RabbitMQ.
func TestDoctorAsksProcesses(t *testing.T) {
	s := newShop(t)
	var by map[string]doctor.Finding
	s.eventually(func() bool {
		_, by = s.diagnose(s.env, "--skip", "postgresql,temporal", "--group", s.group, "--consumer", "payments")
		return by["RabbitMQ breaker payments"].Level == text.LevelOK && by["RabbitMQ keeper "+s.group].Level == text.LevelOK
	}, func() string { return fmt.Sprint(by) })
	require.Contains(t, by["RabbitMQ processes"].Detail, "1 process answering: ")
	require.Equal(t, "closed in 1 process; 0 messages in work", by["RabbitMQ breaker payments"].Detail)
	s.stop()
	s.eventually(func() bool {
		_, by = s.diagnose(s.env, "--skip", "postgresql,temporal", "--group", s.group, "--consumer", "payments")
		return by["RabbitMQ processes"].Detail == "none answers"
	}, func() string { return fmt.Sprint(by) })
	require.Equal(t, text.LevelProblem, by["RabbitMQ consumer payments"].Level)
}
