// Package fault names the instants at which a process may die, so that tests
// and the demo can kill it exactly there. In production nothing is armed and a
// point costs one atomic load.
package fault

import (
	"os"
	"sync/atomic"
)

// The points, in the order in which a transaction meets them.
const (
	HalfBeforeConfirm      = "half.before-confirm"       // half message written, confirm not yet seen
	HalfAfterConfirm       = "half.after-confirm"        // half message stored, local transaction not begun
	LocalAfterCommit       = "local.after-commit"        // COMMIT done, its answer not yet passed on
	CommitBeforePublish    = "commit.before-publish"     // resolution known, messages not yet published
	CommitBeforeConfirm    = "commit.before-confirm"     // messages written, confirms not yet seen
	CommitAfterConfirm     = "commit.after-confirm"      // messages stored, op record not yet written
	ConsumeBefore          = "consume.before"            // delivery received, handler not begun
	ConsumeAfterCommit     = "consume.after-commit"      // handler's transaction committed, delivery not acknowledged
	StepAfterCommit        = "step.after-commit"         // a step's transaction committed, its answer not yet passed on
	DeadBeforeAck          = "dead.before-ack"           // dead letter stored, delivery not acknowledged
	RetryBeforeAck         = "retry.before-ack"          // retry stored, delivery not acknowledged
	HandledBeforeAck       = "handled.before-ack"        // success of a redelivery reported, delivery not acknowledged
	DeadKeptBeforeAck      = "dead.kept-before-ack"      // oversized message and its record stored, not acknowledged
	DeadTakenBeforeAck     = "dead.taken-before-ack"     // dead letter taken over, not acknowledged
	NotifyBeforeConfirm    = "notify.before-confirm"     // compensation notice written, confirms not yet seen
	SagaDoBefore           = "saga.do-before"            // a step's Do is begun, nothing is done
	SagaDoAfterCommit      = "saga.do-after-commit"      // its transaction committed, its answer not yet passed on
	SagaUndoBefore         = "saga.undo-before"          // a step's Undo is begun, nothing is done
	SagaUndoAfterCommit    = "saga.undo-after-commit"    // its transaction committed, its answer not yet passed on
	SagaCallBeforeConfirm  = "saga.call-before-confirm"  // message to a participant written, confirm not yet seen
	SagaCallAfterConfirm   = "saga.call-after-confirm"   // message to a participant stored, reply not yet awaited
	SagaReplyBeforeConfirm = "saga.reply-before-confirm" // participant's reply written, confirm not yet seen
	SagaReplyBeforeAck     = "saga.reply-before-ack"     // participant's reply stored, its delivery not acknowledged
	SagaReplyTaken         = "saga.reply-taken"          // reply passed on to the saga, not acknowledged
	SagaRoundTold          = "saga.round-told"           // a cohort's members are through a round, which is not recorded
	SagaTaken              = "saga.taken"                // a saga is its workflow's, which is not started yet
	KeeperHolding          = "keeper.holding"            // the Keeper holds a half message
	KeeperBeforeAck        = "keeper.before-ack"         // handed over, half message not acknowledged
)

var hook atomic.Pointer[func(string)]

// Point says that the process has come to the named instant.
func Point(name string) {
	if h := hook.Load(); h != nil {
		(*h)(name)
	}
}

// Set calls h at every point from now on, from whatever goroutine comes there;
// nil disarms.
func Set(h func(name string)) {
	if h == nil {
		hook.Store(nil)
		return
	}
	hook.Store(&h)
}

// KillAt makes the process die by SIGKILL when it comes to the named point.
func KillAt(name string) {
	Set(func(at string) {
		if at == name {
			Kill()
		}
	})
}

// Kill ends this process by SIGKILL (TerminateProcess on Windows): no deferred
// function, no flush, no goodbye to any server. It does not return.
func Kill() {
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {}
}
