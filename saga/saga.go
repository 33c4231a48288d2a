package saga

import (
	"context"
	"reflect"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
)

// Saga is a definition. S is its state: a type that survives encoding/json, at
// most 256 KiB of it. Define it once, register it with the worker that runs it,
// and start it with a first state.
type Saga[S any] struct {
	// Name names it, among all sagas of its producer group. Required.
	Name string
	// Version tells this definition from others of the same name; several can be
	// registered at once. A saga ends under the version that it began with; new
	// ones begin with the highest. 0 means 1.
	Version int
	// Key is the business key, such as an order number: at most one saga runs for
	// each. Nil: every start is a new saga.
	Key func(S) string
	// Lane is how its sagas are coordinated. [holdfast.Traced]: each by a workflow.
	// [holdfast.Express]: each by the process that starts it, without a workflow, for as
	// long as every step ends well at once; everything else goes on in a workflow. Empty:
	// as the worker's Options.Lanes["saga/NAME"] says, or Traced. Options.Lane does not
	// count.
	Lane holdfast.Lane
	// OneByOne gives each local step a transaction of its own in the Express lane, too. False:
	// the local steps that the saga begins with, one after the other, share one transaction; if
	// one of them does not end well, it is rolled back, and they are done one by one. A step
	// with [StepDef.UndoUncertain] shares none.
	OneByOne bool
	// Steps are done one after the other. Required.
	Steps []Step[S]
}

// Step is a step of a saga with the state S: what Local, Message and the other
// functions of this package return. That the functions in it are of the same S is
// checked when the saga is registered.
type Step[S any] interface{ define() StepDef }

// Definition is a [Saga] without its type.
type Definition interface {
	// Compile checks the definition. Its errors name the step, and wrap
	// [holdfast.ErrInvalid].
	Compile() (*Compiled, error)
}

// Retry says how often and when a failed try is repeated; see [StepDef.Retry].
type Retry = core.Retry

// Local is a step in the database of the worker that runs the saga. do and undo
// write with tx, which is committed together with the step row that makes it
// happen once; what do and undo change in the state is kept. undo may be nil after
// the pivot, or where the step says [StepDef.NoUndo].
//
// An error is tried again, by the step's [Retry], a refusal ([Refuse]) and a
// [holdfast.Permanent] error are not. undo gets the state that do was given, with
// what do changed in it, also where the saga never learned of it; what later steps
// changed is not there. It is not run where do was never committed: an effect that do
// may have outside the database needs [StepDef.UndoUncertain].
func Local[S any](name string, do, undo func(ctx context.Context, tx *gorm.DB, s *S) error) StepDef {
	d := StepDef{step: core.Step{Name: name, Kind: core.Local, Undo: undo != nil}, state: reflect.TypeFor[S]()}
	if do == nil {
		d.problem("it has no function: give Local one")
		return d
	}
	d.do, d.undo = localDo(do), localUndo(undo)
	return d
}

// Message is a step that a participant does, in another process and with a
// database of its own: it gets a message on topic, and on undoTopic one to undo
// it, and replies to each. An empty undoTopic means that there is no Undo. Both
// messages carry a state, or what [StepDef.Send] makes of it: that with which the
// step was begun; the second with what Receive changed in it, too.
func Message(name, topic, undoTopic string) StepDef {
	return StepDef{step: core.Step{Name: name, Kind: core.Message,
		Topic: topic, UndoTopic: undoTopic, Undo: undoTopic != ""}}
}

// Activity is a step that any Temporal activity does, in any language: do and undo
// are its types' names, undo may be empty. Both get an [ActivityInput], with the
// state with which the step was begun; undo with what Receive changed in it, too.
// They may be run more than once, and undo also where do was not.
func Activity(name, do, undo string) StepDef {
	return StepDef{step: core.Step{Name: name, Kind: core.Activity, Type: do, UndoType: undo, Undo: undo != ""}}
}

// ActivityInput is what an activity of a saga gets.
type ActivityInput = core.ActivityInput

// Wait waits for an answer from outside, such as an approval, at most for timeout
// (0: 24 h), after which the step has failed. A refusing answer is a refusal.
func Wait(name string, timeout time.Duration) StepDef {
	return StepDef{step: core.Step{Name: name, Kind: core.Wait, Timeout: timeout}}
}

// Sub runs another saga to its end. Its first state is what [StepDef.Send] makes
// of this saga's state, and [StepDef.Receive] takes its last one. Undone, it is
// compensated. It runs in the same producer group.
func Sub(name string, def Definition) StepDef {
	d := StepDef{step: core.Step{Name: name, Kind: core.Saga, Undo: true}}
	if def == nil {
		return d
	}
	c, err := def.Compile()
	if err != nil {
		d.errs = append(d.errs, err)
		// A stand-in, so that nothing more is found wrong than that.
		d.step.Saga = &core.Plan{Name: "unknown", Steps: []core.Step{{Name: "unknown", Kind: core.Wait}}}
		return d
	}
	plan := c.Plan
	d.step.Saga, d.sub = &plan, c
	return d
}

// Parallel does all steps at once, and ends when all have ended. Steps that change
// the state should change different fields of it: of two that change the same one,
// the later wins.
func Parallel(name string, steps ...StepDef) StepDef { return group(core.Parallel, name, steps) }

// Sequence does its steps one after the other: a branch of a parallel group.
func Sequence(name string, steps ...StepDef) StepDef { return group(core.Sequence, name, steps) }

// Choose does one of its cases, or none: pick, made with [Pick], decides which by
// the state at that moment.
func Choose(name string, pick Picker, cases ...StepDef) StepDef {
	d := group(core.Choice, name, cases)
	if pick.f == nil {
		d.problem("it has no function: use Choose(name, saga.Pick(…), …)")
	}
	d.pick = pick
	return d
}

// Case are the steps that a choice does where its Pick returns label.
func Case(label string, steps ...StepDef) StepDef {
	d := group(core.Sequence, "case."+label, steps)
	d.step.Case, d.isCase = label, true
	if label == "" {
		d.problem("a Case needs a label: use Otherwise for all others")
	}
	return d
}

// Otherwise are the steps that a choice does where no case fits.
func Otherwise(steps ...StepDef) StepDef {
	d := group(core.Sequence, "otherwise", steps)
	d.isCase = true
	return d
}

func group(kind core.Kind, name string, steps []StepDef) StepDef {
	return StepDef{step: core.Step{Name: name, Kind: kind}, steps: steps}
}

// Refuse is the error of a step, or of a participant, whose answer is no for
// business reasons: out of stock, card declined. It rolls back what the step
// wrote, is remembered, and never tried again: the saga goes back at once.
func Refuse(reason string) error { return &holdfast.RefusedError{Reason: reason} }

// RefusedType is how an activity step's own activity refuses, where [Refuse] is no error
// of Temporal's: temporal.NewApplicationError(reason, saga.RefusedType).
const RefusedType = holdfast.RefusedType
