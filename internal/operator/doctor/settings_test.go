package doctor

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// good are PostgreSQL's settings as they come.
func good() settings {
	return settings{Fsync: "on", SynchronousCommit: "on", FullPageWrites: "on", ReadOnly: "off"}
}

// TestSettings: each setting that a guarantee needs is judged, by itself.
func TestSettings(t *testing.T) {
	for says, c := range map[string]struct {
		change func(*settings)
		level  text.Level
	}{
		"commits are kept":           {func(*settings) {}, text.LevelOK},
		"fsync is off":               {func(s *settings) { s.Fsync = "off" }, text.LevelProblem},
		"wait for walproposer":       {func(s *settings) { s.Fsync, s.Standbys = "off", "walproposer" }, text.LevelWarning},
		"is a standby":               {func(s *settings) { s.Recovery = true }, text.LevelProblem},
		"synchronous_commit is off":  {func(s *settings) { s.SynchronousCommit = "off" }, text.LevelProblem},
		"full_page_writes is off":    {func(s *settings) { s.FullPageWrites = "off" }, text.LevelWarning},
		"read_only is on":            {func(s *settings) { s.ReadOnly = "on" }, text.LevelWarning},
		"synchronous_commit is loca": {func(s *settings) { s.SynchronousCommit, s.Standbys = "local", "a" }, text.LevelWarning},
		"statement_timeout is 100ms": {func(s *settings) { s.Statement = 100 }, text.LevelWarning},
		"session_timeout is 1s":      {func(s *settings) { s.Idle = 1000 }, text.LevelWarning},
		"transaction_timeout is 1s":  {func(s *settings) { s.Transaction = 1000 }, text.LevelWarning},
		"is kept (fsync":             {func(s *settings) { s.SynchronousCommit = "remote_apply" }, ""},
	} {
		f, s := Findings{part: "PostgreSQL"}, good()
		c.change(&s)
		f.judge(s)
		require.Len(t, f.All, 1, says)
		if c.level == "" {
			require.Equal(t, text.LevelOK, f.All[0].Level)
			continue
		}
		require.Equal(t, c.level, f.All[0].Level, says)
		require.Contains(t, f.All[0].Detail, says)
		require.Equal(t, c.level != text.LevelOK, f.All[0].Remedy != "")
	}
}

// TestFsyncOffBesideALocalCommit: a standby's name says nothing where commits do not wait for it.
func TestFsyncOffBesideALocalCommit(t *testing.T) {
	for _, commit := range []string{"off", "local"} {
		f, s := Findings{part: "PostgreSQL"}, good()
		s.Fsync, s.Standbys, s.SynchronousCommit = "off", "walproposer", commit
		f.judge(s)
		require.Equal(t, text.LevelProblem, f.All[0].Level)
		require.Contains(t, f.All[0].Detail, "fsync is off: ")
	}
}

func TestRetentionAndMessageSize(t *testing.T) {
	for kept, level := range map[time.Duration]text.Level{0: text.LevelOK, time.Hour: text.LevelWarning, 24 * time.Hour: text.LevelOK} {
		f := Findings{}
		f.retention("n", kept)
		require.Equal(t, level, f.All[0].Level, kept)
	}
	for _, c := range []struct {
		err   error
		level text.Level
	}{{nil, text.LevelOK}, {fmt.Errorf("%w: x", holdfast.ErrTooLarge), text.LevelProblem}, {errors.New("away"), text.LevelWarning}} {
		f := Findings{}
		f.messageSize(c.err)
		require.Equal(t, c.level, f.All[0].Level, c.err)
	}
}
