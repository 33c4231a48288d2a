package sagarun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/guard"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/internal/telemetry"
	"github.com/holdfastmq/holdfast/saga/core"
)

// Runner is an [activities.SagaRunner]. Its methods may be called from many
// goroutines. A panic in a user's function is an outcome.
type Runner struct {
	// Definitions are the sagas that this process has. Required.
	Definitions *Definitions
	// DB is the database of local steps; nil where no saga has one.
	DB *gorm.DB
	// Database is the identity of DB. A saga whose local steps were begun in another
	// one is not for this process.
	Database string
	// OtherDatabase, if not nil, is told of such a saga.
	OtherDatabase func(err *barrier.OtherDatabaseError)
	// Calls sends messages to participants. Required where a saga has a message
	// step.
	Calls Calls
	// Waiting, if not nil, says whether the participant of a topic cannot work on its
	// calls, and why; nil: it can, or that is not known.
	Waiting func(ctx context.Context, topic string) *activities.SagaWaits
	// Waiters are told of replies that come to this process. Required where a saga has a
	// message step.
	Waiters *Waiters
	// Completed, if not nil, is told of sagas that are completed with this state as
	// soon as their history says so. It must not block.
	Completed func(id string, data json.RawMessage)
	// Box seals states and what is sent, and opens states and what is answered; nil: neither.
	Box *seal.Box
	// Trace makes the spans of steps; nil: none.
	Trace *telemetry.Tracer
	// Around, if not nil, is called with each Do and Undo of a local step, inside its
	// transaction, and calls f in its place.
	Around func(ctx context.Context, s activities.SagaStep, undo bool, f func() error) error
}

var _ activities.SagaRunner = (*Runner)(nil)

// Plan returns the plan of a version, 0 for the highest.
func (r *Runner) Plan(_ context.Context, name string, version int) (core.Plan, error) {
	c, err := r.Definitions.Find(name, version)
	if err != nil {
		return core.Plan{}, err
	}
	return c.Plan, nil
}

// Do does a local step, or publishes a message and waits for the reply.
func (r *Runner) Do(ctx context.Context, s activities.SagaStep) activities.SagaResult {
	return r.traced(ctx, "do", s, r.do)
}

// traced has a step's Do or Undo run inside a span.
func (r *Runner) traced(ctx context.Context, operation string, s activities.SagaStep,
	run func(context.Context, activities.SagaStep) activities.SagaResult) (out activities.SagaResult) {
	r.Trace.Step(ctx, s.Saga.Trace, operation, s.Saga.Name, s.Saga.ID, s.Step.Name, s.Try,
		func(ctx context.Context) (outcome, err string) {
			out = run(ctx, s)
			return string(out.Outcome.Kind), out.Outcome.Error
		})
	return out
}

func (r *Runner) do(ctx context.Context, s activities.SagaStep) activities.SagaResult {
	c, out, not := r.begin(ctx, s)
	if not {
		return out
	}
	switch s.Step.Kind {
	case core.Local:
		if out, other := r.other(s); other {
			return out
		}
		out = r.doLocal(ctx, c, s)
		r.note(s, &out)
	case core.Message:
		out = r.doMessage(ctx, c, s)
	default:
		return failedAs(holdfast.ClassPermanent,
			"step "+s.Step.Name+" is a "+string(s.Step.Kind)+", which nobody does like this")
	}
	r.completed(s, out.Outcome)
	return out
}

// other reports whether s is a step of a saga whose local steps run in another
// database than this process's: a row of it would be missed there.
func (r *Runner) other(s activities.SagaStep) (activities.SagaResult, bool) {
	if s.Saga.Database == "" || r.Database == "" || s.Saga.Database == r.Database {
		return activities.SagaResult{}, false
	}
	err := &barrier.OtherDatabaseError{Have: r.Database, Want: s.Saga.Database}
	if r.OtherDatabase != nil {
		r.OtherDatabase(err)
	}
	out := noWorker(err)
	out.OtherDatabase = true
	return out, true
}

// note says which database a saga belongs to from its first local step on.
func (r *Runner) note(s activities.SagaStep, out *activities.SagaResult) {
	if s.Saga.Database == "" {
		out.Database = r.Database
	}
}

// errSkipped rolls the step row back where the condition says no.
var errSkipped = errors.New("its condition does not hold")

// doLocal does a local step, within its timeout, and asks the condition inside
// the step's transaction: if an earlier run took effect, that is what counts,
// whatever the condition says now.
func (r *Runner) doLocal(ctx context.Context, c *program, s activities.SagaStep) (out activities.SagaResult) {
	ran := false   // the step row was this call's: so there was none
	began := false // the user's function was
	defer func() { out.First = ran }()
	ctx, cancel := context.WithTimeout(ctx, s.Step.TryTimeout())
	defer cancel()
	var res barrier.StepResult
	do := func(ctx context.Context, tx *gorm.DB) ([]byte, error) {
		ran = true
		if err := holds(ctx, tx, s); err != nil {
			return nil, err
		}
		if s.Step.Conditional {
			if yes, err := c.When(ctx, s.Step.Name, s.Data); err != nil || !yes {
				return nil, orSkipped(err)
			}
		}
		began = true
		return r.callDo(ctx, c, tx, s)
	}
	err := contending(ctx, func() (err error) {
		res, err = barrier.DoStepGiven(ctx, r.DB, s.Saga.ID, s.Step.Name,
			barrier.StepClaim{Content: s.Saga.Content}, s.Again, given(s), do)
		return err
	})
	switch {
	case errors.Is(err, errSkipped):
		return skipped()
	case err != nil:
		out = excused(ctx, err)
		out.Outcome.Nothing = ran && !began // the row is rolled back, and nothing else was done
		out.Others = !began && errors.Is(err, holdfast.ErrDuplicate)
		out.NotHeld = !began && errors.Is(err, barrier.ErrNotHeld)
		return out
	}
	ran = !res.Repeated
	switch res.Outcome {
	case barrier.StepRefused:
		return refused(res.Reason)
	case barrier.StepBlocked:
		return blocked(res.Reason)
	}
	return done(res.Result)
}

// given is what a step's row keeps of its input, for the Undo.
func given(s activities.SagaStep) []byte {
	if !s.Step.Undo {
		return nil
	}
	return s.Data
}

// callDo calls the user's Do of a local step.
func (r *Runner) callDo(ctx context.Context, c *program, tx *gorm.DB, s activities.SagaStep) (patch []byte, err error) {
	err = r.around(ctx, s, false, func() (err error) {
		patch, err = c.Do(ctx, tx, s.Step.Name, s.Data)
		return err
	})
	return patch, err
}

// holds sees to it, in a step's transaction, that its saga is driven by who runs it.
func holds(ctx context.Context, tx *gorm.DB, s activities.SagaStep) (err error) {
	switch {
	case s.Begin != nil:
		_, err = barrier.BeginSaga(ctx, tx, s.Saga.ID,
			barrier.BegunSaga{SagaStart: *s.Begin, Content: s.Saga.Content, Holder: s.Holder})
	case s.Holder != "":
		err = barrier.HoldSaga(ctx, tx, s.Saga.ID, s.Holder)
	}
	return err
}

func (r *Runner) around(ctx context.Context, s activities.SagaStep, undo bool, f func() error) error {
	if r.Around == nil {
		return f()
	}
	return r.Around(ctx, s, undo, f)
}

func orSkipped(err error) error {
	if err == nil {
		return errSkipped
	}
	return err
}

// completed tells of a saga that this outcome completes.
func (r *Runner) completed(s activities.SagaStep, o core.Outcome) {
	if r.Completed == nil || !s.Last || o.Kind != core.OutcomeDone && o.Kind != core.OutcomeSkipped {
		return
	}
	data, err := core.Merge(present(s), o.Patch)
	if err != nil || core.CheckData(data) != nil {
		return // then the step has failed
	}
	r.Completed(s.Saga.ID, data)
}

// Undo undoes a local step, or publishes a message's Undo and waits for the reply.
func (r *Runner) Undo(ctx context.Context, s activities.SagaStep) activities.SagaResult {
	return r.traced(ctx, "undo", s, r.undo)
}

func (r *Runner) undo(ctx context.Context, s activities.SagaStep) activities.SagaResult {
	c, out, not := r.begin(ctx, s)
	if not {
		return out
	}
	switch s.Step.Kind {
	case core.Local:
		out, other := r.other(s)
		if !other {
			out = r.undoLocal(ctx, c, s)
			r.note(s, &out)
		}
		return out
	case core.Message:
		return r.undoMessage(ctx, c, s)
	}
	return failedAs(holdfast.ClassPermanent,
		"step "+s.Step.Name+" is a "+string(s.Step.Kind)+", which nobody undoes like this")
}

// undoLocal undoes a local step, within its timeout, and gives the Undo the state
// that the step row has: what the Do was given, with what it changed in that. Of both
// the saga may never have learned.
func (r *Runner) undoLocal(ctx context.Context, c *program, s activities.SagaStep) activities.SagaResult {
	ctx, cancel := context.WithTimeout(ctx, s.Step.TryTimeout())
	defer cancel()
	undo := func(ctx context.Context, tx *gorm.DB, did barrier.StepDid) (patch []byte, err error) {
		given := s.Data
		if len(did.Given) > 0 {
			given = did.Given
		}
		data, err := core.Merge(given, did.Result)
		if err != nil {
			return nil, holdfast.Permanent(err)
		}
		err = r.around(ctx, s, true, func() (err error) {
			patch, err = c.Undo(ctx, tx, s.Step.Name, data)
			return err
		})
		return patch, mayNotRefuse(err)
	}
	var res barrier.StepUndone
	err := contending(ctx, func() (err error) {
		res, err = barrier.UndoStepGiven(ctx, r.DB, s.Saga.ID, s.Step.Name,
			barrier.StepClaim{Content: s.Saga.Content}, s.Cause, s.Step.UndoUncertain, undo)
		return err
	})
	switch {
	case err != nil:
		return excused(ctx, err)
	case !res.Ran:
		return notDone()
	}
	return done(res.Result)
}

// ask has a step undone with the state that its witnesses tell of.
func (r *Runner) ask(ctx context.Context, s *activities.SagaStep) error {
	for _, witness := range s.Witnesses {
		did, err := barrier.DidStep(ctx, r.DB, s.Saga.ID, witness)
		if err != nil {
			return err
		}
		if did.Done && len(did.Given) > 0 {
			s.Data, err = core.Merge(did.Given, did.Result)
			return err
		}
	}
	return nil
}

// Prepare decides about a condition or a choice, and makes an activity's or a
// sub-saga's input. Of an Undo (s.Cause is set) only the last.
func (r *Runner) Prepare(ctx context.Context, s activities.SagaStep) (out activities.SagaResult) {
	c, out, not := r.begin(ctx, s)
	if not {
		return out
	}
	if err := r.ask(ctx, &s); err != nil {
		return excused(ctx, err)
	}
	err := guard.Call(func() (err error) {
		if s.Step.Conditional && s.Cause == "" {
			if yes, err := c.When(ctx, s.Step.Name, s.Data); err != nil || !yes {
				return orSkipped(err)
			}
		}
		out = done(nil)
		switch s.Step.Kind {
		case core.Choice:
			out.Outcome.Case, err = c.Pick(ctx, s.Step.Name, s.Data)
		case core.Activity, core.Saga:
			out.Input, err = c.Input(ctx, s.Step, s.Data)
		}
		if err == nil && len(out.Input) > activities.MaxInput {
			err = fmt.Errorf("%w: what it sends has %d bytes of JSON, the limit is %d: send a reference",
				holdfast.ErrTooLarge, len(out.Input), activities.MaxInput)
		}
		return err
	})
	switch reason, no := holdfast.IsRefused(err); {
	case errors.Is(err, errSkipped):
		return skipped()
	case no:
		return refused(reason)
	case err != nil:
		return nothing(failed(ctx, err))
	}
	return out
}

// Receive takes a result into the state. It has no effect but that: so where a key is
// missing, another process is asked, and the result is not lost.
func (r *Runner) Receive(ctx context.Context, s activities.SagaStep) activities.SagaResult {
	c, out, not := r.begin(ctx, s)
	if not {
		return out
	}
	if out = receive(ctx, c, s, s.Result); out.Outcome.Excused {
		return noKey(errors.New(out.Outcome.Error))
	}
	r.completed(s, out.Outcome)
	return out
}

// receive does. Where it refuses what was done elsewhere, the step has failed and
// is to be undone: only of a refusal before it was done would nothing be left.
func receive(ctx context.Context, c *program, s activities.SagaStep,
	result json.RawMessage) activities.SagaResult {
	var patch json.RawMessage
	err := guard.Call(func() (err error) {
		patch, err = c.Receive(ctx, s.Step, s.Data, result)
		return err
	})
	switch reason, no := holdfast.IsRefused(err); {
	case no && s.Step.Kind == core.Wait:
		return refused(reason)
	case no:
		return failedAs(holdfast.ClassPermanent, "its result was refused: "+reason)
	case err != nil:
		return failed(ctx, err)
	}
	return done(patch)
}
