package worker_test

import (
	"testing"

	"github.com/holdfastmq/holdfast/saga"
)

// quickly makes a saga of these steps that is run by a process for as long as all goes well.
type quickly func(steps ...saga.Step[journey]) saga.Saga[journey]

// inBothWays tests what is true of a saga that a process runs, alone in the Express lane or in a
// cohort of the Traced lane.
func inBothWays(t *testing.T, test func(t *testing.T, s *site, quickTravel quickly)) {
	t.Parallel()
	t.Run("express", func(t *testing.T) {
		t.Parallel()
		test(t, sagaSite(t), quickTravel)
	})
	t.Run("cohort", func(t *testing.T) {
		t.Parallel()
		s := sagaSite(t)
		s.cohorts = true
		test(t, s, travel)
	})
}
