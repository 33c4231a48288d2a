package databases

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// at is a reading after so much time, of clocks that are off by so much.
func at(after, process, db time.Duration) reading {
	now := time.Now().Add(after)
	return reading{at: now, process: now.Add(process), db: now.Add(db)}
}

func TestDatabaseClock(t *testing.T) {
	const day = 24 * time.Hour
	t.Run("right", func(t *testing.T) {
		var c dbClock
		require.False(t, c.take(at(0, 0, 30*time.Second)))
		require.False(t, c.due(time.Hour), "nothing is deleted at the start")
		require.False(t, c.take(at(59*time.Minute, 0, 30*time.Second)))
		require.False(t, c.due(time.Hour))
		c.take(at(61*time.Minute, 0, 0))
		require.True(t, c.due(time.Hour))
		require.False(t, c.due(time.Hour))
		c.take(at(122*time.Minute, 0, 0))
		require.True(t, c.due(time.Hour))
		require.Zero(t, c.jumped)
	})
	t.Run("wrong, and set right", func(t *testing.T) {
		var c dbClock
		require.True(t, c.take(at(0, 31*day, 0)))
		require.Equal(t, "this process's clock is 31 days ahead of PostgreSQL's: "+
			"set the wrong one right; no old rows are deleted until then", c.problem.String())
		require.False(t, c.take(at(2*time.Hour, 31*day+time.Second, 0)), "it is told once")
		require.False(t, c.due(time.Hour))
		require.True(t, c.take(at(3*time.Hour, -2*time.Minute, 0)), "wrong in another way")
		require.Contains(t, c.problem.String(), "2m0s behind")
		require.False(t, c.due(time.Hour))
		require.True(t, c.take(at(4*time.Hour, 0, 0)))
		require.Empty(t, c.problem.String())
		require.True(t, c.due(time.Hour))
	})
	t.Run("both jump together", func(t *testing.T) { // one machine
		var c dbClock
		c.take(at(0, 0, 0))
		require.True(t, c.take(at(2*time.Hour, 31*day, 31*day)))
		require.Contains(t, c.problem.String(), "31 days forward")
		require.False(t, c.due(time.Hour))
		c.take(at(3*time.Hour, 31*day, 31*day))
		require.True(t, c.due(time.Hour))
		require.InDelta(t, 31*day, c.jumped, float64(time.Second), "a row may look older by that than it is")
		require.True(t, c.take(at(4*time.Hour, 0, 0)))
		require.Contains(t, c.problem.String(), "31 days back")
		require.False(t, c.due(time.Hour))
		require.InDelta(t, 31*day, c.jumped, float64(time.Second))
	})
	t.Run("a slow answer is no difference", func(t *testing.T) {
		var c dbClock
		r := at(0, 0, 80*time.Second)
		r.slack = 30 * time.Second
		require.False(t, c.take(r))
	})
}
