package transactions

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQuery(t *testing.T) {
	const types = `WorkflowType IN ("Transaction", "Recovery")`
	const all = types + ` AND TaskQueue STARTS_WITH "hf."`
	for name, tc := range map[string]struct {
		f    Filter
		want string
	}{
		"all":     {Filter{}, all},
		"group":   {Filter{Group: "orders"}, types + ` AND (TaskQueue = "hf.orders" OR TaskQueue STARTS_WITH "hf.orders.")`},
		"running": {Filter{States: []string{"running"}}, all + ` AND ExecutionStatus = "Running" AND HoldfastState IS NULL`},
		"parked":  {Filter{States: []string{"parked"}}, all + ` AND ExecutionStatus = "Running" AND HoldfastState = "parked"`},
		"committed": {Filter{States: []string{"committed"}},
			all + ` AND ExecutionStatus = "Completed" AND (HoldfastState IS NULL OR HoldfastState = "committed" OR (WorkflowId STARTS_WITH "hf:cohort/" OR WorkflowId STARTS_WITH "cohort/" OR WorkflowId STARTS_WITH "hf:recovery/" OR WorkflowId STARTS_WITH "recovery/"))`},
		"terminated": {Filter{States: []string{"terminated"}}, all + ` AND ExecutionStatus = "Terminated"`},
		"timed out":  {Filter{States: []string{"timed-out"}}, all + ` AND ExecutionStatus = "TimedOut"`},
		"topic":      {Filter{Topic: "order.placed"}, all + ` AND (HoldfastTopic = "order.placed" OR HoldfastKey = "order.placed")`},
		"key":        {Filter{Key: "A-1"}, all + ` AND HoldfastKey = "A-1"`},
		"ID":         {Filter{Key: "0190a5b4-0000-7000-8000-00000000002a"}, all + ` AND (HoldfastKey = "0190a5b4-0000-7000-8000-00000000002a" OR HoldfastKey = "00000000002a")`},
		"quotes":     {Filter{Key: `a" OR "1"="1`}, all},
		"backslash":  {Filter{Topic: `a\`}, all},
		"state":      {Filter{States: []string{`odd" OR "1"="1`}}, all + ` AND ExecutionStatus = "Running" AND HoldfastState = "odd\" OR \"1\"=\"1"`},
		"apostrophe": {Filter{Topic: "it's"}, all + ` AND (HoldfastTopic = "it's" OR HoldfastKey = "it's")`},
		"since": {Filter{Since: time.Date(2026, 1, 2, 4, 4, 5, 0, time.FixedZone("", 3600))},
			all + ` AND StartTime >= "2026-01-02T03:04:05Z"`},
		"several": {Filter{Group: "g", Key: "k", Topic: "t"},
			types + ` AND (TaskQueue = "hf.g" OR TaskQueue STARTS_WITH "hf.g.") AND (HoldfastTopic = "t" OR HoldfastKey = "t") AND HoldfastKey = "k"`},
	} {
		t.Run(name, func(t *testing.T) {
			tc.f.Prefix = "hf"
			require.Equal(t, tc.want, tc.f.Query())
		})
	}
}

func TestFilterIsValidated(t *testing.T) {
	require.ErrorContains(t, Filter{States: []string{"odd"}}.Validate(), "want running, checking")
	require.Error(t, Filter{Key: "a\nb"}.Validate())
}

func TestFilterKeeps(t *testing.T) {
	one := Row{Tx: "1", State: "committed", Topics: []string{"a", "b"}, Keys: []string{"k"}}
	two := Row{Tx: "2", State: "rolled-back", Topics: []string{"b"}, Keys: []string{"K"}}
	cohort := Row{WorkflowID: "cohort/orders/7", Topics: []string{"a"}, Keys: []string{"k", "K", "1", "2", "b"}}
	all := []Row{one, two}
	require.Equal(t, all, Filter{}.keeps(cohort, all))
	require.Equal(t, []Row{one}, Filter{States: []string{"committed"}, Topic: "a", Key: "k"}.keeps(cohort, all))
	require.Equal(t, []Row{two}, Filter{Key: "K"}.keeps(cohort, all), "not its neighbour in the cohort")
	require.Empty(t, Filter{Key: "other"}.keeps(cohort, all))
	require.Empty(t, Filter{States: []string{"parked"}}.keeps(cohort, all))
	require.Equal(t, []Row{two}, Filter{Key: "2"}.keeps(cohort, all), "by its ID")
	id := "0190a5b4-0000-7000-8000-00000000002a"
	short := Row{Tx: id, State: "committed"}
	for _, known := range []Row{{WorkflowID: cohort.WorkflowID, Keys: []string{"00000000002a"}}, {WorkflowID: cohort.WorkflowID, Keys: []string{id}}} {
		require.True(t, Filter{Key: id}.matches(known))
		require.Equal(t, []Row{short}, Filter{Key: id}.keeps(known, []Row{one, short}))
		require.Empty(t, Filter{Key: "00000000002a"}.keeps(known, []Row{one, short}), "what finds an ID is no key")
	}
	require.False(t, Filter{Key: id}.matches(Row{WorkflowID: "tx/orders/1", Keys: []string{"00000000002a"}}), "only a shared workflow has it")
	require.Equal(t, all, Filter{Topic: "b"}.keeps(cohort, all), "a topic that is not the first one's")
	require.Equal(t, []Row{one}, Filter{Topic: "a"}.keeps(cohort, all))
	require.Empty(t, Filter{Topic: "k"}.keeps(cohort, all), "a key is no topic")
	require.Empty(t, Filter{Topic: "b"}.keeps(Row{WorkflowID: "tx/orders/1", Keys: []string{"b"}}, []Row{one}), "nor where there is one only")
	left := Row{Tx: "3", State: "left"}
	require.Equal(t, all, Filter{}.keeps(cohort, append(all, left)), "it is listed where it goes on")
	require.Equal(t, []Row{left}, Filter{States: []string{"left"}}.keeps(cohort, append(all, left)))
	before := Row{Keys: []string{"before"}}
	require.Equal(t, []Row{one}, Filter{Key: "before"}.keeps(before, []Row{one}), "the local transaction changed its key")
}
