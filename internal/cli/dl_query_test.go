package cli

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDeadQuery(t *testing.T) {
	const all = `WorkflowType = "DeadLetter" AND TaskQueue = "hf/dead-letters"`
	const open = all + ` AND ExecutionStatus = "Running"`
	at := time.Date(2026, 1, 2, 4, 4, 5, 0, time.FixedZone("", 3600))
	for name, tc := range map[string]struct {
		f    deadFilter
		want string
	}{
		"open":     {deadFilter{}, open},
		"all":      {deadFilter{states: []string{"all"}}, all + ` AND ExecutionStatus != "ContinuedAsNew"`},
		"consumer": {deadFilter{consumer: "payments"}, all + ` AND (WorkflowId STARTS_WITH "hf:dead/payments/" OR WorkflowId STARTS_WITH "dead/payments/") AND ExecutionStatus = "Running"`},
		"parked":   {deadFilter{states: []string{"parked"}}, all + ` AND (ExecutionStatus = "Running" AND HoldfastState = "parked")`},
		"handled":  {deadFilter{states: []string{"handled"}}, all + ` AND (ExecutionStatus = "Completed" AND HoldfastState = "handled")`},
		"lost":     {deadFilter{states: []string{"terminated"}}, all + ` AND ExecutionStatus = "Terminated"`},
		"several": {deadFilter{states: []string{"waits", "timed-out"}},
			all + ` AND ((ExecutionStatus = "Running" AND HoldfastState = "waits") OR ExecutionStatus = "TimedOut")`},
		"topic and key": {deadFilter{topic: "order.placed", key: "A-1"}, open + ` AND HoldfastTopic = "order.placed" AND HoldfastKey = "A-1"`},
		"quotes":        {deadFilter{consumer: `a"b`, topic: `a\`, key: `a" OR "1"="1`}, open},
		"age":           {deadFilter{before: at, after: at.Add(-time.Hour)}, open + ` AND StartTime < "2026-01-02T03:04:05Z" AND StartTime >= "2026-01-02T02:04:05Z"`},
		"not asked":     {deadFilter{class: "timeout", errorText: "x"}, open},
	} {
		t.Run(name, func(t *testing.T) {
			tc.f.prefix = "hf"
			require.Equal(t, tc.want, tc.f.query())
		})
	}
}

func TestDeadFilterIsValidated(t *testing.T) {
	require.NoError(t, deadFilter{states: deadStates, class: "timeout"}.validate())
	require.ErrorContains(t, deadFilter{states: []string{"odd"}}.validate(), "want parked, waits")
	require.ErrorContains(t, deadFilter{class: "odd"}.validate(), "want error, timeout")
	require.ErrorContains(t, deadFilter{key: "a\nb"}.validate(), "control characters")
}

func TestDeadFilterMatches(t *testing.T) {
	r := deadRow{owner: "payments", Topic: "order.placed", Key: "A-1", Class: "timeout", Reason: `order 17 of "ann" not found`}
	for name, f := range map[string]deadFilter{
		"all": {}, "consumer": {consumer: "payments"}, "topic": {topic: "order.placed"}, "key": {key: "A-1"}, "class": {class: "timeout"},
		"error": {errorText: "order 17 of"}, "error, as grouped": {errorText: "order <n> of <text> not found"}, "a part of it": {errorText: "<text> not"},
	} {
		require.True(t, f.matches(r), name)
	}
	for name, f := range map[string]deadFilter{
		"a longer consumer": {consumer: "payment"}, "consumer": {consumer: "Payments"}, "topic": {topic: "order"}, "key": {key: "a-1"}, "class": {class: "error"},
		"another number": {errorText: "order 18 of"}, "half a number": {errorText: "order 1 of"},
	} {
		require.False(t, f.matches(r), name)
	}
}

func TestSplitDeadID(t *testing.T) {
	for id, want := range map[string][2]string{
		"dead/payments/1":       {"payments", "1"},
		"hf:dead/payments/1":    {"payments", "1"},
		"dead/payments/a/b//c":  {"payments", "a/b//c"},
		"dead/hf.half.orders/1": {"hf.half.orders", "1"},
		"dead/payments":         {"", "dead/payments"},
		"tx/payments/1":         {"", "tx/payments/1"},
	} {
		owner, message := splitDeadID(id)
		require.Equal(t, want, [2]string{owner, message}, id)
	}
}
