package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
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

var normalErrors = map[string]string{
	"":                         "",
	"sold out":                 "sold out",
	"order 17 not found":       "order <n> not found",
	"order A-1007 not found":   "order A-<n> not found",
	`no customer "ann"`:        "no customer <text>",
	`no customer "a\"nn" here`: "no customer <text> here",
	"bad key 'x y' in `t`":     "bad key <text> in <text>",
	"can't do what isn't":      "can't do what isn't",
	"'a' 'b' 'c'":              "<text> <text> <text>",
	"“a” and «b»":              "<text> and <text>",
	"id 550e8400-e29b-41d4-a716-446655440000 is there": "id <uuid> is there",
	"at 0xc000012345":                               "at <hex>",
	"sum 9f86d081884c7d65 differs":                  "sum <hex> differs",
	"deadbeef is a word without digits":             "deadbeef is a word without digits",
	"dial tcp 10.0.0.7:5432: refused":               "dial tcp <n>: refused",
	"took 1.5s, limit 1s":                           "took <n>s, limit <n>s",
	"a\n\tb \x1b[31mc":                              "a b [<n>mc",
	`cut in "the middle…`:                           "cut in <text>",
	`cut at the limit "` + strings.Repeat("a", 500): "cut at the limit <text>",
	`5" is an inch`:                                 `<n>" is an inch`,
	`ERROR: duplicate key value violates unique constraint "orders2_pkey" (SQLSTATE 23505)`:                    `ERROR: duplicate key value violates unique constraint "orders2_pkey" (SQLSTATE 23505)`,
	`insert or update on table "lines" violates foreign key constraint "fk_1" (SQLSTATE 23503): Key (id)=(42)`: `insert or update on table "lines" violates foreign key constraint "fk_1" (SQLSTATE 23503): Key (id)=(<n>)`,
	`null value in column "total" of relation "orders" violates not-null constraint (SQLSTATE 23502)`:          `null value in column "total" of relation "orders" violates not-null constraint (SQLSTATE 23502)`,
	`permission denied for table orders_2026 (SQLSTATE 42501)`:                                                 `permission denied for table orders_2026 (SQLSTATE 42501)`,
	`invalid input syntax for type integer: "A-1" (SQLSTATE 22P02)`:                                            `invalid input syntax for type integer: <text> (SQLSTATE 22P02)`,
	`ledger: HTTP 503 after 1.5s; request 0199`:                                                                `ledger: HTTP 503 after <n>s; request <n>`,
	`unexpected status code: 404 for /orders/17`:                                                               `unexpected status code: 404 for /orders/<n>`,
	`exit status 3`: `exit status 3`,
	`ORA-00942: table or view does not exist`: `ORA-00942: table or view does not exist`,
}

func TestNormalError(t *testing.T) {
	for raw, want := range normalErrors {
		require.Equal(t, want, normalError(raw), raw)
		require.Equal(t, want, normalError(want), "twice: %s", raw)
	}
}

func FuzzNormalError(f *testing.F) {
	for raw := range normalErrors {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		once := normalError(raw)
		if strings.ContainsAny(constants.ReplaceAllString(once, ""), "0123456789") || strings.ContainsAny(once, "\n\r\t\x00\x1b") {
			t.Errorf("%q: numbers or control characters are left in %q", raw, once)
		}
		if common := newCommonError(raw).String(); !hasError(raw, common) {
			t.Errorf("%q is not found by %q", raw, common)
		}
		if max(len(raw), len(once)) < cutLength && normalError(once) != once {
			t.Errorf("%q: %q, and then %q", raw, once, normalError(once))
		}
		if !hasError(raw, once) {
			t.Errorf("%q is not found by %q", raw, once)
		}
	})
}

// TestOnlyWhatDiffersIsReplaced: what all errors of a group have stays as it is, and the
// group's text finds them.
func TestOnlyWhatDiffersIsReplaced(t *testing.T) {
	for want, reasons := range map[string][]string{
		"dial tcp 10.0.0.7:5432: refused":                    {"dial tcp 10.0.0.7:5432: refused", "dial tcp 10.0.0.7:5432:  refused"},
		"dial tcp <n>: refused":                              {"dial tcp 10.0.0.7:5432: refused", "dial tcp 10.0.0.8:5432: refused"},
		`order <n> of customer "ann" needs 3 rows`:           {`order 1 of customer "ann" needs 3 rows`, `order 22 of customer "ann" needs 3 rows`},
		`order <n> of customer <text> needs 3 rows`:          {`order 1 of customer "ann" needs 3 rows`, `order 22 of customer "bob" needs 3 rows`},
		`no row in table "orders" with id <uuid> (code 409)`: {`no row in table "orders" with id 550e8400-e29b-41d4-a716-446655440000 (code 409)`, `no row in table "orders" with id 550e8400-e29b-41d4-a716-446655440001 (code 409)`},
		"<n> is literal":                                     {"<n> is literal"},
	} {
		var c counter
		for _, r := range reasons {
			c.count("error", deadRow{Reason: r})
		}
		groups := c.largest()
		require.Len(t, groups, 1, want)
		require.Equal(t, want, groups[0].Value)
		for _, r := range reasons {
			require.True(t, hasError(r, want), r)
		}
	}
	var c counter
	for _, table := range []string{"orders", "lines"} {
		for _, code := range []string{"23505", "23503"} {
			c.count("error", deadRow{Reason: `violates constraint "` + table + `" (SQLSTATE ` + code + `)`})
		}
	}
	require.Len(t, c.largest(), 4)
	require.False(t, hasError("order 17 of 3", "order <n> of 4"))
	require.True(t, hasError("order 17 of 3", "order <n> of 3"))
}

func TestDeadLettersAreCounted(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var c counter
	for i, reason := range []string{"no order 1", "no order 2", "sold out", "no order 3"} {
		r := deadRow{WorkflowID: "dead/p/" + reason[len(reason)-1:], Reason: reason, Started: now.Add(-time.Duration(i) * time.Hour)}
		c.count("error", r)
	}
	groups := c.largest()
	require.Equal(t, []deadGroup{
		{Value: "no order <n>", Count: 3, Example: "dead/p/1", Oldest: now.Add(-3 * time.Hour), Newest: now},
		{Value: "sold out", Count: 1, Example: "dead/p/t", Oldest: now.Add(-2 * time.Hour), Newest: now.Add(-2 * time.Hour)},
	}, groups)
	groups[0].Command = "list them"
	var out bytes.Buffer
	require.NoError(t, printGroups(&out, "error", groups[:1], now.Add(time.Minute)))
	require.Equal(t, "COUNT  ERROR         AGE             EXAMPLE\n3      no order <n>  1m00s to 3h01m  dead/p/1\n\nTo list them:\n  list them\n", out.String())
}

func TestTheCommandOfAGroup(t *testing.T) {
	d := deadFlags{consumer: "payments", states: []string{"parked", "waits"}, ages: ages{olderThan: time.Hour}, limit: 7}
	require.Equal(t, `holdfast dead list --consumer payments --error 'can'\''t find order <n>' --state parked,waits --older-than 1h0m0s`,
		d.command(suggester{}, "error", "can't find order <n>"))
	require.Equal(t, `holdfast dead list --consumer mails --state parked,waits --older-than 1h0m0s --prefix shop`, d.command(suggester{"shop"}, "consumer", "mails"))
	require.Equal(t, "holdfast dead list --topic order.placed", deadFlags{}.command(suggester{}, "topic", "order.placed"))
	require.Equal(t, "holdfast dead list --class timeout", deadFlags{}.command(suggester{}, "class", "timeout"))
	require.Equal(t, "holdfast dead list", deadFlags{}.command(suggester{}, "class", ""))
}

func TestJudge(t *testing.T) {
	died := func(n int) holdfast.Failure { return holdfast.Failure{Reason: "sold out", Redelivery: n} }
	for name, tc := range map[string]struct {
		update  string
		state   workflows.State
		failure holdfast.Failure
		want    verdict
		detail  string
		pending bool
	}{
		"handled":               {workflows.UpdateRedeliver, workflows.Handled, died(0), isHandled, "", false},
		"not answered":          {workflows.UpdateRedeliver, workflows.Redelivering, died(1), isRedelivered, "the consumer has not answered yet", true},
		"failed again":          {workflows.UpdateRedeliver, workflows.Parked, died(2), hasFailed, "sold out", false},
		"failed, policy waits":  {workflows.UpdateRedeliver, workflows.Waits, died(2), hasFailed, "sold out (the policy redelivers it later)", false},
		"failed, policy undoes": {workflows.UpdateRedeliver, workflows.Compensating, died(2), hasFailed, "sold out (the policy compensates it)", false},
		"failed, and another":   {workflows.UpdateRedeliver, workflows.Redelivering, died(3), hasFailed, "sold out (and it was redelivered again since)", false},
		"no queue":              {workflows.UpdateRedeliver, workflows.Parked, died(1), isRefused, "why", false},
		"discarded by another":  {workflows.UpdateRedeliver, workflows.Discarded, died(0), isSettled, "discarded", false},
		"compensated":           {workflows.UpdateCompensate, workflows.Compensated, died(0), isCompensated, "", false},
		"compensating":          {workflows.UpdateCompensate, workflows.Compensating, died(0), isUndoing, "why", true},
		"not compensated":       {workflows.UpdateCompensate, workflows.Parked, died(0), hasFailed, "why", false},
		"handled meanwhile":     {workflows.UpdateCompensate, workflows.Handled, died(0), isSettled, "handled", false},
		"discarded":             {workflows.UpdateDiscard, workflows.Discarded, died(0), isDiscarded, "", false},
		"not discarded":         {workflows.UpdateDiscard, workflows.Parked, died(0), isUnknown, "it is parked: why", false},
	} {
		t.Run(name, func(t *testing.T) {
			o := judge(tc.update, workflows.DeadLetterStatus{State: tc.state, Failure: tc.failure, Reason: "why"}, 2)
			require.Equal(t, outcome{Outcome: tc.want, Detail: tc.detail, pending: tc.pending, State: string(tc.state), Redelivery: 2}, o)
		})
	}
}

func TestNoOutcomeThatWasNotSeenIsASuccess(t *testing.T) {
	for v, want := range map[verdict][3]bool{ // waited, not waited, named
		isHandled: {}, isCompensated: {}, isDiscarded: {}, isRestarted: {},
		isRedelivered: {true, false, true}, isUndoing: {true, false, true}, isSettled: {false, false, true},
		hasFailed: {true, true, true}, isRefused: {true, true, true}, isUnknown: {true, true, true}, isUnsent: {true, true, true},
	} {
		o := outcome{Outcome: v}
		require.Equal(t, want, [3]bool{o.bad(true, false), o.bad(false, false), o.bad(true, true)}, v)
	}
	require.Equal(t, "4 dead letters: 2 handled, 1 failed again, 1 unknown",
		summarize("dead letter", []outcome{{Outcome: isUnknown}, {Outcome: isHandled}, {Outcome: hasFailed}, {Outcome: isHandled}}))
}

func TestWhatALostLetterGoesOnWith(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for state, want := range map[workflows.State]struct {
		state workflows.State
		why   string
	}{
		workflows.Parked:       {workflows.Parked, "its workflow was terminated, and started again by ann: oops"},
		workflows.Waits:        {workflows.Waits, "started again by ann: oops"},
		workflows.Handled:      {workflows.Handled, ""},
		workflows.Redelivering: {workflows.Parked, "redelivery 3 was not answered until then"},
		workflows.Compensating: {workflows.Parked, "its compensation was not over"},
	} {
		s := workflows.DeadLetterStatus{State: state, Redeliveries: 3, Actions: []string{"discard"}}
		takenUp(&s, "terminated", "ann", "oops", now)
		require.Equal(t, want.state, s.State, state)
		require.Contains(t, s.Reason, want.why, state)
		require.Empty(t, s.Actions)
		require.Equal(t, state == workflows.Handled, len(s.Story) == 0)
	}
}

// TestALostLetterIsNeverNew: where nobody can say what the last run knew, the
// next one does not begin with the policy, which could compensate what is to be
// discarded.
func TestALostLetterIsNeverNew(t *testing.T) {
	away := errors.New("no answer")
	died := holdfast.Failure{Consumer: "billing", Reason: "no such card", Redelivery: 2}
	in := workflows.DeadLetterInput{Letter: holdfast.DeadLetter{Failure: died, Policy: holdfast.Policy{Action: holdfast.PolicyCompensate}}}
	require.Equal(t, &workflows.DeadLetterStatus{State: workflows.Parked, Failure: died, Redeliveries: 2}, lastKnown(in, workflows.DeadLetterStatus{}, away))

	answered := workflows.DeadLetterStatus{State: workflows.Waits, Redeliveries: 5}
	require.Equal(t, &answered, lastKnown(in, answered, nil))

	in.Resumed = &workflows.DeadLetterStatus{State: workflows.Waits, Redeliveries: 4, Next: time.Now()}
	require.Equal(t, &answered, lastKnown(in, answered, nil))
	require.Equal(t, &workflows.DeadLetterStatus{State: workflows.Parked, Redeliveries: 4}, lastKnown(in, workflows.DeadLetterStatus{}, away))
}

// TestEditsFitAPayload: Temporal refuses more than 2 MiB, and JSON makes six
// bytes of some.
func TestEditsFitAPayload(t *testing.T) {
	for name, tc := range map[string]struct {
		body []byte
		text bool
	}{
		"text":            {[]byte(`{"amount": 5}`), true},
		"the longest":     {bytes.Repeat([]byte("a"), holdfast.MaxBody), true},
		"no text":         {[]byte{0xff, 0xfe}, false},
		"escaped too far": {bytes.Repeat([]byte("<"), holdfast.MaxBody), false},
	} {
		var req workflows.DeadLetterRequest
		setBody(&req, tc.body)
		if tc.text {
			require.Equal(t, string(tc.body), req.Text, name)
			require.Empty(t, req.Base64, name)
		} else {
			require.Equal(t, tc.body, req.Base64, name)
			require.Empty(t, req.Text, name)
		}
		sent, err := json.Marshal(req)
		require.NoError(t, err)
		require.Less(t, len(sent), 2<<20, name)
	}
}

func TestConfirmation(t *testing.T) {
	for answer, want := range map[string]error{"y\n": nil, "YES\n": nil, "n\n": errUnconfirmed, "\n": errUnconfirmed, "": errUnconfirmed, "yes please\n": errUnconfirmed} {
		var asked bytes.Buffer
		require.ErrorIs(t, confirmed(t.Context(), &asked, strings.NewReader(answer), "Discard 3 dead letters?"), want, answer)
		require.Equal(t, "Discard 3 dead letters? [y/N] ", asked.String())
	}
	in, w := io.Pipe() // nobody answers
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, confirmed(ctx, io.Discard, in, "?"), errUnconfirmed)
	require.NoError(t, w.Close())

	a := &app{Surroundings: Surroundings{In: strings.NewReader("y\n")}}
	b := &bulk{things: deadLetters, verb: "discard"}
	require.ErrorContains(t, a.confirm(t.Context(), b, 2, false), "this would discard 2 dead letters: add --yes")
	require.NoError(t, a.confirm(t.Context(), b, 1, false))
	require.NoError(t, a.confirm(t.Context(), b, 1, true))
	b.yes = true
	require.NoError(t, a.confirm(t.Context(), b, 2, false))
}

func TestDeadUsage(t *testing.T) {
	env := []string{"USER=ann", "TEMPORAL_ADDRESS=127.0.0.1:1"}
	for args, want := range map[string]string{
		"":                                        "say what to do: list, show, redeliver",
		"list --state odd":                        `state "odd"`,
		"list --limit 0":                          "--limit 0",
		"list --group-by age":                     "--group-by age",
		"list --older-than 2h --newer-than 1h":    "nothing is older than 2h0m0s and newer than 1h0m0s",
		"list --older-than -1h":                   "not negative",
		"list --class odd":                        `class "odd"`,
		"show":                                    "accepts 1 arg",
		"redeliver --reason x":                    "say which: IDs, filters such as --consumer, or --all",
		"discard --reason x":                      "say which",
		"redeliver 1 --topic t --reason x":        "give IDs or filters",
		"redeliver 1 --all --reason x":            "give IDs or filters",
		"redeliver 1":                             "--reason",
		"redeliver 1 2 --edit f --reason x":       "single ID",
		"redeliver 1 --content-type t --reason":   "needs an argument",
		"redeliver 1 --parallel 0 --reason x":     "--parallel 0",
		"redeliver 1 --wait -1s --reason x":       "--wait -1s",
		"redeliver --state handled --reason x":    "redeliver acts on parked, waits, failed",
		"discard --state redelivering --reason x": "add --force",
		"restart --state parked --reason x":       "restart acts on failed",
		"discard 1 --wait 1s --reason x":          "unknown flag: --wait",
	} {
		r := runProgram(t, env, append([]string{"dead"}, strings.Fields(args)...)...)
		require.Equal(t, exitUsage, r.status, args)
		require.Contains(t, r.err, want, args)
	}
	r := runProgram(t, env[1:], "dead", "redeliver", "1", "--reason", "x")
	require.Contains(t, r.err, "--operator")
	r = runProgram(t, env, "dead", "discard", "--all", "--dry-run")
	require.Contains(t, r.err, "Temporal at 127.0.0.1:1", "a dry run needs no reason")
}

func TestPolicyText(t *testing.T) {
	require.Equal(t, "wait for an operator; edits are allowed", policyText(holdfast.Policy{AllowEdits: true}))
	require.Equal(t, "redeliver after 1m00s, 1h00m, then wait for an operator",
		policyText(holdfast.Policy{Action: holdfast.PolicyRedeliver, Redeliver: []time.Duration{time.Minute, time.Hour}}))
}
