package broker

import (
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

func xDeaths(deaths ...[4]string) []any {
	var list []any
	for _, d := range deaths {
		list = append(list, amqp.Table{"queue": d[0], "reason": d[1], "exchange": d[2], "routing-keys": []any{d[3]}, "time": time.Unix(0, 0)})
	}
	return list
}

// What expired as a dead letter is read as it was before that.
func TestBeforeExpiry(t *testing.T) {
	ours := amqp.Delivery{MessageId: "m", Exchange: "p.dead.expired", Headers: amqp.Table{wire.HeaderQueue: "p.q.c", "x-first-death-queue": "p.dead",
		"x-death": xDeaths([4]string{"p.dead", "expired", "p.dead", "p.q.c"})}}
	queue, why, was := wire.BeforeExpiry("p", &ours)
	require.Equal(t, "p.dead", queue)
	require.Contains(t, why, "message-ttl")
	require.Equal(t, "p.dead", was.Exchange)
	require.Equal(t, amqp.Table{wire.HeaderQueue: "p.q.c"}, was.Headers, "no trace of a death is left")

	twice := amqp.Delivery{MessageId: "m", Headers: amqp.Table{"x-death": xDeaths([4]string{"p.dead", "maxlen", "", "p.dead"}, [4]string{"p.q.c", "expired", "p.topics", "order.placed"})}}
	_, why, was = wire.BeforeExpiry("p", &twice)
	require.Contains(t, why, "full")
	require.Empty(t, was.Exchange)
	l := wire.Trust{Prefix: "p"}.DecodeDead(was, time.Now())
	require.Equal(t, "c", l.Failure.Consumer, "RabbitMQ had dropped it from there before")
	require.Equal(t, "order.placed", l.Message.Topic)

	large := amqp.Delivery{Headers: amqp.Table{"x-death": xDeaths([4]string{"p.dead.oversized", "expired", "", "p.dead.oversized"})}}
	queue, _, _ = wire.BeforeExpiry("p", &large)
	require.Equal(t, "p.dead.oversized", queue)

	odd := amqp.Delivery{Headers: amqp.Table{"x-death": "no list"}}
	queue, _, was = wire.BeforeExpiry("p", &odd)
	require.Equal(t, "p.dead", queue)
	require.Equal(t, odd.Headers, was.Headers)
}

// Queues of dead letters that an older version made stay as they are, and can be
// told from new ones.
func TestQueuesOfDeadLettersOfAnOlderVersion(t *testing.T) {
	url := stacktest.Shared(t).AMQPURL()
	fresh := open(t, url, stacktest.Prefix(t), nil)
	require.NoError(t, fresh.DeclareGroup(testContext(t), "g"))
	lacking, err := fresh.Unprotected(testContext(t))
	require.NoError(t, err)
	require.Empty(t, lacking)
	rolling := open(t, url, fresh.o.Prefix, func(o *Options) { o.RollingUpgrade = true })
	require.NoError(t, rolling.DeclareGroup(testContext(t), "g"), "what is there already is taken as it is")

	for _, upgrade := range []bool{false, true} {
		old := open(t, url, stacktest.Prefix(t), func(o *Options) { o.RollingUpgrade = upgrade })
		rawChannel(t, old, func(ch *amqp.Channel) {
			_, err := ch.QueueDeclare(old.DeadQueue(), true, false, false, false, quorumArgs())
			require.NoError(t, err)
		})
		for range 2 {
			require.NoError(t, old.DeclareGroup(testContext(t), "g"))
		}
		lacking, err = old.Unprotected(testContext(t))
		require.NoError(t, err)
		want := []string{old.DeadQueue()}
		if upgrade {
			want = append(want, old.OversizedQueue())
		}
		require.Equal(t, want, lacking)
	}
}
