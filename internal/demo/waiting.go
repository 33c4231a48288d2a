package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// foundSoon is what a scenario finds where doctor has named what is missing in time.
const foundSoon = "found by doctor within a minute; "

// nobodyRuns checks an order out while no process of the shipping service runs. The
// saga waits, and doctor, asked for nothing in particular, says what for and what to
// start; then it goes on by itself.
func nobodyRuns(ctx context.Context, s *stage) (string, error) {
	o := s.newOrder()
	s.shipping.stop()
	began := time.Now()
	if err := s.checkOut(ctx, o); err != nil {
		return "", err
	}
	found, err := s.finding(ctx, "what is missing", func(f finding) bool {
		return f.Level == "problem" && strings.HasPrefix(f.Check, "participant ")
	})
	if err != nil {
		return "", err
	}
	after := time.Since(began)
	s.say("doctor says after %v: %s: %s → %s", after.Round(100*time.Millisecond),
		found.Check, found.Detail, found.Remedy)
	if err := s.start(ctx, s.shipping, ""); err != nil {
		return "", err
	}
	end, err := s.checkedOut(ctx, o)
	if after > time.Minute {
		return fmt.Sprintf("found after %v; %s", after, end), err
	}
	return foundSoon + end, err
}

// finding is one of doctor's.
type finding struct{ Check, Level, Detail, Remedy string }

// finding asks doctor, for nothing in particular, until a finding is the one.
func (s *stage) finding(ctx context.Context, what string, is func(finding) bool) (found finding, err error) {
	err = until(ctx, "doctor to find "+what, func() (bool, error) {
		out, _ := s.cli(ctx, "doctor", "--json") // the exit status says that there is a problem
		var d struct{ Findings []finding }
		if err := json.Unmarshal([]byte(out), &d); err != nil {
			return false, fmt.Errorf("doctor: %w: %s", err, out)
		}
		i := slices.IndexFunc(d.Findings, is)
		if i >= 0 {
			found = d.Findings[i]
		}
		return i >= 0, nil
	})
	return found, err
}
