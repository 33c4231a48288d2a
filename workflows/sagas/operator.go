package sagas

import (
	"errors"
	"fmt"
	"strings"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// sagaAction is something that an operator can ask for.
type sagaAction struct {
	name, description string
	// rank orders what has come at the same time. What lets the saga go on is done
	// before what keeps it from that.
	rank  int
	check func(Request) error
	do    func(workflow.Context, *request)
}

// request is something that an operator asked for.
type request struct {
	action *sagaAction
	req    Request
	update bool // somebody waits for the answer
	done   bool
	err    error
}

// end answers a request.
func (r *request) end(err error) { r.done, r.err = true, err }

func (s *sagaRun) sagaActions() []sagaAction {
	event := func(kind core.EventKind) func(Request) error {
		return func(req Request) error { return s.m.Check(core.Event{Kind: kind, Step: req.Step}) }
	}
	apply := func(kind core.EventKind) func(workflow.Context, *request) {
		return func(ctx workflow.Context, r *request) {
			s.happen(ctx, core.Event{Kind: kind, Step: r.req.Step, Operator: r.req.Operator, Reason: r.req.Reason})
			r.end(nil)
		}
	}
	return []sagaAction{
		{UpdateAnswer, `Answer a wait: approve it, with a value ` +
			`where the step takes one, or refuse it. An answer may come before its wait. Argument: ` +
			`{"operator": "ann", "reason": "within the limit", "step": "approval"}; to say no, "refuse": true; "value" is JSON`,
			0, s.checkAnswer, s.takeAnswer},
		{UpdateRetry,
			`Try again now what has failed, with all attempts anew, or ask a participant again that has not replied; ` +
				`of several, "step" names one. Argument: {"operator": "ann", "reason": "the printer is back", "step": "ship"}`,
			1, s.checkRetry, s.retry},
		{UpdateResume, `Go on after a pause. Argument: {"operator": "ann", "reason": "looked into it"}`,
			1, event(core.Continue), apply(core.Continue)},
		{UpdateSkip, `Go on without a step that waits, has failed, or was not begun; while the saga goes back, without ` +
			`its Undo. The saga takes it for done. Argument: {"operator": "ann", "reason": "shipped by hand", "step": "ship"}`,
			2, event(core.Skip), apply(core.Skip)},
		{UpdatePause, `Begin nothing more, until resumed. What ` +
			`is under way ends. Argument: {"operator": "ann", "reason": "stock is being counted"}`,
			3, event(core.Pause), apply(core.Pause)},
		{workflows.UpdateCompensate, `Undo all that was done, the last first. What has no Undo stays: the answer ` +
			`names it. Answers when the saga has turned back. Argument: {"operator": "ann", "reason": "the customer withdrew"}`,
			4, event(core.Undo), func(ctx workflow.Context, r *request) {
				s.compensate(ctx, r.req)
				r.end(nil)
			}},
	}
}

// refuse says why the saga does not do what is asked for.
func (s *sagaRun) refuse(a *sagaAction, req Request) error {
	switch {
	case req.Operator == "" || req.Reason == "":
		return workflows.ErrNobodyAsks
	case a.name != UpdateAnswer && (req.Refuse || len(req.Value) > 0):
		return errors.New(`"refuse" and "value" are for ` + UpdateAnswer)
	case req.Step != "" && (a.name == UpdatePause || a.name == UpdateResume || a.name == workflows.UpdateCompensate):
		return fmt.Errorf("%s is for the saga as a whole: leave out the step %q", a.name, workflows.Clip(req.Step, 100))
	}
	return a.check(req)
}

// listen sets the handlers: the query, the Updates, and the signals, which the root
// coroutine takes itself.
func (s *sagaRun) listen(ctx workflow.Context) error {
	s.actions = s.sagaActions()
	err := workflow.SetQueryHandlerWithOptions(ctx, workflows.QueryStatus,
		func() (Status, error) { return s.status(), nil },
		workflow.QueryHandlerOptions{Description: "Where this saga stands, what happened, and what an operator can do."})
	if err != nil {
		return err
	}
	s.replies = workflow.GetSignalChannelWithOptions(ctx, SignalReply, workflow.SignalChannelOptions{
		Description: "A participant's reply. Not for operators: the workers of the producer group send it."})
	for i := range s.actions {
		if err := s.listenTo(ctx, &s.actions[i]); err != nil {
			return err
		}
	}
	return nil
}

// listenTo offers a as an Update, which answers, and as a signal, which does not.
func (s *sagaRun) listenTo(ctx workflow.Context, a *sagaAction) error {
	s.signals = append(s.signals, workflow.GetSignalChannelWithOptions(ctx, a.name,
		workflow.SignalChannelOptions{Description: a.description}))
	return workflow.SetUpdateHandlerWithOptions(ctx, a.name, func(ctx workflow.Context, req Request) (Status, error) {
		ctx, _ = workflow.NewDisconnectedContext(ctx) // an operator may act after a cancel, too
		r := &request{action: a, req: req, update: true}
		s.requests = append(s.requests, r)
		_ = workflow.Await(ctx, func() bool { return r.done })
		if r.err != nil {
			return Status{}, temporal.NewNonRetryableApplicationError(r.err.Error(), RefusedType, nil)
		}
		return s.answer(), nil
	}, workflow.UpdateHandlerOptions{
		Description: a.description,
		Validator: func(req Request) error {
			if err := workflows.RefuseReserved(req.Operator); err != nil {
				return err
			}
			return s.refuse(a, req)
		},
	})
}

// isAsked reports whether there is something from outside that was not heard.
func (s *sagaRun) isAsked() bool {
	if len(s.requests) > 0 || s.cancelComes() {
		return true
	}
	for _, c := range s.signals {
		if c.Len() > 0 {
			return true
		}
	}
	return false
}

// cancelComes reports whether there is a request to cancel that was not seen.
func (s *sagaRun) cancelComes() bool { return !s.cancelled && s.parent.Err() != nil }

// takeRequest does the next thing that somebody outside asks for. Updates that came
// with the same workflow task are here already: the SDK begins them before it wakes
// the root coroutine.
func (s *sagaRun) takeRequest(ctx workflow.Context) {
	for i, c := range s.signals {
		var req Request
		for c.ReceiveAsync(&req) {
			s.requests = append(s.requests, &request{action: &s.actions[i], req: req})
			req = Request{}
		}
	}
	var next *request
	for _, r := range s.requests {
		if next == nil || r.action.rank < next.action.rank {
			next = r
		}
	}
	if next == nil {
		s.takeCancel(ctx)
		return
	}
	s.requests = without(s.requests, next)
	if next.action.name == UpdateRetry && !next.update && s.asksNow(next.req.Step) != nil &&
		workflow.GetVersion(ctx, "ask a participant at once", workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		next.end(errors.New("nothing has failed")) // as it was when this signal was taken
		return
	}
	next.req.Operator, next.req.Reason = workflows.Clip(next.req.Operator, 200), workflows.Clip(next.req.Reason, maxError)
	if err := s.refuse(next.action, next.req); err != nil {
		next.end(err)
		if !next.update {
			s.tell(ctx, Event{What: "rejected", Step: next.req.Step, Operator: next.req.Operator, Text: next.action.name +
				": " + err.Error()})
			workflow.GetLogger(ctx).Warn("signal refused", "signal", next.action.name, "operator", next.req.Operator,
				"error", err)
		}
		return
	}
	next.action.do(ctx, next)
}

// MayBegin says why a saga of this plan cannot begin with what is asked for.
func MayBegin(plan *core.Plan, data []byte, asked Asked) error {
	s := &sagaRun{in: Input{Name: plan.Name, Plan: plan}, m: core.New(plan, data)}
	for _, a := range s.sagaActions() {
		if a.name == asked.Action {
			return s.refuse(&a, asked.Request)
		}
	}
	return fmt.Errorf("unknown action %q", workflows.Clip(asked.Action, 100))
}

// startAsked does what was asked for before the saga had a workflow, and then begins it.
func (s *sagaRun) startAsked(ctx workflow.Context, asked Asked) {
	r := &request{req: asked.Request}
	r.req.Operator, r.req.Reason = workflows.Clip(r.req.Operator, 200), workflows.Clip(r.req.Reason, maxError)
	err := fmt.Errorf("unknown action %q", workflows.Clip(asked.Action, 100))
	for i := range s.actions {
		if s.actions[i].name == asked.Action {
			r.action = &s.actions[i]
			err = s.refuse(r.action, r.req)
		}
	}
	if err == nil {
		r.action.do(ctx, r)
	} else {
		s.tell(ctx, Event{What: "rejected", Step: r.req.Step, Operator: r.req.Operator,
			Text: workflows.Clip(asked.Action, 100) + ": " + err.Error()})
		s.happen(ctx, core.Event{Kind: core.Pause, Operator: r.req.Operator, Reason: "what was asked for is not possible"})
	}
	if s.m.State().Phase == core.Forwards {
		s.carryOut(s.m.Begin(workflow.Now(ctx)))
	}
}

func without(all []*request, r *request) (rest []*request) {
	for _, x := range all {
		if x != r {
			rest = append(rest, x)
		}
	}
	return rest
}

// takeCancel takes a request to cancel the workflow for an operator's compensate.
func (s *sagaRun) takeCancel(ctx workflow.Context) {
	if !s.cancelComes() {
		return
	}
	s.cancelled = true
	req := Request{Operator: workflows.CancelOperator, Reason: "the workflow was asked to cancel"}
	if s.m.Ended() {
		return
	}
	if err := s.m.Check(core.Event{Kind: core.Undo}); err != nil {
		s.tell(ctx, Event{What: "rejected", Operator: req.Operator, Text: "cancel: " + err.Error()})
		return
	}
	s.compensate(ctx, req)
}

// compensate turns the saga back, and says what has no Undo.
func (s *sagaRun) compensate(ctx workflow.Context, req Request) {
	_, without := s.m.Undoable()
	s.happen(ctx, core.Event{Kind: core.Undo, Operator: workflows.Clip(req.Operator, 200),
		Reason: workflows.Clip(req.Reason, maxError)})
	if len(without) > 0 {
		s.tell(ctx, Event{What: "not-undone", Text: "no Undo, stays done: " + strings.Join(without, ", ")})
	}
}

// checkRetry says why there is nothing to try again.
func (s *sagaRun) checkRetry(req Request) error {
	if s.asksNow(req.Step) != nil {
		return nil
	}
	return s.m.Check(core.Event{Kind: core.RetryNow, Step: req.Step})
}

// asksNow is the call that a retry has published again at once: one that waits for its
// reply, where nothing has failed. Nil: there is none.
func (s *sagaRun) asksNow(step string) *try {
	if s.m.Check(core.Event{Kind: core.RetryNow, Step: step}) == nil {
		return nil
	}
	for _, t := range s.tries {
		if isCall(t) && !s.sleeps(t) && t.due != nil && t.reply == nil && !t.stopped && (step == "" || t.step.Name == step) {
			return t
		}
	}
	return nil
}

// retry tries again what has failed, or asks again.
func (s *sagaRun) retry(ctx workflow.Context, r *request) {
	if t := s.asksNow(r.req.Step); t != nil {
		t.askNow = true
		s.tell(ctx, Event{What: UpdateRetry, Step: t.step.Name, Operator: r.req.Operator, Text: r.req.Reason})
	} else {
		s.happen(ctx, core.Event{Kind: core.RetryNow, Step: r.req.Step, Operator: r.req.Operator, Reason: r.req.Reason})
	}
	r.end(nil)
}

// MaxAnswer limits the value of an answer, in bytes of JSON.
const MaxAnswer = 64 << 10

// checkAnswer says why a step cannot be answered now, and what is possible.
func (s *sagaRun) checkAnswer(req Request) error {
	step := s.in.Plan.Find(req.Step)
	switch {
	case s.m.Ended():
		return fmt.Errorf("the saga is %s: nothing is left to answer", s.m.Standing())
	case step == nil || step.Kind != core.Wait:
		return fmt.Errorf("there is no wait %q in saga %s: it has %s", workflows.Clip(req.Step, 100), s.in.Name, s.waits())
	case s.m.State().Phase == core.Backwards:
		return fmt.Errorf("the saga is %s: step %s is not waited for any more", s.m.Standing(), req.Step)
	case len(req.Value) > MaxAnswer:
		return fmt.Errorf("%w: the answer's value has %d bytes, the limit is %d", holdfast.ErrTooLarge, len(req.Value),
			MaxAnswer)
	}
	if size := answersSize(s.answers) + len(req.Value); size > maxAnswers && s.underWay(req.Step) == nil {
		return fmt.Errorf("%w: the answers that have come before their steps have %d bytes together, the limit is %d: "+
			"answer step %s once it waits", holdfast.ErrTooLarge, size, maxAnswers, req.Step)
	}
	if by, there := s.answers[req.Step]; there {
		return fmt.Errorf("step %s was answered already, by %s", req.Step, by.Operator)
	}
	if t := s.underWay(req.Step); t != nil && (t.taking || t.answer != nil) {
		return fmt.Errorf("step %s was answered already: its answer is being taken", req.Step)
	}
	switch status := s.m.Step(req.Step).Status; status {
	case core.Pending, core.Running:
		return nil
	case core.Failed, core.Refused:
		return fmt.Errorf("step %s is %s: retry it first, then answer", req.Step, status)
	default:
		return fmt.Errorf("step %s is %s: it is not waited for", req.Step, status)
	}
}

// waits names the waits of the plan.
func (s *sagaRun) waits() string {
	var names []string
	s.in.Plan.Each(func(x *core.Step, _ int) {
		if x.Kind == core.Wait {
			names = append(names, x.Name)
		}
	})
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// takeAnswer gives an answer to its wait, or keeps it until that begins.
func (s *sagaRun) takeAnswer(ctx workflow.Context, r *request) {
	s.tell(ctx, Event{What: UpdateAnswer, Step: r.req.Step, Operator: r.req.Operator, Text: answerLine(r.req)})
	if t := s.underWay(r.req.Step); t != nil && !t.left && !t.stopped {
		t.answer = r
		return
	}
	s.answers[r.req.Step] = r.req
	r.end(nil)
}
