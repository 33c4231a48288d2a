package worker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// limitQueue has RabbitMQ refuse what is more than n messages in a consumer's queue.
func (s *site) limitQueue(consumer string, n int) {
	queue := s.at.Prefix + ".q." + consumer
	ctl := func(args ...string) {
		stacktest.RabbitMQ(s.t, s.stack, "rabbitmqctl", append([]string{"-q"}, args...)...)
	}
	ctl("set_policy", "limit-"+queue, "^"+queue+"$", fmt.Sprintf(`{"max-length":%d}`, n), "--apply-to", "queues")
	s.t.Cleanup(func() { ctl("clear_policy", "limit-"+queue) })
}

// One of two consumers' queues is at its limit. Its own process may be known, or not.
func TestOneQueueFull(t *testing.T) { inLanes(t, testOneQueueFull) }

func testOneQueueFull(t *testing.T, l lane) {
	s := newSite(t)
	var fast audit
	s.consuming(fast.consumer())
	s.consumers["slow"] = true
	require.NoError(t, s.broker().DeclareConsumer(s.ctx(), "slow", []string{"order.#"})) // nobody reads it, nor is it known
	s.limitQueue("slow", 2)
	w := s.producer(l.set, func(o *worker.Options) { o.CheckAfter = 10 * time.Second })
	ids := []string{}
	for range 20 {
		ids = append(ids, newID())
		_, err := w.Send(s.ctx(), order(ids[len(ids)-1]), insert)
		if len(ids) > 10 {
			require.ErrorIs(t, err, holdfast.ErrDeliveryPending, "the caller does not wait for the queue")
			require.ErrorIs(t, err, holdfast.ErrQueueFull)
		}
	}
	last := ids[len(ids)-1]
	until(t, "the last one waits in its workflow", func() bool {
		value, err := s.temporal.QueryWorkflow(s.ctx(), workflows.WorkflowID(s.at.Prefix, group, last), "", workflows.QueryStatus)
		var status transactions.Status
		return err == nil && value.Get(&status) == nil && status.Transactions[0].State == workflows.Delivering
	})
	require.LessOrEqual(t, fast.of(last), 3, "deliveries of one message to the consumer that is well")
}

// Of a transaction with a topic that nobody hears, the other messages are delivered
// once by whoever coordinates it.
func TestOneTopicUnroutable(t *testing.T) { inLanes(t, testOneTopicUnroutable) }

func testOneTopicUnroutable(t *testing.T, l lane) {
	s := newSite(t)
	heard := &audit{}
	s.consuming(heard.consumer())
	w := s.producer(l.set, func(o *worker.Options) { o.CheckAfter = 10 * time.Second })
	id := newID()
	ms := []holdfast.Message{{ID: id, Topic: "order.a"}, {Topic: "nobody.hears"}, {Topic: "order.b"}}
	receipt, err := w.SendAll(s.ctx(), ms, func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error { return insert(ctx, tx, ms[0]) })
	require.ErrorIs(t, err, holdfast.ErrDeliveryPending)
	var undelivered *holdfast.DeliveryError
	require.ErrorAs(t, err, &undelivered)
	require.Equal(t, []string{id + ".1", id + ".3"}, undelivered.Delivered)
	require.Equal(t, "nobody.hears", undelivered.Failed[0].Topic)
	require.Len(t, receipt.Messages, 3)
	until(t, "a history of its own", func() bool {
		value, err := s.temporal.QueryWorkflow(s.ctx(), workflows.WorkflowID(s.at.Prefix, group, id), "", workflows.QueryStatus)
		var status transactions.Status
		return err == nil && value.Get(&status) == nil && len(status.Transactions[0].Delivered) == 2
	})
	for s.status(id).State != workflows.Parked { // an operator need not wait for that
		_, _ = s.ask(id, transactions.UpdateRecheck)
	}
	_, _ = s.ask(id, transactions.UpdateRecheck)
	require.Equal(t, []int{1, 1}, []int{heard.of(id + ".1"), heard.of(id + ".3")})
}

// A redelivery of a message whose properties are not UTF-8 is the message as it was,
// and harms nobody.
func TestRedeliveryOfOddMessage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := failing(s.effects, broken(holdfast.Permanent(errOops)))
	s.consuming(c)
	w := s.producer(func(o *worker.Options) { o.Lane = holdfast.Express })
	id, b := newID(), s.broker()
	s.foreign(b, amqp.Publishing{MessageId: id, CorrelationId: strings.Repeat("a\xff", 127), Headers: amqp.Table{strings.Repeat("b\xff", 127): "v"}})
	s.awaitLetter("payments", id, workflows.Parked)
	_, err := s.askLetter("payments", id, deadletters.UpdateRedeliver)
	require.NoError(t, err)
	for range 20 {
		_, err := w.Send(s.ctx(), order(newID()), insert)
		require.NoError(t, err)
	}
	require.Zero(t, b.PublishStats())
	s.awaitLetter("payments", id, workflows.Parked)
}
