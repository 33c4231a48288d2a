package doctor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
)

func TestPublishingFindings(t *testing.T) {
	at := at12.Add(-time.Hour)
	refused := broker.RefusedRecord{Message: "m-1", To: "holdfast.dead", Why: broker.RefusedClosing, Reason: "RabbitMQ closes the connection over it", Count: 3, Since: at}
	full := broker.FullQueue{Queue: "holdfast.q.slow", Consumer: "slow", Refused: 4, Held: 3, Since: at}
	later := full
	later.Since, later.Refused, later.Held = at12, 2, 0
	strange := broker.FullQueue{Topic: "order.placed", Refused: 1, Since: at}
	for name, c := range map[string]struct {
		answers []broker.ProcessStatus
		detail  string
	}{
		"nothing": {[]broker.ProcessStatus{{Instance: "a"}}, ""},
		"a record": {[]broker.ProcessStatus{{Instance: "a", Refused: []broker.RefusedRecord{refused}}},
			"process a: message m-1 for holdfast.dead was refused, 3 times since 2026-01-02 11:00:00 (1h00m): RabbitMQ closes the connection over it"},
		"a queue, by two": {[]broker.ProcessStatus{{Full: []broker.FullQueue{later}}, {Full: []broker.FullQueue{full}}},
			"holdfast.q.slow of consumer slow refuses publishes of 2 processes since 2026-01-02 11:00:00 (1h00m): 6 times; 3 messages were put where they wait for room, and nobody else waits for that"},
		"an unknown one": {[]broker.ProcessStatus{{Full: []broker.FullQueue{strange}}},
			"a queue that is bound for order.placed, and is of no consumer that the processes know, refuses publishes of 1 process since 2026-01-02 11:00:00 (1h00m): 1 times"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.detail, only(t, func(f *Findings) { f.publishing(c.answers, at12) }).Detail)
		})
	}
}

func TestFullQueueFindings(t *testing.T) {
	held := processes.ManagedQueue{Name: "holdfast.retry.full.slow", Messages: 7, Effective: processes.Definition{}}
	for name, c := range map[string]struct {
		q      processes.ManagedQueue
		detail string
	}{
		"no limit": {processes.ManagedQueue{Name: "holdfast.q.slow", Messages: 9, Effective: processes.Definition{}}, ""},
		"below":    {processes.ManagedQueue{Name: "holdfast.q.slow", Messages: 4, Effective: processes.Definition{"max-length": 5.0}}, ""},
		"full": {processes.ManagedQueue{Name: "holdfast.q.slow", Messages: 5, Policy: "lim", Effective: processes.Definition{"max-length": 5.0}},
			"holdfast.q.slow of consumer slow is full: max-length 5 (it has 5) of policy lim; what is published to it is refused, and waits for room in holdfast.retry.full.slow (7 messages)"},
		"by bytes, by an argument": {processes.ManagedQueue{Name: "holdfast.half.orders", Bytes: 9, Arguments: map[string]any{"x-max-length-bytes": 8.0}},
			"holdfast.half.orders is full: max-length-bytes 8 (it has 9); what is published to it is refused"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.detail, only(t, func(f *Findings) { f.fullQueues([]processes.ManagedQueue{c.q, held}, "holdfast") }).Detail)
		})
	}
}
