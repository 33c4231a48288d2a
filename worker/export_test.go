package worker

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
