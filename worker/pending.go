package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
)

// pending is a transaction that a caller in this process waits for, and whose
// closure may wait here to be run. Its answer is kept for a while after, for a
// step that is run again.
type pending struct {
	id       string
	inline   bool      // a closure waits here, or waited
	fresh    bool      // the ID was made for this call: nobody can have run it before
	deadline time.Time // the caller's; it bounds the half message's publish

	stored chan struct{} // closed when the half message is stored
	remote chan struct{} // closed when the workflow turns out to run elsewhere
	ran    chan struct{} // closed when the local transaction has ended
	done   chan struct{} // closed when the caller can be answered

	mu       sync.Mutex
	caller   context.Context // the closure sees it; dropped at the end, as local is
	local    LocalAll
	begun    bool // the closure was taken up
	given    bool // the caller gave up before that
	isStored bool
	isRemote bool
	isDone   bool
	result   activities.LocalResult // valid once ran is closed; without messages
	changed  bool                   // the local transaction changed its messages; likewise
	answer   answer                 // valid once done is closed
	workflow [2]string              // ID and run of the workflow that last did something about it
}

// answer is what the caller learns.
type answer struct {
	resolution holdfast.Resolution
	messages   []holdfast.Message
	err        error
}

func newPending(ctx context.Context, id string, fresh bool, local LocalAll) *pending {
	p := &pending{id: id, inline: local != nil, fresh: fresh, caller: ctx, local: local, stored: make(chan struct{}),
		remote: make(chan struct{}), ran: make(chan struct{}), done: make(chan struct{})}
	p.deadline, _ = ctx.Deadline()
	return p
}

// waitsForHalf reports whether the caller still waits for the half message.
func (p *pending) waitsForHalf() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.begun && !p.given && !p.isStored && !p.isDone
}

// notRun is what is known of a local transaction that this call did not run.
func (p *pending) notRun() holdfast.Resolution {
	if p.fresh {
		return holdfast.Rollback
	}
	return holdfast.Unknown // an earlier call with this ID may have run it
}

// giveUp makes sure that the closure is not run any more, and reports whether
// it was in time.
func (p *pending) giveUp() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.begun {
		return false
	}
	p.given = true
	return true
}

// begin takes the closure up; it returns it once.
func (p *pending) begin() (local LocalAll, caller context.Context, given bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.begun || p.given {
		return nil, nil, p.given
	}
	p.begun = true
	return p.local, p.caller, false
}

// release drops what could hold memory, once the caller is answered.
func (p *pending) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.given, p.isDone = p.given || !p.begun, true
	p.local, p.caller, p.answer = nil, nil, answer{}
}

// run runs the closure, or returns the answer of its first run. Where the caller
// gave up before, it asks instead: another process may have run an earlier
// transaction of this ID, so giving up proves nothing.
func (p *pending) run(ctx context.Context, run func(context.Context, LocalAll) barrier.Result, ask func() activities.LocalResult, messages []holdfast.Message) activities.LocalResult {
	local, caller, given := p.begin()
	if given {
		return ask()
	}
	if local == nil {
		select {
		case <-p.ran:
			if p.changed {
				return ask() // the outcome row has the messages
			}
			return p.result
		case <-ctx.Done():
			return activities.LocalResult{ID: p.id, Error: "the local transaction is still running in the calling process"}
		}
	}
	// The closure sees the caller's context, and ends with the step too.
	caller, cancel := context.WithCancel(caller)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	res := run(caller, local)
	result := localResult(p.id, res)
	p.result, p.changed = result, len(result.Messages) > 0
	p.result.Messages = nil
	close(p.ran)
	p.localEnded(res, messages)
	return result
}

// localEnded answers the caller if the local transaction did not commit.
func (p *pending) localEnded(res barrier.Result, messages []holdfast.Message) {
	switch res.Resolution {
	case holdfast.Rollback:
		p.finish(answer{resolution: holdfast.Rollback, err: rolledBack(res.Err)})
	case holdfast.Unknown:
		p.finish(answer{err: undecided(p.id, res.Err)})
	case holdfast.Commit:
		if res.Other {
			p.finish(answer{err: fmt.Errorf("%w: transaction %s was committed with other messages, which are delivered: use a new ID for new work", holdfast.ErrDuplicate, p.id)})
			return
		}
		if len(res.Messages) > 0 {
			messages = res.Messages
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.isDone {
			p.answer.resolution, p.answer.messages = holdfast.Commit, messages
		}
	}
}

// finish answers the caller; only the first answer counts.
func (p *pending) finish(a answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isDone {
		return
	}
	if a.resolution == holdfast.Commit && len(a.messages) == 0 {
		a.messages = p.answer.messages
	}
	p.answer, p.isDone = a, true
	close(p.done)
}

// known returns what is known before the end.
func (p *pending) known() answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answer
}

// endsIn notes the workflow, and its run, that does something about p.
func (p *pending) endsIn(id, run string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.workflow = [2]string{id, run}
}

func (p *pending) endedIn() (id, run string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.workflow[0], p.workflow[1]
}

func (p *pending) setStored() { p.once(&p.isStored, p.stored) }
func (p *pending) setRemote() { p.once(&p.isRemote, p.remote) }

func (p *pending) once(flag *bool, c chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !*flag {
		*flag = true
		close(c)
	}
}

func rolledBack(cause error) error {
	switch {
	case cause == nil:
		return holdfast.ErrRolledBack
	case aboutAnother(cause):
		cause = innerError{cause}
	}
	return fmt.Errorf("%w: %w", holdfast.ErrRolledBack, cause)
}

// innerError is the error of a local transaction that sent another one, which is
// not rolled back with it: that one's end is not to be taken for this one's.
type innerError struct{ err error }

func aboutAnother(err error) bool {
	return errors.Is(err, holdfast.ErrUndecided) || errors.Is(err, holdfast.ErrDeliveryPending)
}

func (e innerError) Error() string        { return e.err.Error() }
func (e innerError) As(target any) bool   { return errors.As(e.err, target) }
func (e innerError) Is(target error) bool { return !aboutAnother(target) && errors.Is(e.err, target) }

func undecided(txID string, cause error) error {
	var away *holdfast.UnavailableError
	switch {
	case cause == nil:
		return fmt.Errorf("%w: transaction %s will end as the database says", holdfast.ErrUndecided, txID)
	case errors.As(cause, &away): // not wrapped: by itself it would mean that nothing was run
		return fmt.Errorf("%w: transaction %s will end as the database says: %v", holdfast.ErrUndecided, txID, cause)
	}
	return fmt.Errorf("%w: transaction %s will end as the database says: %w", holdfast.ErrUndecided, txID, cause)
}

func localResult(txID string, res barrier.Result) activities.LocalResult {
	out := activities.LocalResult{ID: txID, Resolution: res.Resolution}
	if res.Changed {
		out.Messages = res.Messages
	}
	if res.Err != nil {
		out.Error = res.Err.Error()
	}
	return out
}

// registry holds the pending transactions of this process.
type registry struct {
	mu      sync.Mutex
	byID    map[string]*pending
	ended   []ended // in the order of their end
	keepFor time.Duration
	keepMax int
}

type ended struct {
	id string
	at time.Time
}

func newRegistry(keepFor time.Duration, keepMax int) *registry {
	return &registry{byID: map[string]*pending{}, keepFor: keepFor, keepMax: keepMax}
}

// add enters p; an ID that is there already is refused.
func (r *registry) add(p *pending) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, there := r.byID[p.id]; there {
		return fmt.Errorf("%w: %s was sent by this process before: use a new ID for new work", holdfast.ErrDuplicate, p.id)
	}
	r.byID[p.id] = p
	return nil
}

func (r *registry) get(txID string) *pending {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[txID]
}

// end marks the caller of p as answered: p is kept a little longer, so that a
// step that is run again gets the first run's answer. Afterwards the outcome row
// gives it.
func (r *registry) end(p *pending, now time.Time) {
	p.release()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = append(r.ended, ended{p.id, now})
	n := 0
	for n < len(r.ended) && (len(r.ended)-n > r.keepMax || now.Sub(r.ended[n].at) > r.keepFor) {
		delete(r.byID, r.ended[n].id)
		n++
	}
	r.ended = r.ended[n:]
}

// forget removes p, whose workflow was not started, so that its ID can be used
// again.
func (r *registry) forget(p *pending) {
	p.release()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byID, p.id)
}
