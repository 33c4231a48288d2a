package holdfasttest

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/sdk/temporal"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/sagarun"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// maxRuns is how often one Do or Undo may be asked for in a saga's run: after
// that, nothing is going to change.
const maxRuns = 200

// around runs a function of a step, and writes down how it ended.
func (k *Kit) around(step string, undo bool, f func() error) (err error) {
	k.callHooks(step, undo)
	ended := false
	defer func() {
		switch {
		case !ended:
			k.note(step, undo, "panicked")
		case err == nil:
			k.note(step, undo, "")
		default:
			k.note(step, undo, howFailed(err))
		}
	}()
	err = k.fail(step, undo, f)
	ended = true
	return err
}

func howFailed(err error) string {
	var failure *temporal.ApplicationError
	_, no := holdfast.IsRefused(err)
	if no || errors.As(err, &failure) && failure.Type() == sagas.RefusedType {
		return "refused"
	}
	return "failed"
}

// note adds to the steps of the run under way. Of failures of the same kind that
// follow each other, one is written down.
func (k *Kit) note(step string, undo bool, how string) {
	line := opName(undo) + " " + step
	if how != "" {
		line += ": " + how
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.run
	if r == nil {
		return
	}
	if n := len(r.steps); how != "" && n > 0 && r.steps[n-1] == line {
		return
	}
	r.steps = append(r.steps, line)
}

func opName(undo bool) string {
	if undo {
		return "undo"
	}
	return "do"
}

// participation is p, with what the kit does around it.
func (k *Kit) participation(p worker.Participation, undo bool) sagarun.Participation {
	return func(ctx context.Context, tx *gorm.DB, m holdfast.Message) (result any, err error) {
		err = k.around(callOf(ctx).Step, undo, func() (err error) {
			result, err = p(ctx, tx, m)
			return err
		})
		return result, err
	}
}

// sagaSteps are the runner's steps, with their faults.
type sagaSteps struct {
	*sagarun.Runner
	k *Kit
}

func (s sagaSteps) Do(ctx context.Context, in activities.SagaStep) activities.SagaResult {
	return s.step(ctx, in, false, s.Runner.Do)
}

func (s sagaSteps) Undo(ctx context.Context, in activities.SagaStep) activities.SagaResult {
	return s.step(ctx, in, true, s.Runner.Undo)
}

func (s sagaSteps) step(ctx context.Context, in activities.SagaStep,
	undo bool, run func(context.Context, activities.SagaStep) activities.SagaResult) activities.SagaResult {
	if n := s.k.count(in.Saga.ID, in.Step.Name, undo); n > maxRuns {
		s.k.endRun(fmt.Sprintf("step %s was tried %d times", in.Step.Name, maxRuns))
	}
	ctx, noReply := context.WithCancel(ctx)
	defer noReply()
	returned := false
	defer func() { s.k.abandoned(in.Step.Name, returned) }()
	out := run(context.WithValue(ctx, unanswered{}, noReply), in)
	returned = true
	return s.lose(in, undo, out)
}

// abandoned ends the run if a function of a step has ended its goroutine, as
// t.FailNow and package require do: nobody would come back.
func (k *Kit) abandoned(step string, returned bool) {
	if !returned {
		k.endRun("a function of step " + step +
			" ended its goroutine: use assert, or return an error, instead of require and t.Fatal")
	}
}

// lose has the answer of a local step that took effect get lost.
func (s sagaSteps) lose(in activities.SagaStep, undo bool, out activities.SagaResult) activities.SagaResult {
	if in.Step.Kind != core.Local || out.Outcome.Kind != core.OutcomeDone {
		return out
	}
	if f := s.k.strikes(faultLose, in.Step.Name, undo); f != nil {
		return activities.SagaResult{Outcome: core.Outcome{Kind: core.OutcomeFailed,
			Class: holdfast.ClassTimeout, Error: f.err.Error()}}
	}
	return out
}

// count counts the tries of a step.
func (k *Kit) count(saga, step string, undo bool) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.run == nil {
		return 0
	}
	key := saga + "\x00" + step + "\x00" + opName(undo)
	k.run.tries[key]++
	return k.run.tries[key]
}
