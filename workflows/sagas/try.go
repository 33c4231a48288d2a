package sagas

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// try is something that is under way: a step's Do, its Undo, or the pause before
// the next of them.
type try struct {
	step     *core.Step
	undo     bool
	n        int
	again    bool
	stopped  bool        // nobody waits for it any longer
	left     bool        // it goes on in the next run
	first    bool        // no earlier, unrecorded attempt of this workflow task can have run this step
	due      func() bool // that it can go on; nil: it does
	reply    *Reply      // the participant's
	answer   *request    // an operator's, to a wait
	taking   bool        // an answer is being taken into the state
	toldLong bool        // that it waits
	askNow   bool        // somebody wants the participant asked again at once
}

// underWay returns what is under way for a step, or nil.
func (s *sagaRun) underWay(step string) *try {
	for _, t := range s.tries {
		if t.step.Name == step {
			return t
		}
	}
	return nil
}

// leave ends t. Who has answered it meanwhile is told.
func (s *sagaRun) leave(t *try) {
	if t.answer != nil {
		t.answer.end(fmt.Errorf("step %s has ended without this answer", t.step.Name))
	}
	s.tries = slices.DeleteFunc(s.tries, func(x *try) bool { return x == t })
	if !t.left {
		delete(s.since, t.step.Name)
		delete(s.held, t.step.Name)
	}
}

// await waits until due says that t can go on.
func (s *sagaRun) await(ctx workflow.Context, t *try, due func() bool) {
	t.due, t.first = due, false
	_ = workflow.Await(ctx, due) // the context is disconnected: it cannot be cancelled
	t.due = nil
}

// awaitFor waits until due says that t can go on, until it is stopped or is to go
// on in a new run, or for d.
func (s *sagaRun) awaitFor(ctx workflow.Context, t *try, d time.Duration, summary string, due func() bool) {
	s.detailed, s.changed = true, true
	timed, cancel := workflow.WithCancel(ctx)
	defer cancel()
	timer := workflow.NewTimerWithOptions(timed, max(0, d), workflow.TimerOptions{Summary: workflows.Shorten(summary)})
	s.await(ctx, t, func() bool { return due() || t.stopped || s.renewing || timer.IsReady() })
	t.left = s.renewing && !t.stopped && !due() && !timer.IsReady()
}

// quiet reports whether all that is under way waits for something that has not
// come. What comes from outside is heard only then: a step that a lost run of the
// workflow task may have done as a local activity is begun again before it.
func (s *sagaRun) quiet() bool {
	if s.opening && s.in.HearsLater { // what there is to be undone is not known, nor under way yet
		return false
	}
	for _, t := range s.tries {
		if t.due == nil || t.due() {
			return false
		}
	}
	return s.replies.Len() == 0
}

// began is when a try was begun that may outlast a run.
func (s *sagaRun) began(ctx workflow.Context, t *try) time.Time {
	at, there := s.since[t.step.Name]
	if !there {
		at = workflow.Now(ctx)
		s.since[t.step.Name] = at
	}
	return at
}

// sleep waits until the next try.
func (s *sagaRun) sleep(ctx workflow.Context, t *try, d time.Duration) core.Outcome {
	s.awaitFor(ctx, t, d, s.sleepSummary(t.step), func() bool { return false })
	return core.Outcome{}
}

// step is the input of the runner's steps.
func (s *sagaRun) step(ctx workflow.Context, t *try) activities.SagaStep {
	step := *t.step
	step.Steps, step.Saga = nil, nil
	in := activities.SagaStep{Saga: s.ref(ctx), Step: step, Try: t.n, Again: t.again, Data: s.m.Given(step.Name)}
	if isCall(t) {
		in.Token, in.Untokened = s.token(ctx, t), !s.in.Tokens
	}
	if t.undo {
		in.Data = s.m.UndoData(step.Name)
		if step.Kind != core.Local { // its own row says it
			in.Witnesses = s.m.Witnesses(step.Name)
		}
		in.Cause, in.Step.Conditional = workflows.OrNone(s.cause()), false
	} else {
		in.Last = s.m.Last(step.Name)
		in.Step.Conditional = step.Conditional && !s.m.Step(step.Name).Decided
		//workflowcheck:ignore it compares
		if now := s.m.State().Data; !bytes.Equal(now, in.Data) {
			in.Present = now
		}
	}
	return in
}

// local runs one of the runner's steps as a local activity: in this process,
// within this workflow task, once. Where the process does not have the saga's
// version, another one is looked for.
//
// A process that dies loses what a workflow task did in local activities. The task
// is repeated, and each step finds in its row what it did; but where one comes to no
// answer this time, or the saga goes back meanwhile, nobody knows whether it was
// done, and what came after it.
func (s *sagaRun) local(ctx workflow.Context, t *try, name, summary string, timeout time.Duration,
	in activities.SagaStep) activities.SagaResult {
	if s.elsewhere {
		return s.regular(ctx, t, name, summary, timeout, in, false)
	}
	lctx := workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout: timeout,
		RetryPolicy:         once,
		Summary:             workflows.Shorten(summary),
	})
	most := mostOf(name, t.step)
	s.reserve(ctx, t, most)
	in.Last = in.Last && s.endFits(ctx, most)
	s.room.pending += most
	task := taskOf(ctx)
	var out activities.SagaResult
	kind := s.activityType(t, name, &in)
	// due stays nil: nothing from outside is heard meanwhile
	err := workflow.ExecuteLocalActivity(lctx, kind, in).Get(ctx, &out)
	strange := kind != name && isStrange(out, err)
	if err != nil {
		out = activities.SagaResult{Outcome: failureOf(err)}
	}
	s.room.pending -= most
	s.fits(ctx, 0)
	s.room.recorded += resultSize(out)
	if strange {
		s.in.StepNames, t.first = false, false
		return s.local(ctx, t, name, summary, timeout, in)
	}
	s.belong(out)
	t.first = out.First || t.first && task == taskOf(ctx)
	unsure := false
	switch out.Outcome.Kind {
	case core.OutcomeRefused, core.OutcomeBlocked:
	case core.OutcomeDone, core.OutcomeSkipped:
		unsure = s.m.State().Phase == core.Backwards // what comes after it is not begun again
	default:
		unsure = true
	}
	if unsure && !t.first {
		s.m.Unsure(t.step.Name)
		if t.step.Kind == core.Local || t.step.Kind == core.Message { // a lost run may have done more
			out.Outcome.Nothing = false
		}
	}
	if out.Outcome.Kind == core.OutcomeNoWorker {
		s.elsewhere = true
		return s.regular(ctx, t, name, summary, timeout, in, false)
	}
	return out
}

// taskOf tells workflow tasks apart.
func taskOf(ctx workflow.Context) int { return workflow.GetInfo(ctx).GetCurrentHistoryLength() }

// firstTask is the taskOf a workflow's first task, if no run of that was lost.
const firstTask = 3

// regular runs one of the runner's steps as a regular activity, once.
func (s *sagaRun) regular(ctx workflow.Context, t *try, name, summary string, timeout time.Duration,
	in activities.SagaStep, over bool) activities.SagaResult {
	out, err := s.tryRegular(ctx, t, name, summary, timeout, in, over)
	if err != nil {
		return activities.SagaResult{Outcome: failureOf(err)}
	}
	return out
}

// tryRegular is regular, with the error of an activity that returned no outcome.
// A process that does not have the saga's version does not count: others are
// asked, until one has it. over says that the end does not matter any more once t
// has been stopped, or a reply has come.
func (s *sagaRun) tryRegular(ctx workflow.Context, t *try, name, summary string, timeout time.Duration,
	in activities.SagaStep, over bool) (out activities.SagaResult, err error) {
	s.detailed, s.changed = true, true
	in.Last = false // until its end the saga may turn back
	stop := func() bool { return over && (t.stopped || t.reply != nil) }
	out, err = s.call(ctx, t, name, s.options(summary, timeout, 3, time.Second), in, stop)
	s.belong(out)
	if !hasType(err, activities.NoWorkerType) && !hasType(err, activities.OtherDatabaseType) {
		return out, err
	}
	switch s.stranded = ""; {
	case hasType(err, activities.OtherDatabaseType):
		s.stranded = "has the saga's database: " + workflows.RootMessage(err)
	case isNoKey(err):
		s.stranded = "can read the saga's state: " + workflows.RootMessage(err)
	}
	s.happen(ctx, core.Event{Kind: core.Stranded, Step: t.step.Name})
	out, err = s.call(ctx, t, name, s.options(summary, timeout, 0, 5*time.Second), in,
		func() bool { return t.stopped || stop() })
	s.belong(out)
	var stopped *temporal.CanceledError
	if !errors.As(err, &stopped) { // else none was found, and the try ends
		s.happen(ctx, core.Event{Kind: core.Stranded, Step: t.step.Name, Found: true})
	}
	return out, err
}

// belong notes in which database the first local step was run.
func (s *sagaRun) belong(out activities.SagaResult) {
	if s.in.Database == "" {
		s.in.Database = out.Database
	}
}

// options are those of an activity on the group's task queue. Temporal repeats it
// only where the process does not have the saga: all else is up to the machine.
func (s *sagaRun) options(summary string, timeout time.Duration, attempts int32,
	pause time.Duration) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue:           workflows.TaskQueue(s.in.Prefix, s.in.Group),
		StartToCloseTimeout: timeout,
		HeartbeatTimeout:    30 * time.Second,
		WaitForCancellation: true,
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: pause, BackoffCoefficient: 1, MaximumAttempts: attempts,
			NonRetryableErrorTypes: []string{"PanicError", "TemporalTimeout:StartToClose", "TemporalTimeout:Heartbeat",
				activities.NotRegisteredType}},
		Summary: workflows.Shorten(summary),
	}
}

// activity runs a regular activity. When stop says so it is asked to cancel, and
// its end awaited: until then it may still act.
func (s *sagaRun) activity(ctx workflow.Context, t *try, name string, o workflow.ActivityOptions, in, out any,
	stop func() bool) error {
	running, cancel := workflow.WithCancel(ctx)
	defer cancel()
	size := inputSize(in)
	s.reserve(ctx, t, size)
	s.room.recorded += size
	f := workflow.ExecuteActivity(workflow.WithActivityOptions(running, o), name, in)
	s.await(ctx, t, func() bool { return f.IsReady() || stop() })
	if !f.IsReady() {
		cancel()
		s.await(ctx, t, f.IsReady)
	}
	return f.Get(ctx, out)
}

// isNoKey reports whether a process does not have the key of the saga's state.
func isNoKey(err error) bool {
	var failure *temporal.ApplicationError
	var detail string
	return errors.As(err, &failure) && failure.HasDetails() && failure.Details(&detail) == nil &&
		detail == activities.NoKey
}

func hasType(err error, kind string) bool {
	var failure *temporal.ApplicationError
	return errors.As(err, &failure) && failure.Type() == kind
}

// failed is an outcome that is tried again, as often as the step's Retry says.
func failed(class holdfast.ErrorClass, format string, args ...any) core.Outcome {
	return core.Outcome{Kind: core.OutcomeFailed, Class: class,
		Error: workflows.Clip(fmt.Sprintf(format, args...), maxError)}
}

// maxError limits the texts of errors in a saga's status, in bytes.
const maxError = 1000

// failureOf is the outcome of an activity that did not return one.
func failureOf(err error) core.Outcome {
	var (
		cancelled *temporal.CanceledError
		timeout   *temporal.TimeoutError
		panicked  *temporal.PanicError
	)
	switch {
	case errors.As(err, &cancelled):
		return core.Outcome{Kind: core.OutcomeStopped}
	case errors.As(err, &timeout):
		return failed(holdfast.ClassTimeout, "%s", timeoutText(timeout))
	case errors.As(err, &panicked):
		return failed(holdfast.ClassPanic, "panic: %s", panicked.Error())
	case workflows.IsFinal(err):
		return failed(holdfast.ClassPermanent, "%s", workflows.RootMessage(err))
	}
	return failed(holdfast.ClassError, "%s", workflows.RootMessage(err))
}

func timeoutText(err *temporal.TimeoutError) string {
	switch err.TimeoutType() {
	case enumspb.TIMEOUT_TYPE_HEARTBEAT:
		return "the process that ran it was lost"
	case enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START:
		return "no worker took it"
	}
	return "it did not end within its timeout"
}
