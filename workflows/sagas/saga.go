package sagas

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// sagaRun is a run of the workflow Saga. Its machine decides; what that wants done
// is carried out by a coroutine for each step. The root coroutine takes what comes
// from outside, and shows how things stand.
type sagaRun struct {
	in     Input
	parent workflow.Context // that a request to cancel reaches
	ctx    workflow.Context // disconnected from it, for the steps
	m      *core.Machine

	tries   []*try               // what is under way
	since   map[string]time.Time // when they were begun, where that outlasts a run
	held    map[string]Waits     // what keeps participants from replying
	answers map[string]Request   // that came before their wait
	story   []Event
	late    int
	// untrusted are the replies that did not count.
	untrusted int

	actions   []sagaAction
	signals   []workflow.ReceiveChannel // of the actions, in their order
	replies   workflow.ReceiveChannel
	requests  []*request // of operators, not yet done
	cancelled bool       // the request to cancel has been seen

	invalid   error  // what is wrong with the plan that was found
	planned   bool   // the plan is known
	owned     bool   // this workflow drives the saga, and no process in the Express lane
	opening   bool   // it may have ended before; what it lacks to say so is being found
	other     string // why its key is another saga's
	first     bool   // no earlier, unrecorded attempt of the workflow task can have begun what is begun now
	elsewhere bool   // a process did not have the saga's version, or its database
	stranded  string // why no process can run a step, if not for the version
	shown     string // what HoldfastState was last set to; empty: never
	paused    string // who paused it, and why
	changed   bool   // something is to be shown
	detailed  bool   // it is worth details: something takes longer
	alerting  int    // alerts that are being told
	renewing  bool   // it is to go on in a new run
	room      room
	planSize  int // in bytes
}

// Saga brings a saga to its end, completed or compensated, and returns how it
// stands then; with in.Undo, it undoes one that has ended. It fails only for an
// invalid input, and where its key is another saga's: whatever else goes wrong is
// compensated, or waits for an operator.
//
// A request to cancel the workflow has the saga compensate.
func Saga(ctx workflow.Context, in Input) (Status, error) {
	s, err := newSaga(ctx, in)
	if err != nil {
		return Status{}, temporal.NewNonRetryableApplicationError(err.Error(), workflows.InvalidInput, err)
	}
	return s.run(ctx)
}

func newSaga(ctx workflow.Context, in Input) (*sagaRun, error) {
	in, err := in.named(ctx)
	if err == nil {
		in, err = in.complete()
	}
	if err != nil {
		return nil, err
	}
	s := &sagaRun{in: in, planned: in.Plan != nil, since: map[string]time.Time{}, held: map[string]Waits{},
		answers: map[string]Request{}}
	if !s.planned { // found by the first step; nothing begins before
		s.in.Plan = &core.Plan{Name: in.Name, Version: in.Version}
	}
	s.shown = string(workflows.ShownState(ctx))
	s.m = core.New(s.in.Plan, in.Data)
	if in.Again {
		s.m.DoneBefore()
	}
	if in.Resumed != nil {
		s.resume(*in.Resumed)
	}
	return s, nil
}

func (s *sagaRun) run(parent workflow.Context) (Status, error) {
	ctx, _ := workflow.NewDisconnectedContext(parent)
	s.ctx, s.parent = ctx, parent
	if err := s.listen(ctx); err != nil {
		return Status{}, err
	}
	s.start(ctx)
	for {
		s.rest(ctx)
		switch {
		case s.invalid != nil:
			return Status{}, temporal.NewNonRetryableApplicationError(s.invalid.Error(), workflows.InvalidInput, s.invalid)
		case s.other != "":
			return Status{}, temporal.NewNonRetryableApplicationError(s.other, workflows.KeyUsed, nil)
		case s.replies.Len() > 0:
			s.hearReply(ctx)
		case s.isAsked() && s.quiet():
			s.takeRequest(ctx)
		case s.changed:
			s.show(ctx)
		case !s.fits(ctx, s.size()) && s.limited(ctx): // the end, or the next run
			s.reserve(ctx, nil, s.size())
		case s.ended():
			return s.status(), nil
		case s.renewing:
			return Status{}, workflow.NewContinueAsNewError(ctx, Name, s.renewed())
		}
	}
}

// rest waits until the root coroutine has something to do.
func (s *sagaRun) rest(ctx workflow.Context) {
	_ = workflow.Await(ctx, func() bool {
		return s.changed || s.invalid != nil || s.other != "" || s.replies.Len() > 0 || s.isAsked() && s.quiet() ||
			(s.ended() || s.tooLong(ctx) && len(s.tries) == 0) && workflow.AllHandlersFinished(ctx) && s.alerting == 0
	})
}

// ended reports whether nothing more will happen.
func (s *sagaRun) ended() bool { return s.m.Ended() && !s.opening }

// start begins what comes first.
func (s *sagaRun) start(ctx workflow.Context) {
	s.first = taskOf(ctx) <= firstTask && !s.in.Again
	defer func() { s.first = false }()
	s.opening = false
	switch {
	case !s.planned:
		lost := s.in.HearsLater && !s.in.Renewed && (s.in.Again || taskOf(ctx) > firstTask) // it may have done steps
		s.opening = s.in.Begun || s.in.Undo != nil || lost
		workflow.GoNamed(ctx, "plan", s.findPlan)
		return
	case s.in.Plan.BeginRow() && !s.owned && !s.in.Renewed:
		s.opening = true
		workflow.GoNamed(ctx, "own", s.own)
		return
	case s.in.Undo != nil && !s.in.Renewed:
		s.startUndo(ctx)
	case s.in.Renewed:
		s.carryOut(s.m.Restart(workflow.Now(ctx)))
	case s.in.Asked != nil && !s.m.Ended():
		s.startAsked(ctx, *s.in.Asked)
	default:
		s.carryOut(s.m.Begin(workflow.Now(ctx)))
	}
	s.changed = s.changed || s.in.Calls != "" // handed over: nobody has shown yet how it stands
	s.in.Resumed, s.in.Data, s.in.Asked = nil, nil, nil
}

// startUndo turns back a saga that has ended.
func (s *sagaRun) startUndo(ctx workflow.Context) {
	if s.in.Undo.Terminated {
		s.m.Assume()
	}
	switch s.m.State().Phase {
	case core.Compensated:
		return
	case core.Backwards:
		s.carryOut(s.m.Restart(workflow.Now(ctx)))
		return
	}
	s.compensate(ctx, Request{Operator: s.in.Undo.Operator, Reason: s.in.Undo.Reason})
}

// happen feeds the machine, and carries out what it wants. Of an operator's event,
// Check has been asked.
func (s *sagaRun) happen(ctx workflow.Context, e core.Event) {
	e.At, e.Outcome.Error = workflow.Now(ctx), workflows.Clip(e.Outcome.Error, maxError)
	effects, err := s.m.Apply(e)
	if err != nil {
		workflow.GetLogger(ctx).Error("the event is not possible", "event", e.Kind, "step", e.Step, "error", err)
		return
	}
	s.changed = true
	s.tellEvent(ctx, e)
	s.carryOut(effects)
}

// carryOut does what the machine wants. What it wants done in a new run, the
// machine will want again there.
func (s *sagaRun) carryOut(effects []core.Effect) {
	for _, e := range effects {
		switch e.Kind {
		case core.EffectWake, core.EffectStop:
			if t := s.underWay(e.Step.Name); t != nil {
				t.stopped = true
			}
		default:
			if !s.renewing {
				s.begin(e)
			}
		}
	}
}

// begin carries out an effect that takes time, in a coroutine of its own.
func (s *sagaRun) begin(e core.Effect) {
	t := &try{step: e.Step, n: e.Try, again: e.Again, undo: e.Kind == core.EffectUndo}
	at, back := s.m.Step(e.Step.Name), s.m.State().Phase == core.Backwards
	t.stopped = at.SkipWanted || back && e.Kind == core.EffectDo // of a run before, that could not end
	s.tries = append(s.tries, t)
	event, act := core.Event{Kind: core.DoEnded, Step: t.step.Name}, s.do
	switch e.Kind {
	case core.EffectUndo:
		event.Kind, act = core.UndoEnded, s.undo
	case core.EffectSleep:
		event.Kind = core.Slept
		act = func(ctx workflow.Context, t *try) core.Outcome { return s.sleep(ctx, t, e.For) }
	}
	t.first = s.first
	workflow.GoNamed(s.ctx, string(e.Kind)+" "+t.step.Name, func(ctx workflow.Context) {
		event.Outcome = act(ctx, t)
		if event.Outcome.Kind == core.OutcomeStopped && !t.stopped {
			event.Outcome = failed(holdfast.ClassLost, "it was cancelled, and not by the saga: its process was stopping")
		}
		s.letIn(ctx, t)
		s.leave(t)
		if t.left {
			return
		}
		s.first = t.first
		s.happen(ctx, event)
		s.first = false
	})
}

// letIn handles operator requests that arrived while t ran as a local activity, before the
// next step starts. Skipped if an unrecorded attempt of this task may already have started
// that step, or if t completes the saga.
func (s *sagaRun) letIn(ctx workflow.Context, t *try) {
	if t.first && s.isAsked() && !s.m.Last(t.step.Name) {
		s.await(ctx, t, func() bool { return !s.isAsked() })
		t.first = true
	}
}

// complete checks the input, and fills in what it leaves open.
func (in Input) complete() (Input, error) {
	if in.Prefix == "" {
		in.Prefix = "holdfast"
	}
	if err := holdfast.ValidateName("group", in.Group); err != nil {
		return in, err
	}
	if err := holdfast.ValidateName("saga's name", in.Name); err != nil {
		return in, err
	}
	if in.ID == "" {
		return in, fmt.Errorf("%w: saga %s has no ID", holdfast.ErrInvalid, in.Name)
	}
	if in.Plan == nil && in.Resumed != nil && len(in.Resumed.Plan.Steps) > 0 {
		in.Plan = &in.Resumed.Plan
	}
	if in.Plan != nil {
		plan, err := in.Plan.Complete()
		if err != nil {
			return in, err
		}
		if plan.Name != in.Name {
			return in, fmt.Errorf("%w: the plan of saga %s is that of saga %s", holdfast.ErrInvalid, in.Name, plan.Name)
		}
		in.Plan = &plan
	}
	if in.Undo != nil && (in.Undo.Operator == "" || in.Undo.Reason == "") {
		return in, fmt.Errorf("%w: saga %s is to be undone: say who asks and why", holdfast.ErrInvalid, in.ID)
	}
	if len(in.Data) == 0 {
		in.Data = []byte("{}")
	} else if in.Content == "" && !in.Renewed && in.Undo == nil {
		in.Content = ContentOf(in.Data)
	}
	return in, core.CheckData(in.Data)
}

// ref names the saga to the steps.
func (s *sagaRun) ref(ctx workflow.Context) activities.SagaRef {
	return activities.SagaRef{ID: s.in.ID, Workflow: workflow.GetInfo(ctx).WorkflowExecution.ID, Group: s.in.Group,
		Key: s.in.Key, Name: s.in.Name, Version: s.in.Plan.Version, Content: s.in.Content, Database: s.in.Database,
		Trace: s.in.Trace}
}

// Observed is the workflow [Saga], and tells ended of each saga that ends in
// this process, before that is recorded, but not of those that are replayed. ended
// must not block, and decides nothing; had says that the saga had completed before, without a
// workflow, so that its end is no news but to who waits for this one.
func Observed(ended func(s Status, had bool)) func(workflow.Context, Input) (Status, error) {
	return func(ctx workflow.Context, in Input) (Status, error) {
		status, err := Saga(ctx, in)
		if err == nil && !workflow.IsReplaying(ctx) {
			ended(status, in.Ended && status.State == core.StateCompleted)
		}
		return status, err
	}
}
