package doctor

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

func TestPolicyRisks(t *testing.T) {
	own := map[string]any{"x-overflow": "reject-publish", "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "p.dead"}
	for name, tc := range map[string]struct {
		queue     string
		arguments map[string]any
		effective processes.Definition
		lacking   bool
		want      string // "": none
		level     text.Level
	}{
		"none":                       {"p.q.a", own, processes.Definition{"queue-mode": "lazy"}, false, "", ""},
		"ttl on dead letters":        {"p.dead", own, processes.Definition{"message-ttl": 3000.0}, false, "put back again and again", text.LevelProblem},
		"ttl, of an older version":   {"p.dead", nil, processes.Definition{"message-ttl": 3000.0}, true, "LOST", text.LevelProblem},
		"ttl on half messages":       {"p.half.orders#2", own, processes.Definition{"message-ttl": 3000.0}, false, "undecided", text.LevelProblem},
		"ttl on a consumer":          {"p.q.a", own, processes.Definition{"message-ttl": 3000.0}, false, "has message-ttl 3s: messages that wait so long", text.LevelProblem},
		"ttl below a delay":          {"p.retry.10s", map[string]any{"x-message-ttl": 10000.0}, processes.Definition{"message-ttl": 3000.0}, false, "instead of after their delay", text.LevelWarning},
		"ttl above a delay":          {"p.retry.10s", map[string]any{"x-message-ttl": 10000.0}, processes.Definition{"message-ttl": 86400000.0}, false, "", ""},
		"a process's own queue":      {"p.replies.orders@i.1", nil, processes.Definition{"message-ttl": 3000.0}, false, "", ""},
		"expires":                    {"p.q.a", own, processes.Definition{"expires": 60000.0}, false, "deletes the queue", text.LevelProblem},
		"full":                       {"p.q.a", own, processes.Definition{"max-length": 10.0}, false, "publishes to it are refused", text.LevelWarning},
		"full, and drops":            {"p.dead.expired", nil, processes.Definition{"max-length-bytes": 10.0}, false, "drops the oldest", text.LevelProblem},
		"delivery limit":             {"p.q.a", own, processes.Definition{"delivery-limit": 5.0}, false, "becomes a dead letter", text.LevelWarning},
		"another dead letter queue":  {"p.dead", nil, processes.Definition{"dead-letter-exchange": "audit"}, true, "goes astray", text.LevelProblem},
		"own dead letters":           {"p.q.a", own, processes.Definition{"dead-letter-exchange": "audit", "dead-letter-routing-key": "x"}, false, "", ""},
		"the key of what is retried": {"p.retry.10s", map[string]any{"x-dead-letter-exchange": "p.retry"}, processes.Definition{"dead-letter-routing-key": "x"}, false, "goes astray", text.LevelProblem},
		"a consumer timeout":         {"p.half.orders", own, processes.Definition{"consumer-timeout": 60000.0}, false, "takes away", text.LevelProblem},
		"a long enough timeout":      {"p.half.orders", own, processes.Definition{"consumer-timeout": 1800000.0}, false, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			risks := policyRisks(processes.ManagedQueue{Name: tc.queue, Type: "quorum", Policy: "all", OperatorPolicy: "ops", Arguments: tc.arguments, Effective: tc.effective}, "p", tc.lacking)
			if tc.want == "" {
				require.Empty(t, risks)
				return
			}
			require.Len(t, risks, 1)
			require.Contains(t, risks[0].detail, tc.want)
			require.Contains(t, risks[0].detail, "policy all or operator policy ops")
			require.Equal(t, tc.level, risks[0].level)
			require.Contains(t, risks[0].remedy, "p.")
		})
	}
	require.Len(t, policyRisks(processes.ManagedQueue{Name: "p.q.a", Type: "classic"}, "p", false), 1)
}
