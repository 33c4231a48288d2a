package doctor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// TestConsumerTimeouts: whose limit holds, and what is said.
func TestConsumerTimeouts(t *testing.T) {
	t.Parallel()
	const own, policy = "the queue's argument", "policy"
	ms := func(d time.Duration) float64 { return float64(d.Milliseconds()) }
	for name, c := range map[string]struct {
		holds, limit time.Duration
		q            processes.ManagedQueue
		says         string // nothing: ""
	}{
		"usual":                      {holds: 3 * time.Minute},
		"not told":                   {},
		"beyond the default":         {holds: 45 * time.Minute, says: "45m (Timeout times Tries), and RabbitMQ's consumer_timeout is 30m (its default, assumed"},
		"the server's is known":      {holds: 45 * time.Minute, limit: time.Hour},
		"beyond that":                {holds: 3 * time.Hour, limit: time.Hour, says: "1h (as Options.Timeouts.Consumer says)"},
		"the server has none":        {holds: 3 * time.Hour, limit: -1},
		"the queue has more":         {holds: 45 * time.Minute, q: processes.ManagedQueue{Arguments: map[string]any{"x-consumer-timeout": ms(time.Hour)}}},
		"a policy has less":          {holds: 8 * time.Minute, limit: time.Hour, q: processes.ManagedQueue{Policy: "p", Effective: processes.Definition{"consumer-timeout": ms(6 * time.Minute)}}, says: "is 6m (" + policy},
		"a policy less than a queue": {holds: 8 * time.Minute, q: processes.ManagedQueue{Policy: "p", Effective: processes.Definition{"consumer-timeout": ms(6 * time.Minute)}, Arguments: map[string]any{"x-consumer-timeout": ms(time.Hour)}}, says: "is 6m ("},
		"a queue less than a policy": {holds: 8 * time.Minute, q: processes.ManagedQueue{Policy: "p", Effective: processes.Definition{"consumer-timeout": ms(time.Hour)}, Arguments: map[string]any{"x-consumer-timeout": ms(6 * time.Minute)}}, says: own},
	} {
		t.Run(name, func(t *testing.T) {
			c.q.Name = "x.q.slow"
			var f Findings
			answers := []broker.ProcessStatus{{Consumers: []broker.ConsumerStatus{{Name: "slow", Holds: c.holds, Limit: c.limit}}}}
			f.consumerTimeouts(append(answers, answers...), []processes.ManagedQueue{c.q}, func(name string) string { return "x.q." + name })
			if c.says == "" {
				require.Empty(t, f.All)
				return
			}
			require.Len(t, f.All, 1, "once for both processes")
			require.Equal(t, text.LevelWarning, f.All[0].Level)
			require.Contains(t, f.All[0].Detail, c.says)
			require.Contains(t, f.All[0].Remedy, "rabbitmqctl eval")
		})
	}
}
