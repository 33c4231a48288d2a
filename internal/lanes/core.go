package lanes

import (
	"cmp"
	"errors"
	"fmt"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// pendingCore decides what the caller of one transaction is told, in both lanes, and
// whether its local transaction may still be run. It is a function of what happens: it has
// no clock, no lock, no channel and no context; pending runs it, and in the Express lane
// the caller itself. Each method that begins with "on" is an event, and returns what is to
// be done.
//
// The first answer counts. Before it, known has what is known of a commit: who leaves then
// is told at least that.
type pendingCore struct {
	id    string
	form  activities.Form
	fresh bool // the ID was made for this call: nobody can have run it before
	// express: no workflow goes on with it while the caller waits.
	express bool

	begun   bool // the local transaction was taken up
	givenUp bool // it is never taken up: the caller gave up before
	stored  bool // the half message is
	remote  bool // the workflow runs elsewhere
	done    bool // the caller is answered, or gone

	known answer    // valid once done: the answer
	at    [2]string // ID and run of the workflow that last did something about it
}

// answer is what the caller learns.
type answer struct {
	resolution holdfast.Resolution
	messages   []holdfast.Message
	err        error
}

// pendingEffects are what an event brings about.
type pendingEffects struct {
	stored bool // who waits for the half message goes on
	watch  bool // the caller is to watch the workflow: it runs elsewhere
	answer bool // the caller is told what known says
}

// waitsForHalf reports whether the caller still waits for the half message.
func (c *pendingCore) waitsForHalf() bool { return !c.begun && !c.givenUp && !c.stored && !c.done }

// onStored: the half message is stored.
func (c *pendingCore) onStored() (e pendingEffects) {
	e.stored, c.stored = !c.stored, true
	return e
}

// onNotStored: the half message could not be stored within the caller's time. The caller
// learns it unless its local transaction runs already, which another try of the step
// brought about.
func (c *pendingCore) onNotStored(err error) pendingEffects {
	if !c.giveUp() {
		return pendingEffects{}
	}
	return c.tell(answer{resolution: c.notRun(), err: fmt.Errorf("%w: %w", holdfast.ErrNotStored, err)})
}

// notRun is what is known of a local transaction that this call did not run.
func (c *pendingCore) notRun() holdfast.Resolution {
	if c.fresh {
		return holdfast.Rollback
	}
	return holdfast.Unknown // an earlier call with this ID may have run it
}

// onTurn: it is the local transaction's turn. run: it is to be run now, which is said once.
// ask: it never is, and whoever knows is to be asked: another process may have run an
// earlier transaction of this ID, so giving up proves nothing.
func (c *pendingCore) onTurn() (run, ask bool) {
	if c.begun || c.givenUp {
		return false, c.givenUp
	}
	c.begun = true
	return true, false
}

// onLocal: the local transaction has ended; messages are those of the half message. A
// commit is no answer yet: the messages are not delivered.
func (c *pendingCore) onLocal(res barrier.Result, messages []holdfast.Message) pendingEffects {
	switch {
	case c.express && res.Repeated:
		return c.tell(answer{err: fmt.Errorf("%w: transaction %s was committed by another call meanwhile",
			holdfast.ErrDuplicate, c.id)})
	case res.Resolution == holdfast.Rollback:
		return c.tell(answer{resolution: holdfast.Rollback, err: rolledBack(res.Err)})
	case res.Resolution == holdfast.Unknown:
		return c.tell(answer{err: undecided(c.id, res.Err)})
	case res.Other:
		return c.tell(answer{err: fmt.Errorf("%w: transaction %s was committed with other messages, which are delivered: "+
			"use a new ID for new work", holdfast.ErrDuplicate, c.id)})
	}
	if len(res.Messages) > 0 {
		messages = res.Messages
	}
	if !c.done {
		c.known.resolution, c.known.messages = holdfast.Commit, messages
	}
	return pendingEffects{}
}

// onPublished: ms were published, or not because of err. What waiting would not help the
// caller learns at once; anything else is tried again by the workflow, where there is one.
func (c *pendingCore) onPublished(ms []holdfast.Message, err error) pendingEffects {
	if len(c.known.messages) > len(ms) {
		ms = c.known.messages // the others were delivered before
	}
	switch {
	case err == nil:
		return c.tell(answer{resolution: holdfast.Commit, messages: ms})
	case c.express, errors.Is(err, holdfast.ErrUnroutable), errors.Is(err, holdfast.ErrQueueFull),
		errors.Is(err, holdfast.ErrTooLarge), errors.Is(err, holdfast.ErrInvalid):
		return c.tell(answer{resolution: holdfast.Commit, messages: ms, err: pendingDelivery(c.id, err)})
	}
	return pendingEffects{}
}

// onRemote: the workflow turned out to run in another process.
func (c *pendingCore) onRemote() (e pendingEffects) {
	e.watch, c.remote = !c.remote, true
	return e
}

// onSeen: the run of a workflow does something about it.
func (c *pendingCore) onSeen(workflowID, runID string) { c.at = [2]string{workflowID, runID} }

// onResult: its workflow has ended, with this result.
func (c *pendingCore) onResult(m transactions.MemberStatus) pendingEffects {
	return c.tell(memberAnswer(m))
}

// onNoResult: its workflow failed, or could not be watched.
func (c *pendingCore) onNoResult(workflowID string, err error) pendingEffects {
	return c.tell(answer{err: watchError(c.id, workflowID, err)})
}

// onNotStarted: its workflow was not started, because of err, or that is not known. over:
// the caller is told so. Otherwise the local transaction runs already: the answer to the
// start was lost, and the caller goes on waiting.
func (c *pendingCore) onNotStarted(err error) (told error, over bool) {
	switch {
	case c.form == activities.Registered && !errors.Is(err, holdfast.ErrDuplicate):
		return undecided(c.id, fmt.Errorf("it may have been started; Start again with this ID is safe: %w", err)), true
	case c.giveUp(): // if it was started all the same, a check-back ends it
		return err, true
	}
	return nil, false
}

// onOutcome: the outcome row of a split transaction that the caller says has committed, or
// why there is none.
func (c *pendingCore) onOutcome(o barrier.Outcome, err error) pendingEffects {
	switch {
	case errors.Is(err, holdfast.ErrNotFound):
		return c.tell(answer{err: fmt.Errorf("%w: transaction %s: commit it with Barrier as the first statement, then call "+
			"Commit; or call Rollback", holdfast.ErrNoOutcome, c.id)})
	case err != nil:
		return c.tell(answer{err: undecided(c.id, err)})
	case o.Resolution != holdfast.Commit:
		return c.tell(answer{resolution: holdfast.Rollback, err: rolledBack(fmt.Errorf(
			"%w: a check-back had rolled transaction %s back", holdfast.ErrAlreadyResolved, c.id))})
	}
	return pendingEffects{}
}

// onDecided: the outcome row says that a split transaction is rolled back, or why it does
// not.
func (c *pendingCore) onDecided(err error) pendingEffects {
	switch {
	case errors.Is(err, holdfast.ErrAlreadyResolved):
		return c.tell(answer{err: err})
	case err != nil:
		return c.tell(answer{err: undecided(c.id, err)})
	}
	return pendingEffects{}
}

// onConfirmed: the caller says how its split transaction ended, with ms. Where that holds,
// since the outcome row has it or somebody acts on it, it is known.
func (c *pendingCore) onConfirmed(r holdfast.Resolution, ms []holdfast.Message, holds bool) {
	c.begun, c.known.messages = true, ms
	if holds {
		c.known.resolution = r
	}
}

// onSettled: what is known is done.
func (c *pendingCore) onSettled() pendingEffects {
	return c.tell(answer{resolution: c.known.resolution})
}

// onAnswer: the workflow's answer to the confirmation r.
func (c *pendingCore) onAnswer(m transactions.MemberStatus, r holdfast.Resolution) pendingEffects {
	a := memberAnswer(m)
	switch {
	case !m.State.Final():
		a = answer{resolution: m.Resolution, err: pendingDelivery(c.id, errors.New(m.Reason))}
	case a.resolution != r:
		a.err = fmt.Errorf("%w: transaction %s: %s", holdfast.ErrAlreadyResolved, c.id, m.State)
	case r == holdfast.Rollback && errors.Is(a.err, holdfast.ErrRolledBack):
		a.err = nil // as asked
	}
	return c.tell(a)
}

// onNoAnswer: the workflow refused the confirmation, or it did not answer.
func (c *pendingCore) onNoAnswer(err error, receipt holdfast.Receipt) (holdfast.Receipt, error) {
	if said, refused := alreadyResolved(err); refused {
		return receipt, said
	}
	return c.onLeave(err, receipt)
}

// giveUp makes sure that the local transaction is not run any more, and reports whether it
// was in time.
func (c *pendingCore) giveUp() bool {
	if c.begun {
		return false
	}
	c.givenUp = true
	return true
}

// onLeave: the caller cannot wait any longer, because of why: its time is up, or the
// process stops. It is told what is known.
func (c *pendingCore) onLeave(why error, receipt holdfast.Receipt) (holdfast.Receipt, error) {
	if c.done {
		return c.told(receipt)
	}
	if c.form == activities.Inline && c.giveUp() && c.fresh {
		receipt.Resolution = holdfast.Rollback
		return receipt, fmt.Errorf("%w: the local transaction was not begun in time: %w", holdfast.ErrRolledBack, why)
	}
	receipt = c.place(receipt, nil)
	switch receipt.Resolution = c.known.resolution; receipt.Resolution {
	case holdfast.Commit:
		receipt.Messages = c.known.messages
		return receipt, pendingDelivery(c.id, why)
	case holdfast.Rollback:
		return receipt, nil // a check-back finds it
	}
	return receipt, undecided(c.id, why)
}

// onRelease: the caller is gone, with or without an answer.
func (c *pendingCore) onRelease() {
	c.givenUp, c.done = c.givenUp || !c.begun, true
	c.known = answer{}
}

// tell answers the caller; only the first answer counts.
func (c *pendingCore) tell(a answer) pendingEffects {
	if c.done {
		return pendingEffects{}
	}
	if a.resolution == holdfast.Commit && len(a.messages) == 0 {
		a.messages = c.known.messages
	}
	c.known, c.done = a, true
	return pendingEffects{answer: true}
}

// told is the answer, on the caller's receipt.
func (c *pendingCore) told(receipt holdfast.Receipt) (holdfast.Receipt, error) {
	receipt.Resolution, receipt.Messages = c.known.resolution, c.known.messages
	return c.place(receipt, c.known.err), c.known.err
}

// place names in receipt the workflow to which the transaction left, or is about
// to leave because it could not be delivered with its cohort. One that is undecided
// may still end there: if it does not, that history says where it went.
func (c *pendingCore) place(receipt holdfast.Receipt, err error) holdfast.Receipt {
	own := ownID(receipt.WorkflowID, receipt.Group, c.id)
	switch shared := receipt.WorkflowID != own; {
	case shared && c.at[0] == own:
		receipt.WorkflowID, receipt.RunID = own, c.at[1]
	case shared && errors.Is(err, holdfast.ErrDeliveryPending):
		receipt.WorkflowID, receipt.RunID = own, ""
	case c.at[0] == receipt.WorkflowID: // its start may not have been answered yet
		receipt.RunID = cmp.Or(receipt.RunID, c.at[1])
	}
	return receipt
}
