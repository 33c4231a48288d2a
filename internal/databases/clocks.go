package databases

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
)

// clockLimit is by how much two clocks may differ before it is a finding.
const clockLimit = time.Minute

// reading is what this process's clock and a database's said at one moment.
type reading struct {
	at      time.Time // by the clock that nobody sets
	process time.Time
	db      time.Time
	slack   time.Duration // how far apart the moments may be
}

// clockProblem says what is wrong with two clocks; the zero value: nothing is.
type clockProblem struct {
	kind string // compared with the last: a clock that goes wrong is told once
	text string
}

func (p clockProblem) String() string { return p.text }

// dbClock is what is known of a database's clock. No row's age is judged by a clock
// that is in doubt.
type dbClock struct {
	first, last reading
	ahead       time.Duration // of the process's clock before the database's
	// jumped is by how much the database's clock was set forward while this process
	// watched: a row may look older by that than it is.
	jumped  time.Duration
	problem clockProblem
	swept   time.Time // by the clock that nobody sets
}

// take notes a reading, and reports whether what is wrong has changed.
func (c *dbClock) take(r reading) (changed bool) {
	var p clockProblem
	c.ahead = r.process.Round(0).Sub(r.db.Round(0))
	if c.ahead.Abs() > clockLimit+r.slack {
		way := "ahead of"
		if c.ahead < 0 {
			way = "behind"
		}
		p = clockProblem{way, fmt.Sprintf("this process's clock is %s %s PostgreSQL's: "+
			"set the wrong one right; no old rows are deleted until then", howLong(c.ahead.Abs()), way)}
	}
	if c.first.at.IsZero() {
		c.first = r
	} else if jump := r.db.Sub(c.last.db) - r.at.Sub(c.last.at); jump.Abs() > clockLimit+r.slack+c.last.slack {
		c.jumped += max(0, jump)
		p = clockProblem{"jumped", fmt.Sprintf("PostgreSQL's clock was set %s: "+
			"see that it is right; old rows are kept longer by what it was set forward", forwards(jump))}
	}
	c.last = r
	changed, c.problem = p.kind != c.problem.kind, p
	return changed
}

// due reports whether rows may be deleted, every time that so much has passed. The
// first time comes as long after the first reading: what is open at the start, a
// check-back reads before.
func (c *dbClock) due(every time.Duration) bool {
	since := c.swept
	if since.IsZero() {
		since = c.first.at
	}
	if c.problem.kind != "" || c.last.at.Sub(since) < every {
		return false
	}
	c.swept = c.last.at
	return true
}

func forwards(jump time.Duration) string {
	if jump < 0 {
		return howLong(-jump) + " back"
	}
	return howLong(jump) + " forward"
}

// howLong is a time for a sentence.
func howLong(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", (d+12*time.Hour)/(24*time.Hour))
	}
	return d.Round(time.Second).String()
}

// readClock asks a database's clock.
func (s *Set) readClock(ctx context.Context, db *gorm.DB) (reading, error) {
	began, process := time.Now(), s.Now()
	now, err := barrier.Clock(ctx, db)
	took := time.Since(began)
	return reading{at: began.Add(took / 2), process: process.Add(took / 2), db: now, slack: took / 2}, err
}

// watchClock compares this process's clock with a database's, and reports whether
// old rows are to be deleted now, and how old they have to be at least.
func (s *Set) watchClock(ctx context.Context, db *gorm.DB) (age time.Duration, sweep bool) {
	r, err := s.readClock(ctx, db)
	if err != nil {
		s.o.Logger.Debug("the database's clock was not read", "error", err)
		return 0, false
	}
	s.mu.Lock()
	c := s.clocks[db]
	changed := c.take(r)
	sweep = c.due(s.SweepEvery)
	age, problem := s.o.Retention+c.jumped, c.problem
	s.mu.Unlock()
	switch {
	case changed && problem.kind != "":
		s.o.Logger.Error("clocks differ", "problem", problem.text, "database", s.identities[db])
		s.o.Alert(holdfast.Alert{Kind: holdfast.AlertClock, Group: s.o.Group,
			Reason: fmt.Sprintf("process %s: %s", s.o.Instance, problem.text),
			Remedy: "set the wrong clock right, by NTP for example"})
	case changed:
		s.o.Logger.Info("clocks agree again", "database", s.identities[db])
	}
	return age, sweep
}
