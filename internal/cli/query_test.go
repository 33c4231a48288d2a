package cli

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQuery(t *testing.T) {
	const all = `WorkflowType = "Transaction"`
	for name, tc := range map[string]struct {
		f    filter
		want string
	}{
		"all":     {filter{}, all},
		"group":   {filter{group: "orders"}, all + ` AND (WorkflowId STARTS_WITH "tx/orders/" OR WorkflowId STARTS_WITH "cohort/orders/")`},
		"running": {filter{state: "running"}, all + ` AND ExecutionStatus = "Running" AND HoldfastState IS NULL`},
		"parked":  {filter{state: "parked"}, all + ` AND ExecutionStatus = "Running" AND HoldfastState = "parked"`},
		"committed": {filter{state: "committed"},
			all + ` AND ExecutionStatus = "Completed" AND (HoldfastState IS NULL OR HoldfastState = "committed" OR WorkflowId STARTS_WITH "cohort/")`},
		"terminated": {filter{state: "terminated"}, all + ` AND ExecutionStatus = "Terminated"`},
		"timed out":  {filter{state: "timed-out"}, all + ` AND ExecutionStatus = "TimedOut"`},
		"topic":      {filter{topic: "order.placed"}, all + ` AND HoldfastTopic = "order.placed"`},
		"key":        {filter{key: "A-1"}, all + ` AND HoldfastKey = "A-1"`},
		"quotes":     {filter{key: `a" OR "1"="1`}, all},
		"backslash":  {filter{topic: `a\`}, all},
		"state":      {filter{state: `odd" OR "1"="1`}, all + ` AND ExecutionStatus = "Running" AND HoldfastState = "odd\" OR \"1\"=\"1"`},
		"apostrophe": {filter{topic: "it's"}, all + ` AND HoldfastTopic = "it's"`},
		"since": {filter{since: time.Date(2026, 1, 2, 4, 4, 5, 0, time.FixedZone("", 3600))},
			all + ` AND StartTime >= "2026-01-02T03:04:05Z"`},
		"several": {filter{group: "g", key: "k", topic: "t"},
			all + ` AND (WorkflowId STARTS_WITH "tx/g/" OR WorkflowId STARTS_WITH "cohort/g/") AND HoldfastTopic = "t" AND HoldfastKey = "k"`},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tc.want, tc.f.query())
		})
	}
}

func TestFilterIsValidated(t *testing.T) {
	require.ErrorContains(t, filter{state: "odd"}.validate(), "want running, checking")
	require.Error(t, filter{key: "a\nb"}.validate())
}

func TestQuote(t *testing.T) {
	require.Equal(t, `"a'b"`, quote("a'b"))
	require.Equal(t, `"a\\\" OR 1=1"`, quote(`a\" OR 1=1`))
}

func TestFilterKeeps(t *testing.T) {
	one := row{Tx: "1", State: "committed", Topics: []string{"a", "b"}, Keys: []string{"k"}}
	two := row{Tx: "2", State: "rolled-back", Topics: []string{"b"}, Keys: []string{"K"}}
	cohort := row{Topics: []string{"a"}, Keys: []string{"k", "K"}}
	all := []row{one, two}
	require.Equal(t, all, filter{}.keeps(cohort, all))
	require.Equal(t, []row{one}, filter{state: "committed", topic: "a", key: "k"}.keeps(cohort, all))
	require.Equal(t, []row{two}, filter{key: "K"}.keeps(cohort, all), "not its neighbour in the cohort")
	require.Empty(t, filter{key: "other"}.keeps(cohort, all))
	require.Empty(t, filter{state: "parked"}.keeps(cohort, all))
	before := row{Keys: []string{"before"}}
	require.Equal(t, []row{one}, filter{key: "before"}.keeps(before, []row{one}), "the local transaction changed its key")
}

func TestSplitWorkflowID(t *testing.T) {
	for id, want := range map[string][2]string{
		"tx/orders/1":      {"orders", "1"},
		"cohort/orders/1":  {"orders", ""},
		"dead/payments/1":  {"payments", ""},
		"something":        {"", ""},
		"tx/orders":        {"", ""},
		"tx/a.b-c_d/7-8.9": {"a.b-c_d", "7-8.9"},
	} {
		group, tx := splitWorkflowID(id)
		require.Equal(t, want, [2]string{group, tx}, id)
	}
}
