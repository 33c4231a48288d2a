package doctor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

func TestSigningFindings(t *testing.T) {
	of := func(name string, s *broker.SigningStatus) broker.ProcessStatus {
		return broker.ProcessStatus{Instance: name, Signing: s}
	}
	on := &broker.SigningStatus{Mode: holdfast.SigningOn, Key: "7"}
	required := &broker.SigningStatus{Mode: holdfast.SigningRequired, Key: "8"}
	for name, tc := range map[string]struct {
		answers []broker.ProcessStatus
		level   text.Level
		detail  string
	}{
		"nobody signs":     {[]broker.ProcessStatus{of("a", nil)}, "", ""},
		"nobody answers":   {nil, "", ""},
		"all sign":         {[]broker.ProcessStatus{of("a", on), of("b", on), of("c", required)}, text.LevelOK, "on in 2 processes, required in 1 process; key 7, 8"},
		"one does not":     {[]broker.ProcessStatus{of("a", on), of("b", nil)}, text.LevelWarning, "b does not sign control records; others do"},
		"and is refused":   {[]broker.ProcessStatus{of("a", required), of("b", nil)}, text.LevelProblem, "what b sends is refused by a: it is not signed"},
		"a hostile answer": {[]broker.ProcessStatus{of("a", &broker.SigningStatus{Mode: "on\x1b[2J"})}, text.LevelOK, "on[2J in 1 process"},
	} {
		got := only(t, func(f *Findings) { f.signing(tc.answers, at12) })
		require.Equal(t, tc.level, got.Level, name)
		require.Equal(t, tc.detail, got.Detail, name)
	}
	f := Findings{part: "RabbitMQ"}
	f.signing([]broker.ProcessStatus{of("a", &broker.SigningStatus{Mode: holdfast.SigningRequired, Refused: 3, Last: at12.Add(-time.Hour), From: "holdfast.half", Why: "it is not signed"}),
		of("b", &broker.SigningStatus{Mode: holdfast.SigningOn, Unsigned: 1, Last: at12.Add(-time.Hour), From: "holdfast.half", Why: "it is not signed"})}, at12)
	require.Len(t, f.All, 3)
	require.Equal(t, "process a refused 3 records, since their signatures do not count; the last one at 2026-01-02 11:00:00, through the exchange holdfast.half: it is not signed", f.All[0].Detail)
	require.Equal(t, "refused-signature", f.All[0].Runbook())
	require.Equal(t, text.LevelOK, f.All[1].Level)
	require.Contains(t, f.All[1].Detail, "process b took 1 record without a signature that counts, since it is not required; the last one at")
}

// Processes with unrelated keys all sign, and nothing that one writes would count in another.
func TestOtherSigningKeys(t *testing.T) {
	for name, tc := range map[string]struct {
		why   string
		ago   time.Duration
		level text.Level
	}{
		"no such key":    {`holdfast: the signature is not genuine: keyring /k has no key "2"`, time.Minute, text.LevelWarning},
		"another one":    {"holdfast: the signature is not genuine: key 2 makes another one of this record", time.Minute, text.LevelWarning},
		"long ago":       {"holdfast: the signature is not genuine: key 2 makes another one of this record", 2 * time.Hour, text.LevelOK},
		"not signed":     {"holdfast: the signature is not genuine: it is not signed", time.Minute, text.LevelOK},
		"a hostile name": {`holdfast: the signature is not genuine: keyring /k has no key "it is not signed"`, time.Minute, text.LevelWarning},
	} {
		f := Findings{part: "RabbitMQ"}
		f.signing([]broker.ProcessStatus{{Instance: "a", Signing: &broker.SigningStatus{Mode: holdfast.SigningOn, Key: "1", Unsigned: 2,
			Last: at12.Add(-tc.ago), From: "holdfast.half", Why: tc.why}}}, at12)
		require.Len(t, f.All, 2, name)
		require.Equal(t, tc.level, f.All[0].Level, name)
		require.Equal(t, tc.level == text.LevelWarning, f.All[0].Check == "other signing keys", name)
		require.Equal(t, tc.level == text.LevelWarning, f.All[0].Runbook() == "refused-signature", name)
	}
}
