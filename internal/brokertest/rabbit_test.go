package brokertest_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/brokertest"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

func TestMain(m *testing.M) { os.Exit(stacktest.Main(m)) }

func TestPromisesOfRabbitMQ(t *testing.T) {
	s := stacktest.Shared(t)
	brokertest.Run(t, func(t *testing.T) func(string) brokertest.Broker {
		prefix := stacktest.Prefix(t)
		t.Cleanup(func() { stacktest.DeleteQueues(t, s.AMQPURL(), queues(prefix)...) }) // after all are closed
		return func(process string) brokertest.Broker {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			b, err := broker.Open(ctx, broker.Options{URL: s.AMQPURL(), Prefix: prefix, Name: process})
			require.NoError(t, err)
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				_ = b.Close(ctx)
			})
			return b
		}
	})
}

// queues are what the suite may have made.
func queues(prefix string) []string {
	var out []string
	for _, c := range []string{"first", "second", "other", "star", "hash", "middle", "c", "stock", "victim"} {
		out = append(out, prefix+".q."+c, prefix+".alone."+c)
	}
	for _, q := range []string{"replies.shop", "dead", "dead.oversized", "retry.postponed"} {
		out = append(out, prefix+"."+q)
	}
	return out
}
