package steps

import "sync"

// Answers are the consumers' answers to redeliveries that workflow tasks of this
// process wait for.
type Answers struct {
	mu      sync.Mutex
	waiting map[redelivered]*expectation
}

// redelivered is a redelivery: the workflow of its dead letter, and its number.
type redelivered struct {
	workflowID string
	n          int
}

type expectation struct {
	came chan struct{} // closed when it is given
	is   bool
}

// expect begins to wait for an answer. forget ends that, and reports whether it
// was given.
func (a *Answers) expect(workflowID string, n int) (came <-chan struct{}, forget func() bool) {
	key, e := redelivered{workflowID, n}, &expectation{came: make(chan struct{})}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting == nil {
		a.waiting = map[redelivered]*expectation{}
	}
	a.waiting[key] = e // of two runs of one task, the later one is to know
	return e.came, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.waiting[key] == e {
			delete(a.waiting, key)
		}
		return e.is
	}
}

// Expected reports whether somebody waits for the answer.
func (a *Answers) Expected(workflowID string, n int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waiting[redelivered{workflowID, n}] != nil
}

// Give gives the answer, and reports false where nobody waits any more.
func (a *Answers) Give(workflowID string, n int) bool {
	key := redelivered{workflowID, n}
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.waiting[key]
	if e == nil {
		return false
	}
	e.is = true
	close(e.came)
	delete(a.waiting, key)
	return true
}
