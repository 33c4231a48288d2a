package deadletters

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
		f    Filter
		want string
	}{
		"open":     {Filter{}, open},
		"all":      {Filter{States: []string{"all"}}, all + ` AND ExecutionStatus != "ContinuedAsNew"`},
		"consumer": {Filter{Consumer: "payments"}, all + ` AND (WorkflowId STARTS_WITH "hf:dead/payments/" OR WorkflowId STARTS_WITH "dead/payments/") AND ExecutionStatus = "Running"`},
		"parked":   {Filter{States: []string{"parked"}}, all + ` AND (ExecutionStatus = "Running" AND HoldfastState = "parked")`},
		"handled":  {Filter{States: []string{"handled"}}, all + ` AND (ExecutionStatus = "Completed" AND HoldfastState = "handled")`},
		"lost":     {Filter{States: []string{"terminated"}}, all + ` AND ExecutionStatus = "Terminated"`},
		"several": {Filter{States: []string{"waits", "timed-out"}},
			all + ` AND ((ExecutionStatus = "Running" AND HoldfastState = "waits") OR ExecutionStatus = "TimedOut")`},
		"topic and key": {Filter{Topic: "order.placed", Key: "A-1"}, open + ` AND HoldfastTopic = "order.placed" AND HoldfastKey = "A-1"`},
		"quotes":        {Filter{Consumer: `a"b`, Topic: `a\`, Key: `a" OR "1"="1`}, open},
		"age":           {Filter{Before: at, After: at.Add(-time.Hour)}, open + ` AND StartTime < "2026-01-02T03:04:05Z" AND StartTime >= "2026-01-02T02:04:05Z"`},
		"not asked":     {Filter{Class: "timeout", ErrorText: "x"}, open},
	} {
		t.Run(name, func(t *testing.T) {
			tc.f.Prefix = "hf"
			require.Equal(t, tc.want, tc.f.query())
		})
	}
}

func TestDeadFilterIsValidated(t *testing.T) {
	require.NoError(t, Filter{States: States, Class: "timeout"}.Validate())
	require.ErrorContains(t, Filter{States: []string{"odd"}}.Validate(), "want parked, waits")
	require.ErrorContains(t, Filter{Class: "odd"}.Validate(), "want error, timeout")
	require.ErrorContains(t, Filter{Key: "a\nb"}.Validate(), "control characters")
}

func TestDeadFilterMatches(t *testing.T) {
	r := Row{owner: "payments", Topic: "order.placed", Key: "A-1", Class: "timeout", Reason: `order 17 of "ann" not found`}
	for name, f := range map[string]Filter{
		"all": {}, "consumer": {Consumer: "payments"}, "topic": {Topic: "order.placed"}, "key": {Key: "A-1"}, "class": {Class: "timeout"},
		"error": {ErrorText: "order 17 of"}, "error, as grouped": {ErrorText: "order <n> of <text> not found"}, "a part of it": {ErrorText: "<text> not"},
		"exactly": {ErrorIs: "order <n> of <text> not found"},
	} {
		require.True(t, f.matches(r), name)
	}
	for name, f := range map[string]Filter{
		"a longer consumer": {Consumer: "payment"}, "consumer": {Consumer: "Payments"}, "topic": {Topic: "order"}, "key": {Key: "a-1"}, "class": {Class: "error"},
		"another number": {ErrorText: "order 18 of"}, "half a number": {ErrorText: "order 1 of"},
		"exactly, but a part": {ErrorIs: "order <n> of <text>"}, "exactly, but it is a part": {ErrorIs: "no order <n> of <text> not found"},
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
