package doctor

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
)

// lately is when hand-overs began to fail in these tests.
var lately = time.Date(2026, 3, 4, 23, 59, 58, 0, time.UTC)

var at12 = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// only returns the only finding that look makes, or none, and asserts that
// whatever is wrong has a remedy.
func only(t *testing.T, look func(*Findings)) Finding {
	t.Helper()
	f := Findings{part: "P"}
	look(&f)
	require.LessOrEqual(t, len(f.All), 1)
	if len(f.All) == 0 {
		return Finding{}
	}
	require.Equal(t, f.All[0].Level != text.LevelOK, f.All[0].Remedy != "")
	return f.All[0]
}

func TestProcessesFinding(t *testing.T) {
	var seven []broker.ProcessStatus
	for n := range 7 {
		seven = append(seven, broker.ProcessStatus{Instance: fmt.Sprintf("p%d", n)})
	}
	for name, tc := range map[string]struct {
		answers []broker.ProcessStatus
		err     error
		level   text.Level
		detail  string
	}{
		"none":  {nil, nil, text.LevelOK, "none answers"},
		"one":   {[]broker.ProcessStatus{{Instance: "a"}}, nil, text.LevelOK, "1 process answering: a"},
		"seven": {seven, nil, text.LevelOK, "7 processes answering: p0, p1, p2, p3, p4 and 2 more"},
		"error": {seven, errors.New("alarm"), text.LevelWarning, "unknown: alarm"},
	} {
		t.Run(name, func(t *testing.T) {
			got := only(t, func(f *Findings) { f.processes(tc.answers, tc.err) })
			require.Equal(t, tc.level, got.Level)
			require.Equal(t, tc.detail, got.Detail)
		})
	}
}

func TestSharedQueuesFinding(t *testing.T) {
	process := func(instance, consumer string, topics ...string) broker.ProcessStatus {
		return broker.ProcessStatus{Instance: instance, Consumers: []broker.ConsumerStatus{{Name: consumer, Topics: topics}}}
	}
	for name, tc := range map[string]struct {
		answers []broker.ProcessStatus
		detail  string
	}{
		"the same":         {[]broker.ProcessStatus{process("p", "c", "a", "b"), process("q", "c", "b", "a")}, ""},
		"an older version": {[]broker.ProcessStatus{process("p", "c", "a"), process("q", "c")}, ""},
		"others":           {[]broker.ProcessStatus{process("p", "c", "a"), process("q", "d", "b")}, ""},
		"another": {[]broker.ProcessStatus{process("p", "c", "a", "b"), process("q", "c", "c")},
			"processes of consumer c share a queue, and listen to different topics: p listens to a, b; q listens to c; what one of them gets that is for another becomes a dead letter"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tc.detail, only(t, func(f *Findings) { f.sharedQueues(tc.answers) }).Detail)
		})
	}
}

func TestBreakerFinding(t *testing.T) {
	closed := broker.ConsumerStatus{Name: "c", Breaker: broker.BreakerClosed, Handling: 2, Error: "old"}
	open := broker.ConsumerStatus{Name: "c", Breaker: broker.BreakerOpen, Since: at12.Add(-5 * time.Minute), Error: "bank away"}
	later := broker.ConsumerStatus{Name: "c", Breaker: broker.BreakerOpen, Since: at12.Add(-time.Second), Error: "bank on fire"}
	probing := broker.ConsumerStatus{Name: "c", Breaker: broker.BreakerProbing, Since: at12.Add(-time.Hour), Error: "bank away"}
	for name, tc := range map[string]struct {
		of      []broker.ConsumerStatus
		readers int
		level   text.Level
		detail  string
	}{
		"nobody":      {nil, 0, "", ""},
		"no answer":   {nil, 1, text.LevelWarning, "unknown: no process with it answers"},
		"closed":      {[]broker.ConsumerStatus{closed, closed}, 2, text.LevelOK, "closed in 2 processes; 4 messages in work"},
		"some silent": {[]broker.ConsumerStatus{closed}, 3, text.LevelOK, "closed in 1 process, 2 more did not answer; 2 messages in work"},
		"open":        {[]broker.ConsumerStatus{closed, open}, 1, text.LevelWarning, "open since 2026-01-02 11:55:00 (5m00s) in 1 of 2 processes: last error: bank away"},
		"all open":    {[]broker.ConsumerStatus{later, open}, 0, text.LevelWarning, "open since 2026-01-02 11:55:00 (5m00s) in 2 of 2 processes: last error: bank on fire"},
		"probing":     {[]broker.ConsumerStatus{closed, probing}, 2, text.LevelWarning, "probing since 2026-01-02 11:00:00 (1h00m) in 1 of 2 processes: last error: bank away"},
		"both":        {[]broker.ConsumerStatus{probing, open}, 1, text.LevelWarning, "open since 2026-01-02 11:55:00 (5m00s) in 1 of 2 processes: last error: bank away"},
		"bare":        {[]broker.ConsumerStatus{{Breaker: broker.BreakerOpen}}, 0, text.LevelWarning, "open in 1 of 1 process"},
		"unheard of":  {[]broker.ConsumerStatus{{Breaker: "ajar"}}, 1, text.LevelOK, "closed in 1 process; 0 messages in work"},
	} {
		t.Run(name, func(t *testing.T) {
			got := only(t, func(f *Findings) { f.breaker("c", tc.of, tc.readers, at12) })
			require.Equal(t, tc.level, got.Level)
			require.Equal(t, tc.detail, got.Detail)
		})
	}
}

func TestKeeperFinding(t *testing.T) {
	at := func(name string, k broker.KeeperStatus) broker.ProcessStatus {
		k.Group, k.CheckAfter = "g", 10*time.Second
		return broker.ProcessStatus{Instance: name, Keepers: []broker.KeeperStatus{{Group: "other", Active: true, Held: 99}, k}}
	}
	idle := at("idle", broker.KeeperStatus{Subscribed: true})
	for name, tc := range map[string]struct {
		answers []broker.ProcessStatus
		readers int
		level   text.Level
		detail  string
	}{
		"nobody":    {nil, 0, "", ""},
		"no answer": {nil, 1, text.LevelWarning, "unknown: no process with it answers"},
		"others":    {[]broker.ProcessStatus{{Keepers: []broker.KeeperStatus{{Group: "other"}}}}, 1, text.LevelWarning, "unknown: no process with it answers"},
		"none yet":  {[]broker.ProcessStatus{idle, idle}, 2, text.LevelOK, "nothing came to any of 2 yet"},
		"empty":     {[]broker.ProcessStatus{idle, at("a", broker.KeeperStatus{Active: true})}, 2, text.LevelOK, "a holds 0 records, 0 half messages undecided"},
		"holding": {[]broker.ProcessStatus{idle, at("a", broker.KeeperStatus{Active: true, Held: 3, Undecided: 1, OldestAge: 30 * time.Second})}, 2,
			text.LevelOK, "a holds 3 records, 1 half message undecided, the oldest for 30s"},
		"stuck": {[]broker.ProcessStatus{idle, at("a", broker.KeeperStatus{Active: true, Held: 3, Undecided: 2, OldestAge: 31 * time.Second, KeeperCounts: broker.KeeperCounts{Failed: 7}})}, 2,
			text.LevelWarning, "a holds 3 records, 2 half messages undecided, the oldest for 31s; 7 times a half message was not taken over"},
		"failing": {[]broker.ProcessStatus{at("a", broker.KeeperStatus{Active: true, Held: 3, Undecided: 2, FailingSince: lately, LastError: "refused"})}, 1,
			text.LevelProblem, "hand-overs fail since 2026-03-04 23:59:58 (1m00s), 2 half messages wait: refused"},
		"without Temporal": {[]broker.ProcessStatus{at("a", broker.KeeperStatus{Active: true, Unable: "it has no Temporal"})}, 1,
			text.LevelOK, "a holds 0 records, 0 half messages undecided; it could not hand over what stays undecided: it has no Temporal"},
		"waiting for Temporal": {[]broker.ProcessStatus{at("a", broker.KeeperStatus{Active: true, Held: 1, Undecided: 1, FailingSince: lately, Unable: "it has no Temporal", LastError: "none"})}, 1,
			text.LevelProblem, "hand-overs fail since 2026-03-04 23:59:58 (1m00s), 1 half message waits: none"},
	} {
		t.Run(name, func(t *testing.T) {
			got := only(t, func(f *Findings) {
				f.keeper(processes.Kept("g", 1, broker.QueueInfo{Exists: true, Consumers: tc.readers}, tc.answers), lately.Add(time.Minute))
			})
			require.Equal(t, tc.level, got.Level)
			require.Equal(t, tc.detail, got.Detail)
		})
	}
}

func TestFailureQueuesFindings(t *testing.T) {
	require.Equal(t, []string{"x.dead", "x.dead.oversized", "x.retry.10s", "x.retry.30s", "x.retry.1m", "x.retry.5m", "x.retry.15m", "x.retry.1h"}, failureQueues("x.dead", "x", nil))
	custom := []broker.ProcessStatus{{Consumers: []broker.ConsumerStatus{{Delays: []time.Duration{time.Minute, 90 * time.Second}}}}}
	require.Contains(t, failureQueues("x.dead", "x", custom), "x.retry.1m30s")
	require.Len(t, failureQueues("x.dead", "x", custom), 9)
	var queues []broker.QueueInfo
	for _, name := range failureQueues("x.dead", "x", nil) {
		queues = append(queues, broker.QueueInfo{Name: name})
	}
	require.Equal(t, "none waits for a delay of the default ladder, or of a running consumer's", only(t, func(f *Findings) { f.retries(queues[2:]) }).Detail)
	queues[2].Messages, queues[7].Messages = 2, 1
	require.Equal(t, "3 waiting for a delay: 2 of 10s, 1 of 1h", only(t, func(f *Findings) { f.retries(queues[2:]) }).Detail)
	var f Findings
	f.failures(queues)
	require.Len(t, f.All, 3)
}

func TestOpenLettersFinding(t *testing.T) {
	type counts = map[workflows.State]int64
	for name, tc := range map[string]struct {
		counts  counts
		pollers int
		levels  []text.Level
		detail  string
	}{
		"none":       {nil, 0, []text.Level{text.LevelOK}, "none waits for an operator"},
		"one":        {counts{workflows.Parked: 1}, 1, []text.Level{text.LevelWarning}, "1 dead letter waiting for an operator"},
		"unserved":   {counts{workflows.Parked: 1}, 0, []text.Level{text.LevelWarning, text.LevelProblem}, "1 dead letter waiting for an operator"},
		"unknown":    {counts{workflows.Parked: 1}, -1, []text.Level{text.LevelWarning}, "1 dead letter waiting for an operator"},
		"on its way": {counts{workflows.Redelivering: 2}, 1, []text.Level{text.LevelOK}, "none waits for an operator; 2 being redelivered"},
		"all": {counts{workflows.Parked: 4, workflows.Waits: 3, workflows.Redelivering: 2, workflows.Compensating: 1}, 1, []text.Level{text.LevelWarning},
			"4 dead letters waiting for an operator; 3 waiting for the next redelivery; 2 being redelivered; 1 being compensated"},
	} {
		t.Run(name, func(t *testing.T) {
			var f Findings
			f.openLetters(tc.counts, "x/dead-letters", tc.pollers)
			require.Equal(t, tc.detail, f.All[0].Detail)
			var got []text.Level
			for _, found := range f.All {
				got = append(got, found.Level)
				require.Equal(t, found.Level != text.LevelOK, found.Remedy != "")
			}
			require.Equal(t, tc.levels, got)
		})
	}
}
