package doctor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

func TestDoctorOnRememberedConsumers(t *testing.T) {
	k := barrier.KnownConsumer{Name: "mailer", Topics: []string{"order.*"}, Seen: time.Hour}
	for name, tc := range map[string]struct {
		change  func(*barrier.KnownConsumer)
		q       broker.QueueInfo
		running int
		want    []text.Level
		detail  string
	}{
		"all right":   {nil, broker.QueueInfo{Exists: true, Consumers: 1}, 1, nil, ""},
		"paused":      {nil, broker.QueueInfo{Exists: true}, 1, nil, ""},
		"no queue":    {nil, broker.QueueInfo{Name: "p.q.mailer"}, 0, []text.Level{text.LevelProblem}, "what is sent to order.* does not reach it"},
		"no process":  {nil, broker.QueueInfo{Exists: true, Messages: 7}, 0, []text.Level{text.LevelProblem}, "7 waiting"},
		"not needed":  {nil, broker.QueueInfo{Exists: true}, 0, []text.Level{text.LevelWarning}, "0 waiting"},
		"long ago":    {func(k *barrier.KnownConsumer) { k.Seen = 31 * 24 * time.Hour }, broker.QueueInfo{}, 0, []text.Level{text.LevelWarning}, "not made again"},
		"made again":  {func(k *barrier.KnownConsumer) { k.Remade, k.What = time.Minute, "RabbitMQ came back empty" }, broker.QueueInfo{Exists: true, Consumers: 1}, 1, []text.Level{text.LevelWarning}, "came back empty"},
		"weeks later": {func(k *barrier.KnownConsumer) { k.Remade = 30 * 24 * time.Hour }, broker.QueueInfo{Exists: true, Consumers: 1}, 1, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			k := k
			if tc.change != nil {
				tc.change(&k)
			}
			f := Findings{part: "RabbitMQ"}
			f.remembered(k, tc.q, tc.running)
			var got []text.Level
			for _, found := range f.All {
				got = append(got, found.Level)
				require.Contains(t, found.Detail, tc.detail)
				require.NotEmpty(t, found.Remedy)
			}
			require.Equal(t, tc.want, got)
		})
	}
}
