package sagahandle

import (
	lists "container/list"
	"slices"
	"sync"

	"github.com/holdfastmq/holdfast/internal/sagaexpress"
)

// maxEnds bounds the callers that are told in this process: those before the
// last ones ask Temporal.
const maxEnds = 10_000

// ends are the callers of this process that wish to know how a saga ends, by
// the saga's ID. The zero value is ready.
type ends struct {
	mu     sync.Mutex
	byID   map[string][]*End
	oldest lists.List // of *End
}

// End is one caller's wish.
type End struct {
	id      string
	done    chan struct{} // closed when the saga has ended
	verdict verdict       // valid once done is closed
	look    chan struct{} // has a token if the saga may need an operator
	at      *lists.Element
	run     *sagaexpress.Run // this process's, of a saga in the Express lane
}

// left is closed when the saga does not run in this process's Express lane, or no more.
func (e *End) left() <-chan struct{} {
	if e == nil || e.run == nil {
		return gone
	}
	return e.run.Left()
}

// Refused is why the start was none of this saga's, as far as that is known.
func (e *End) Refused() error {
	if e == nil || e.run == nil {
		return nil
	}
	return e.run.Refused()
}

// lostIn is the workflow of the cohort that the saga was lost with; empty: it was not.
func (e *End) lostIn() string {
	if e == nil || e.run == nil {
		return ""
	}
	return e.run.LostIn()
}

// comes reports whether the saga gets a workflow if it has none.
func (e *End) comes() bool { return e != nil && e.run != nil && e.run.LostIn() == "" }

var gone = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// expect enters a wish.
func (s *ends) expect(id string) *End {
	e := &End{id: id, done: make(chan struct{}), look: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID == nil {
		s.byID = map[string][]*End{}
	}
	for s.oldest.Len() >= maxEnds {
		s.remove(s.oldest.Front().Value.(*End))
	}
	s.byID[id] = append(s.byID[id], e)
	e.at = s.oldest.PushBack(e)
	return e
}

// Callers returns how many callers wish to know how a saga ends, for tests.
func (h *Handles) Callers(id string) int {
	h.ends.mu.Lock()
	defer h.ends.mu.Unlock()
	return len(h.ends.byID[id])
}

// forget drops a wish.
func (s *ends) forget(e *End) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(e)
}

func (s *ends) remove(e *End) {
	if e.at == nil {
		return
	}
	s.oldest.Remove(e.at)
	e.at = nil
	rest := slices.DeleteFunc(s.byID[e.id], func(x *End) bool { return x == e })
	if s.byID[e.id] = rest; len(rest) == 0 {
		delete(s.byID, e.id)
	}
}

// tell tells the callers of a saga how it has ended.
func (s *ends) tell(id string, v verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range slices.Clone(s.byID[id]) {
		s.remove(e)
		e.verdict = v
		close(e.done)
	}
}

// look has the callers of a saga look at it.
func (s *ends) look(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.byID[id] {
		select {
		case e.look <- struct{}{}:
		default:
		}
	}
}
