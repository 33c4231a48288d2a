package doctor

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/waits"
)

func TestLostConnectionFindings(t *testing.T) {
	lost := func(role string, ago time.Duration) []broker.ConnectionLosses {
		return []broker.ConnectionLosses{{Role: role, Count: 4, Since: at12.Add(-5 * time.Minute), Last: at12.Add(-ago), Reason: "EOF"}}
	}
	consumers := []broker.ConsumerStatus{{Name: "b"}, {Name: "a"}, {Name: "a"}}
	for name, c := range map[string]struct {
		p      broker.ProcessStatus
		level  text.Level
		detail string
	}{
		"well": {broker.ProcessStatus{Instance: "p"}, "", ""},
		"publishing": {broker.ProcessStatus{Instance: "p", Lost: lost(broker.RolePublishing, 3*time.Second), Consumers: consumers, Keepers: []broker.KeeperStatus{{Group: "orders"}}}, text.LevelProblem,
			"process p loses its connection for publishing again and again: at least 4 times since 2026-01-02 11:55:00 (5m00s), the last time 3s ago: EOF; meanwhile what group orders sends waits, and so do the retries, replies and dead letters of a, b"},
		"not any more": {broker.ProcessStatus{Instance: "p", Lost: lost(broker.RolePublishing, 3*time.Minute)}, text.LevelWarning,
			"process p loses its connection for publishing again and again: at least 4 times since 2026-01-02 11:55:00 (5m00s), not again for 3m00s: EOF; meanwhile what it sends waits"},
		"consuming": {broker.ProcessStatus{Instance: "p", Lost: lost(broker.RoleConsuming, time.Second), Consumers: consumers}, text.LevelProblem,
			"process p loses its connection for consuming again and again: at least 4 times since 2026-01-02 11:55:00 (5m00s), the last time 1s ago: EOF; meanwhile consumers a, b get nothing, and get again what they had"},
	} {
		t.Run(name, func(t *testing.T) {
			var f Findings
			f.lostConnections([]broker.ProcessStatus{{Instance: "other"}, c.p}, at12)
			if c.level == "" {
				require.Empty(t, f.All)
				return
			}
			require.Len(t, f.All, 1)
			require.Equal(t, c.level, f.All[0].Level)
			require.Equal(t, c.detail, f.All[0].Detail)
			require.Contains(t, f.All[0].Remedy, "RabbitMQ's log")
		})
	}
}

func TestLadderFindings(t *testing.T) {
	var f Findings
	f.ladders([]waits.Looked{
		{LadderQueue: broker.LadderQueue{Name: "x.retry.1m", Messages: 3, Seen: 3, Waits: []broker.LadderWait{
			{Consumer: "billing", Count: 2, Since: at12.Add(-time.Minute), Next: at12.Add(30 * time.Second)}, {Count: 1}}}},
		{LadderQueue: broker.LadderQueue{Name: "x.retry.1h", Messages: 9, Seen: 2, Waits: []broker.LadderWait{
			{Consumer: "billing", Count: 1, Since: at12.Add(-time.Hour), Next: at12.Add(time.Minute)}, {Consumer: "mail", Count: 1}}}},
		{LadderQueue: broker.LadderQueue{Name: "x.retry.5m", Messages: 1}, Err: errors.New("refused")},
	}, at12)
	require.Len(t, f.All, 3)
	require.Equal(t, text.LevelWarning, f.All[0].Level)
	require.Equal(t, "whose the messages in x.retry.5m are is not known: refused", f.All[0].Detail)
	require.Equal(t, "retries billing", f.All[1].Check)
	require.Equal(t, text.LevelWarning, f.All[1].Level)
	require.Equal(t, "at least 3 messages on its retry ladder; the oldest has failed for 1h00m; the next try is in 30s", f.All[1].Detail)
	require.Equal(t, text.LevelOK, f.All[2].Level)
	require.Equal(t, "at least 1 message on its retry ladder", f.All[2].Detail)
}

func TestConnectionFinding(t *testing.T) {
	for name, c := range map[string]struct {
		info  broker.Info
		level text.Level
		says  string
	}{
		"this machine":     {broker.Info{Where: "localhost:5672", Local: true}, text.LevelOK, "reached at localhost:5672"},
		"the network":      {broker.Info{Where: "rabbit:5672"}, text.LevelOK, "reached at rabbit:5672, not encrypted: passwords and messages cross the network in clear, unless something else encrypts it; see docs/tls.md"},
		"TLS":              {broker.Info{Where: "rabbit:5671", Encryption: "TLS 1.3", Expires: at12.Add(90 * 24 * time.Hour)}, text.LevelOK, "reached at rabbit:5671, encrypted by TLS 1.3"},
		"TLS, for a while": {broker.Info{Where: "rabbit:5671", Encryption: "TLS 1.3", Expires: at12.Add(30 * time.Hour)}, text.LevelWarning, "reached at rabbit:5671, encrypted by TLS 1.3; RabbitMQ's certificate is valid for 30h00m only"},
	} {
		var f Findings
		f.connection(c.info, at12)
		require.Len(t, f.All, 1, name)
		require.Equal(t, c.level, f.All[0].Level, name)
		require.Equal(t, c.says, f.All[0].Detail, name)
		require.Equal(t, c.level != text.LevelOK, f.All[0].Remedy != "", name)
	}
}
