package cli

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPolicyRisks(t *testing.T) {
	own := map[string]any{"x-overflow": "reject-publish", "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "p.dead"}
	for name, tc := range map[string]struct {
		queue     string
		arguments map[string]any
		effective definition
		lacking   bool
		want      string // "": none
		level     level
	}{
		"none":                       {"p.q.a", own, definition{"queue-mode": "lazy"}, false, "", ""},
		"ttl on dead letters":        {"p.dead", own, definition{"message-ttl": 3000.0}, false, "put back again and again", levelProblem},
		"ttl, of an older version":   {"p.dead", nil, definition{"message-ttl": 3000.0}, true, "LOST", levelProblem},
		"ttl on half messages":       {"p.half.orders#2", own, definition{"message-ttl": 3000.0}, false, "undecided", levelProblem},
		"ttl on a consumer":          {"p.q.a", own, definition{"message-ttl": 3000.0}, false, "has message-ttl 3s: messages that wait so long", levelProblem},
		"ttl below a delay":          {"p.retry.10s", map[string]any{"x-message-ttl": 10000.0}, definition{"message-ttl": 3000.0}, false, "instead of after their delay", levelWarning},
		"ttl above a delay":          {"p.retry.10s", map[string]any{"x-message-ttl": 10000.0}, definition{"message-ttl": 86400000.0}, false, "", ""},
		"a process's own queue":      {"p.replies.orders@i.1", nil, definition{"message-ttl": 3000.0}, false, "", ""},
		"expires":                    {"p.q.a", own, definition{"expires": 60000.0}, false, "deletes the queue", levelProblem},
		"full":                       {"p.q.a", own, definition{"max-length": 10.0}, false, "publishes to it are refused", levelWarning},
		"full, and drops":            {"p.dead.expired", nil, definition{"max-length-bytes": 10.0}, false, "drops the oldest", levelProblem},
		"delivery limit":             {"p.q.a", own, definition{"delivery-limit": 5.0}, false, "becomes a dead letter", levelWarning},
		"another dead letter queue":  {"p.dead", nil, definition{"dead-letter-exchange": "audit"}, true, "goes astray", levelProblem},
		"own dead letters":           {"p.q.a", own, definition{"dead-letter-exchange": "audit", "dead-letter-routing-key": "x"}, false, "", ""},
		"the key of what is retried": {"p.retry.10s", map[string]any{"x-dead-letter-exchange": "p.retry"}, definition{"dead-letter-routing-key": "x"}, false, "goes astray", levelProblem},
		"a consumer timeout":         {"p.half.orders", own, definition{"consumer-timeout": 60000.0}, false, "takes away", levelProblem},
		"a long enough timeout":      {"p.half.orders", own, definition{"consumer-timeout": 1800000.0}, false, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			risks := policyRisks(managedQueue{Name: tc.queue, Type: "quorum", Policy: "all", OperatorPolicy: "ops", Arguments: tc.arguments, Effective: tc.effective}, "p", tc.lacking)
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
	require.Len(t, policyRisks(managedQueue{Name: "p.q.a", Type: "classic"}, "p", false), 1)
}
