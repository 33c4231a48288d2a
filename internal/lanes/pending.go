package lanes

import (
	"context"
	"sync"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// Pending is a transaction that a caller in this process waits for, and whose
// closure may wait here to be run. What the caller is told, pendingCore decides. Its
// answer is kept for a while after, for a step that is run again.
type Pending struct {
	deadline time.Time // the caller's; it bounds the half message's publish

	stored chan struct{} // closed when the half message is stored
	remote chan struct{} // closed when the workflow turns out to run elsewhere
	ran    chan struct{} // closed when the local transaction has ended
	done   chan struct{} // closed when the caller can be answered

	result  activities.LocalResult // valid once ran is closed; without messages
	changed bool                   // the local transaction changed its messages; likewise

	mu     sync.Mutex
	core   pendingCore     // its id, form and fresh do not change
	caller context.Context // the closure sees it; dropped at the end, as local is
	local  Local
}

// newPending returns the transaction id, whose caller has ctx. fresh says that the ID was
// made for this call; local is its closure, or nil.
func newPending(ctx context.Context, id string, form activities.Form, fresh bool, local Local) *Pending {
	p := &Pending{core: pendingCore{id: id, form: form, fresh: fresh}, caller: ctx, local: local,
		stored: make(chan struct{}), remote: make(chan struct{}), ran: make(chan struct{}), done: make(chan struct{})}
	p.deadline, _ = ctx.Deadline()
	return p
}

func (p *Pending) id() string { return p.core.id }

// Fresh reports whether the ID was made for this call: nobody can have run it before.
func (p *Pending) Fresh() bool { return p.core.fresh }

// Inline reports whether a closure waits here, or waited.
func (p *Pending) Inline() bool { return p.core.form == activities.Inline }

// carryOut does what an event brings about. The lock is held.
func (p *Pending) carryOut(e pendingEffects) {
	if e.stored {
		close(p.stored)
	}
	if e.watch {
		close(p.remote)
	}
	if e.answer {
		close(p.done)
	}
}

// HalfDeadline returns until when the half message has to be stored for the caller; ok is
// false where that waits for it no longer.
func (p *Pending) HalfDeadline() (until time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deadline, p.core.waitsForHalf()
}

// HalfStored notes that the half message is stored.
func (p *Pending) HalfStored() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.carryOut(p.core.onStored())
}

// HalfNotStored notes that the half message could not be stored.
func (p *Pending) HalfNotStored(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.carryOut(p.core.onNotStored(err))
}

// begin takes the closure up; it returns it once. ask: see pendingCore.onTurn.
func (p *Pending) begin() (local Local, caller context.Context, ask bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	run, ask := p.core.onTurn()
	if !run {
		return nil, nil, ask
	}
	return p.local, p.caller, false
}

// Run runs the closure, or returns the answer of its first run. Where the caller
// gave up before, it asks instead.
func (p *Pending) Run(ctx context.Context, run func(context.Context, Local) (barrier.Result, activities.LocalResult),
	ask func() activities.LocalResult, messages []holdfast.Message) activities.LocalResult {
	local, caller, gone := p.begin()
	if gone {
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
			return activities.LocalResult{ID: p.id(),
				Error: "the local transaction is still running in the calling process"}
		}
	}
	// The closure sees the caller's context, and ends with the step too.
	caller, cancel := context.WithCancel(caller)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	res, result := run(caller, local)
	p.result, p.changed = result, len(result.Messages) > 0
	p.result.Messages = nil
	close(p.ran)
	p.LocalEnded(res, messages)
	return result
}

// LocalEnded notes how the local transaction ended; messages are those of the half message.
func (p *Pending) LocalEnded(res barrier.Result, messages []holdfast.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.carryOut(p.core.onLocal(res, messages))
}

// Published notes that ms were published, or not because of err.
func (p *Pending) Published(ms []holdfast.Message, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.carryOut(p.core.onPublished(ms, err))
}

// RunsElsewhere notes that the workflow runs in another process.
func (p *Pending) RunsElsewhere() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.carryOut(p.core.onRemote())
}

// SeenIn notes the workflow, and its run, that does something about p.
func (p *Pending) SeenIn(workflowID, runID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.core.onSeen(workflowID, runID)
}

// ended notes how p ended in the run of a workflow.
func (p *Pending) ended(workflowID, runID string, m transactions.MemberStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.core.onSeen(workflowID, runID)
	p.carryOut(p.core.onResult(m))
}

// endUnknown notes that its workflow says nothing of its end, because of err.
func (p *Pending) endUnknown(workflowID string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.carryOut(p.core.onNoResult(workflowID, err))
}

// notStarted notes that its workflow was not started, or that this is not known. over: the
// caller is told what is returned.
func (p *Pending) notStarted(err error) (told error, over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.core.onNotStarted(err)
}

// leave answers a caller who cannot wait any longer.
func (p *Pending) leave(why error, receipt holdfast.Receipt) (holdfast.Receipt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.core.onLeave(why, receipt)
}

// told is the answer, once done is closed.
func (p *Pending) told(receipt holdfast.Receipt) (holdfast.Receipt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.core.told(receipt)
}

// release drops what could hold memory, once the caller is answered.
func (p *Pending) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.core.onRelease()
	p.local, p.caller = nil, nil
}
