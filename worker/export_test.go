package worker

import "time"

// BePatient makes cohorts wait for every local transaction, however slow the
// machine is. Call it before Run.
func (w *Worker) BePatient() { w.patience = time.Hour }

// HoldCohorts makes every Send gather until release is called.
func (w *Worker) HoldCohorts() (release func()) {
	g := w.gatherer
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight += g.room
	return func() {
		for range g.room {
			g.freed()
		}
	}
}

// Gathered returns how many Sends wait for the next cohort.
func (w *Worker) Gathered() int {
	w.gatherer.mu.Lock()
	defer w.gatherer.mu.Unlock()
	return len(w.gatherer.waiting)
}
