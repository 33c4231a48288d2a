package worker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// TestRecordSagaCohorts does for cohorts of sagas what TestRecordHistories does for transactions.
func TestRecordSagaCohorts(t *testing.T) {
	r := newRecorder(t, sagaSiteOn)
	s := r.site
	s.cohorts = true
	began, release := make(chan struct{}, 1), make(chan struct{})
	def := travel(local("a"), seat(), does("b", func(j *journey) error {
		switch j.By {
		case "nobody":
			return saga.Refuse("no guide")
		case "slow":
			tell(began)
			<-release
		}
		return nil
	}), local("c"))
	o := s.options()
	o.Instance = "recorder-1"
	w := s.runWith(o, func(w *worker.Worker) { w.Saga(def) })
	s.participants(s.seats(nil))
	_, err := s.travels(w, def) // all is warm
	require.NoError(t, err)
	for name, by := range map[string][]string{"saga-cohort": {"ann", "bob", "nobody"}, "saga-cohort-alone": {"ann"},
		"saga-cohort-slow": {"ann", "slow"}} {
		var all []journey
		for _, by := range by {
			all = append(all, journey{ID: name + "-" + by, By: by})
		}
		if by[len(by)-1] == "slow" {
			go func() {
				<-began
				time.Sleep(5 * time.Second) // longer than a cohort waits
				close(release)
			}()
		}
		hs, errs, workflow := s.shareWorkflow(w, def, all...)
		require.NoError(t, errors.Join(errs...))
		for _, h := range hs {
			_ = wait(s, h)
		}
		s.cohortResult(workflow)
		r.write(name, r.historyOf(workflow))
	}
}
