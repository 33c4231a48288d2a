package sagarun

import (
	"sync"
	"time"

	"github.com/holdfastmq/holdfast/broker"
)

// Waiters are the steps that wait in this process for a participant's reply. Its
// methods may be called from many goroutines; the zero value is ready.
type Waiters struct {
	mu         sync.Mutex
	waiting    map[asked]*waiter
	distrusted Distrusted
}

// Distrusted are the replies that a step in this process waited for by name, and
// that were none to its call.
type Distrusted struct {
	N     int
	Since time.Time
	Last  broker.SagaReply
}

// Distrusted returns those that came since the process began.
func (w *Waiters) Distrusted() Distrusted {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.distrusted
}

// distrust counts a reply that does not count. The lock is held.
func (w *Waiters) distrust(r broker.SagaReply) {
	if w.distrusted.N++; w.distrusted.N == 1 {
		w.distrusted.Since = time.Now()
	}
	r.Result = nil // whatever it is, nobody needs it any more
	w.distrusted.Last = r
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
	// token and topic are the call's. untokened: a reply that has none counts.
	token, topic string
	untokened    bool
}

// trusts reports whether a reply is one to the call.
func (x *waiter) trusts(r broker.SagaReply) bool {
	own := func(got, asked string) bool { return got == asked || x.untokened && got == "" }
	return own(r.Token, x.token) && own(r.Topic, x.topic)
}

// expect begins to wait for the reply to call; untokened: also for one that does not
// have its token. forget ends that, and returns the reply if it
// has come.
func (w *Waiters) expect(call broker.SagaCall, untokened bool) (came <-chan struct{}, forget func() *broker.SagaReply) {
	key, x := asked{call.Workflow, call.Saga, call.Step, call.Undo},
		&waiter{came: make(chan struct{}), token: call.Token, topic: call.Topic, untokened: untokened}
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

// Give gives a reply to whoever waits for it, and reports false where nobody does,
// or it is none to the call: then the workflow is to be told.
func (w *Waiters) Give(r broker.SagaReply) bool {
	key := asked{r.Workflow, r.Saga, r.Step, r.Undo}
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.waiting[key]
	switch {
	case x == nil:
		return false
	case !x.trusts(r):
		w.distrust(r)
		return false
	}
	x.reply = &r
	close(x.came)
	delete(w.waiting, key)
	return true
}
