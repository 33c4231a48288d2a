package doctor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

func TestDatabasesFinding(t *testing.T) {
	process := func(name string, dbs ...broker.DatabaseStatus) broker.ProcessStatus {
		return broker.ProcessStatus{Instance: name, Databases: dbs}
	}
	a := process("a", broker.DatabaseStatus{Identity: "X", Group: "orders", Consumers: []string{"audit"}})
	b := process("b", broker.DatabaseStatus{Identity: "X", Group: "orders"}, broker.DatabaseStatus{Identity: "Z", Consumers: []string{"audit"}})
	c := process("c", broker.DatabaseStatus{Identity: "Y", Group: "orders"})
	old := process("old")
	levels := func(answers ...broker.ProcessStatus) (out []text.Level, said []string) {
		f := Findings{part: "P"}
		f.databases(answers)
		for _, x := range f.All {
			require.Equal(t, x.Level != text.LevelOK, x.Remedy != "")
			out, said = append(out, x.Level), append(said, x.Detail)
		}
		return out, said
	}
	got, _ := levels(old)
	require.Empty(t, got)
	got, said := levels(a, old)
	require.Equal(t, []text.Level{text.LevelOK}, got)
	require.Equal(t, []string{"X in a"}, said)
	got, said = levels(a, c)
	require.Equal(t, []text.Level{text.LevelProblem}, got)
	require.Equal(t, "processes of group orders use different databases: X in a; Y in c", said[0])
	got, said = levels(a, b)
	require.Equal(t, []text.Level{text.LevelOK, text.LevelProblem}, got)
	require.Contains(t, said[1], "processes of consumer audit use different databases: X in a; Z in b")
	got, said = levels(process("d", broker.DatabaseStatus{Identity: "X", Group: "orders", Clock: "this process's clock is 31 days ahead of PostgreSQL's"}))
	require.Equal(t, []text.Level{text.LevelOK, text.LevelProblem}, got)
	require.Equal(t, "this process's clock is 31 days ahead of PostgreSQL's", said[1])
}

func TestSameNamesFinding(t *testing.T) {
	process := func(name, group string) broker.ProcessStatus {
		return broker.ProcessStatus{Instance: name, Databases: []broker.DatabaseStatus{{Group: group}}, Keepers: []broker.KeeperStatus{{Group: group}}}
	}
	f := Findings{part: "P"}
	f.sameNames([]broker.ProcessStatus{process("a", "orders"), process("b", "orders"), process("a", "goods"), process("c", ""), process("c", "")})
	require.Empty(t, f.All)
	f.sameNames([]broker.ProcessStatus{process("a", "orders"), process("a", "orders"), process("a", "goods")})
	require.Len(t, f.All, 1)
	require.Equal(t, text.LevelWarning, f.All[0].Level)
	require.Equal(t, "2 processes of group orders have the Options.Instance a: nobody can tell them apart", f.All[0].Detail)
}

func TestClockFinding(t *testing.T) {
	for name, tc := range map[string]struct {
		theirs time.Duration
		level  text.Level
		detail string
	}{
		"right":        {0, text.LevelOK, "agrees with this machine's"},
		"nearly":       {time.Minute, text.LevelOK, "agrees with this machine's"},
		"a slow query": {-30 * time.Second, text.LevelOK, "agrees with this machine's"},
		"behind":       {-31 * 24 * time.Hour, text.LevelProblem, "this machine's clock is 31d00h ahead of PostgreSQL's"},
		"ahead":        {2*time.Hour + 2*time.Second, text.LevelProblem, "this machine's clock is 2h00m behind PostgreSQL's"},
	} {
		t.Run(name, func(t *testing.T) {
			got := only(t, func(f *Findings) { f.clock("PostgreSQL", at12, at12.Add(2*time.Second), at12.Add(tc.theirs)) })
			require.Equal(t, tc.level, got.Level)
			require.Equal(t, tc.detail, got.Detail)
		})
	}
}
