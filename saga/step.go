package saga

import (
	"reflect"
	"time"

	"github.com/holdfastmq/holdfast/saga/core"
)

// StepDef is a step as it is defined. Its methods return a changed copy.
type StepDef struct {
	step   core.Step
	steps  []StepDef
	isCase bool
	state  reflect.Type // S, where the kind's own functions know it
	do     localFunc
	undo   localFunc
	when   Condition
	send   Mapper
	recv   Receiver
	pick   Picker
	sub    *Compiled
	errs   []error // found while it was defined
}

func (d StepDef) define() StepDef { return d }

// AsPivot marks the step after which there is no way back: once it is done, the
// steps after it are tried until they succeed, and need no Undo. Before it,
// failures compensate.
func (d StepDef) AsPivot() StepDef { d.step.Pivot = true; return d }

// Backward has the saga compensate when the step has failed for good. It is what
// steps up to the pivot do.
func (d StepDef) Backward() StepDef { d.step.OnFailure = core.Backward; return d }

// Forward has the step tried until it succeeds. Refused, or failed permanently, it
// waits for an operator. It is what steps after the pivot do.
func (d StepDef) Forward() StepDef { d.step.OnFailure = core.Forward; return d }

// Park has the saga wait for an operator when the step has failed for good.
func (d StepDef) Park() StepDef { d.step.OnFailure = core.Park; return d }

// NoUndo says that there is nothing to undo. A sub-saga that says so is not
// compensated once it has completed.
func (d StepDef) NoUndo() StepDef {
	d.step.NoUndo = true
	if d.step.Kind == core.Saga {
		d.step.Undo = false
	}
	return d
}

// UndoUncertain has the Undo of a local step run also where its Do was begun, and was
// never committed: it may have had an effect outside the database, such as a call
// of an API. The Undo has to know whether there is something to undo; it is given the
// state that the Do was given. It runs once, and no Do comes after it. Of a message
// step, its participant says so.
func (d StepDef) UndoUncertain() StepDef { d.step.UndoUncertain = true; return d }

// Timeout bounds one try of a local step or an activity (default 1 m), the time
// until the reply to a message (default 5 m) or the answer to a wait, or the life
// of a sub-saga (default: none).
func (d StepDef) Timeout(t time.Duration) StepDef { d.step.Timeout = t; return d }

// Patience limits how long the saga waits beyond the Timeout for a participant that
// says that it has to wait itself: its database is away, say, or its circuit breaker
// open. It counts from the step's beginning; after it, the Timeout passes as for any
// other participant. The default is 24 h; a negative one has the Timeout count always.
func (d StepDef) Patience(t time.Duration) StepDef { d.step.Patience = t; return d }

// Retry says how often and when a failed try is repeated. For a message a try ends
// with the participant's reply that it has given up, or with the Timeout.
func (d StepDef) Retry(r Retry) StepDef { d.step.Retry = r; return d }

// On names the task queue of an activity; the default is the group's own.
func (d StepDef) On(taskQueue string) StepDef { d.step.TaskQueue = taskQueue; return d }

// When has the step done only if the condition holds, made with [If], for the
// state at that moment. Otherwise it is skipped, and not undone.
func (d StepDef) When(c Condition) StepDef {
	d.when, d.step.Conditional = c, true
	if c.f == nil {
		d.problem("its condition is nil: use When(saga.If(…))")
	}
	return d
}

// Send makes a message's body, an activity's input or a sub-saga's first state of
// the state with which the step was begun; for the Undo of that with what Receive
// changed in it. Made with [From]; the default is the state.
func (d StepDef) Send(m Mapper) StepDef {
	if d.send = m; m.f == nil {
		d.problem("Send needs a function: use Send(saga.From(…))")
	}
	return d
}

// Receive takes a participant's result, an activity's result, an answer's value or
// a sub-saga's last state into the state. Made with [Into]; the default is to drop
// it. It may [Refuse].
func (d StepDef) Receive(r Receiver) StepDef {
	d.recv, d.step.Receives = r, true
	if r.f == nil {
		d.problem("Receive needs a function: use Receive(saga.Into(…))")
	}
	return d
}
