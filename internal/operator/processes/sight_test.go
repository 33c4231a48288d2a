package processes

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
)

func TestConsumersOfAnswers(t *testing.T) {
	at := func(name, breaker string) broker.ConsumerStatus {
		return broker.ConsumerStatus{Name: name, Breaker: breaker}
	}
	answers := []broker.ProcessStatus{
		{Consumers: []broker.ConsumerStatus{at("a", broker.BreakerClosed), at("a", broker.BreakerOpen), at("b", broker.BreakerClosed)}},
		{Consumers: []broker.ConsumerStatus{at("a", broker.BreakerProbing), at("a", broker.BreakerClosed), at("d", broker.BreakerOpen)}},
		{Keepers: []broker.KeeperStatus{{Group: "a"}}},
	}
	require.Equal(t, []broker.ConsumerStatus{at("a", broker.BreakerOpen), at("a", broker.BreakerProbing)}, ConsumerStates(answers, "a"))
	require.Empty(t, ConsumerStates(answers, "none"))
	require.Equal(t, []string{"a", "d"}, Paused(answers, nil))
	require.Equal(t, []string{"d"}, Paused(answers, []string{"a", "b"}))
}

// TestWhoIsHeardOf: who takes a topic, which group answers, and who was there once.
func TestWhoIsHeardOf(t *testing.T) {
	keeps := broker.ProcessStatus{Keepers: []broker.KeeperStatus{{Group: "a"}}, Sagas: []broker.SagaDefinition{{Group: "b"}}, Databases: []broker.DatabaseStatus{{Group: "c"}},
		Remembers: []broker.Bound{{Name: "gone", Age: time.Hour}, {Name: "order.placed"}}}
	again := broker.ProcessStatus{Remembers: []broker.Bound{{Name: "gone", Age: time.Minute}}}
	sends := broker.ProcessStatus{SendsFor: "d", Databases: []broker.DatabaseStatus{{Group: "d"}}}
	answers := []broker.ProcessStatus{keeps, again, sends, {Consumers: []broker.ConsumerStatus{{Name: "order.placed", Topics: []string{"order.placed"}}}}}
	for group, want := range map[string]bool{"a": true, "b": true, "c": true, "d": false} {
		require.Equal(t, want, GroupAnswers(answers, group), group)
	}
	require.Equal(t, []broker.Bound{{Name: "gone", Age: time.Minute}}, HeardOf(answers), "not those that run")
	require.Len(t, Takes(answers, "order.placed"), 1)
	require.Empty(t, Takes(answers, "order.paid"))
}
