package cli

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQuery(t *testing.T) {
	const types = `WorkflowType IN ("Transaction", "Recovery")`
	const all = types + ` AND TaskQueue STARTS_WITH "hf."`
	for name, tc := range map[string]struct {
		f    filter
		want string
	}{
		"all":     {filter{}, all},
		"group":   {filter{group: "orders"}, types + ` AND (TaskQueue = "hf.orders" OR TaskQueue STARTS_WITH "hf.orders.")`},
		"running": {filter{states: []string{"running"}}, all + ` AND ExecutionStatus = "Running" AND HoldfastState IS NULL`},
		"parked":  {filter{states: []string{"parked"}}, all + ` AND ExecutionStatus = "Running" AND HoldfastState = "parked"`},
		"committed": {filter{states: []string{"committed"}},
			all + ` AND ExecutionStatus = "Completed" AND (HoldfastState IS NULL OR HoldfastState = "committed" OR (WorkflowId STARTS_WITH "hf:cohort/" OR WorkflowId STARTS_WITH "cohort/" OR WorkflowId STARTS_WITH "hf:recovery/" OR WorkflowId STARTS_WITH "recovery/"))`},
		"terminated": {filter{states: []string{"terminated"}}, all + ` AND ExecutionStatus = "Terminated"`},
		"timed out":  {filter{states: []string{"timed-out"}}, all + ` AND ExecutionStatus = "TimedOut"`},
		"topic":      {filter{topic: "order.placed"}, all + ` AND (HoldfastTopic = "order.placed" OR HoldfastKey = "order.placed")`},
		"key":        {filter{key: "A-1"}, all + ` AND HoldfastKey = "A-1"`},
		"quotes":     {filter{key: `a" OR "1"="1`}, all},
		"backslash":  {filter{topic: `a\`}, all},
		"state":      {filter{states: []string{`odd" OR "1"="1`}}, all + ` AND ExecutionStatus = "Running" AND HoldfastState = "odd\" OR \"1\"=\"1"`},
		"apostrophe": {filter{topic: "it's"}, all + ` AND (HoldfastTopic = "it's" OR HoldfastKey = "it's")`},
		"since": {filter{since: time.Date(2026, 1, 2, 4, 4, 5, 0, time.FixedZone("", 3600))},
			all + ` AND StartTime >= "2026-01-02T03:04:05Z"`},
		"several": {filter{group: "g", key: "k", topic: "t"},
			types + ` AND (TaskQueue = "hf.g" OR TaskQueue STARTS_WITH "hf.g.") AND (HoldfastTopic = "t" OR HoldfastKey = "t") AND HoldfastKey = "k"`},
	} {
		t.Run(name, func(t *testing.T) {
			tc.f.prefix = "hf"
			require.Equal(t, tc.want, tc.f.query())
		})
	}
}

func TestFilterIsValidated(t *testing.T) {
	require.ErrorContains(t, filter{states: []string{"odd"}}.validate(), "want running, checking")
	require.Error(t, filter{key: "a\nb"}.validate())
}

func TestFilterKeeps(t *testing.T) {
	one := row{Tx: "1", State: "committed", Topics: []string{"a", "b"}, Keys: []string{"k"}}
	two := row{Tx: "2", State: "rolled-back", Topics: []string{"b"}, Keys: []string{"K"}}
	cohort := row{WorkflowID: "cohort/orders/7", Topics: []string{"a"}, Keys: []string{"k", "K", "1", "2", "b"}}
	all := []row{one, two}
	require.Equal(t, all, filter{}.keeps(cohort, all))
	require.Equal(t, []row{one}, filter{states: []string{"committed"}, topic: "a", key: "k"}.keeps(cohort, all))
	require.Equal(t, []row{two}, filter{key: "K"}.keeps(cohort, all), "not its neighbour in the cohort")
	require.Empty(t, filter{key: "other"}.keeps(cohort, all))
	require.Empty(t, filter{states: []string{"parked"}}.keeps(cohort, all))
	require.Equal(t, []row{two}, filter{key: "2"}.keeps(cohort, all), "by its ID")
	require.Equal(t, all, filter{topic: "b"}.keeps(cohort, all), "a topic that is not the first one's")
	require.Equal(t, []row{one}, filter{topic: "a"}.keeps(cohort, all))
	require.Empty(t, filter{topic: "k"}.keeps(cohort, all), "a key is no topic")
	require.Empty(t, filter{topic: "b"}.keeps(row{WorkflowID: "tx/orders/1", Keys: []string{"b"}}, []row{one}), "nor where there is one only")
	left := row{Tx: "3", State: "left"}
	require.Equal(t, all, filter{}.keeps(cohort, append(all, left)), "it is listed where it goes on")
	require.Equal(t, []row{left}, filter{states: []string{"left"}}.keeps(cohort, append(all, left)))
	before := row{Keys: []string{"before"}}
	require.Equal(t, []row{one}, filter{key: "before"}.keeps(before, []row{one}), "the local transaction changed its key")
}
