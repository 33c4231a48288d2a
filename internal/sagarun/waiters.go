package sagarun

import (
	"sync"

	"github.com/holdfastmq/holdfast/broker"
)

// Waiters are the steps that wait in this process for a participant's reply. Its
// methods may be called from many goroutines; the zero value is ready.
type Waiters struct {
	mu      sync.Mutex
	waiting map[asked]*waiter
}

// asked is what a reply answers. Workflow is a part of it: a saga and the one that
// undoes it may ask the same.
type asked struct {
	workflow, saga, step string
	undo                 bool
}

type waiter struct {
	came  chan struct{} // closed when the reply is there
	reply *broker.SagaReply
}

// expect begins to wait for a reply. forget ends that, and returns the reply if it
// has come.
func (w *Waiters) expect(call broker.SagaCall) (came <-chan struct{}, forget func() *broker.SagaReply) {
	key, x := asked{call.Workflow, call.Saga, call.Step, call.Undo}, &waiter{came: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting == nil {
		w.waiting = map[asked]*waiter{}
	}
	w.waiting[key] = x // of two runs of one task, the later one is to know
	return x.came, func() *broker.SagaReply {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.waiting[key] == x {
			delete(w.waiting, key)
		}
		return x.reply
	}
}

// Give gives a reply to whoever waits for it, and reports false where nobody does:
// then the workflow is to be told.
func (w *Waiters) Give(r broker.SagaReply) bool {
	key := asked{r.Workflow, r.Saga, r.Step, r.Undo}
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.waiting[key]
	if x == nil {
		return false
	}
	x.reply = &r
	close(x.came)
	delete(w.waiting, key)
	return true
}
