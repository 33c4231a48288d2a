package sagas

import (
	"encoding/json"
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// Temporal takes at most 4 MiB of what one workflow task records, and 2 MiB in one
// piece: an input, a result, an answer. It refuses more for ever, so that a saga would
// never end. Hence these limits, in bytes.
const (
	// taskSoft is how much a workflow task records before it is ended, and another one
	// begun; taskHard is how much it may come to with what is under way, taskMost with
	// the end of the run, too.
	taskSoft = 1 << 20
	taskHard = 3 << 20
	taskMost = 7 << 19
	// maxStatus limits what a run knows: the workflow's result, the answer to a query,
	// the input of the next run.
	maxStatus = 15 << 17
	// maxUpdateAnswer is how large the answer to an Update may be that has the state.
	maxUpdateAnswer = 256 << 10
	// maxAnswers limits the answers together that have come before their waits.
	maxAnswers = 2 * MaxAnswer
	// eventSize is about what an event takes beside what it is about.
	eventSize = 1500
)

// room counts what the workflow task under way records.
type room struct {
	task     int // tells it from others
	recorded int
	pending  int             // the most that local activities under way can add
	next     workflow.Future // with which another task begins; nil: none is wanted
	asked    int             // versions, of what was recorded before there were limits
	bounded  bool
}

// reserve waits until n bytes can be recorded: nothing from outside is heard
// meanwhile, since what begins now may have been done by a run that is lost.
func (s *sagaRun) reserve(ctx workflow.Context, t *try, n int) {
	for !s.fits(ctx, n) && s.limited(ctx) {
		if s.room.pending > 0 {
			_ = workflow.Await(ctx, func() bool { return s.room.pending == 0 || s.fits(ctx, n) })
			continue
		}
		s.nextTask(ctx)
		if t != nil {
			t.first = false
		}
	}
}

// fits reports whether n bytes more can be recorded in this workflow task. What does
// not fit into an empty one never would.
func (s *sagaRun) fits(ctx workflow.Context, n int) bool {
	r := &s.room
	if task := taskOf(ctx); task != r.task {
		r.task, r.recorded = task, 0
	}
	return r.recorded+r.pending == 0 || r.recorded < taskSoft && r.recorded+r.pending+n <= taskHard
}

// limited reports whether the limits hold: not for what was recorded before there
// were any, which had found room.
func (s *sagaRun) limited(ctx workflow.Context) bool {
	if !s.room.bounded {
		id := fmt.Sprintf("room-%d", s.room.asked)
		s.room.bounded = workflow.GetVersion(ctx, id, workflow.DefaultVersion, 1) != workflow.DefaultVersion
		s.room.asked++
	}
	return s.room.bounded
}

// nextTask ends the workflow task, and goes on in another one.
func (s *sagaRun) nextTask(ctx workflow.Context) {
	if s.room.next == nil {
		s.room.next = workflow.NewTimerWithOptions(ctx, time.Millisecond, workflow.TimerOptions{
			Summary: "a new workflow task: this one has recorded as much as Temporal takes at once"})
	}
	next := s.room.next
	_ = workflow.Await(ctx, next.IsReady)
	if s.room.next == next {
		s.room.next, s.room.recorded = nil, 0
	}
}

// endFits reports whether the saga's end can be recorded together with what this
// workflow task has done, after a step that adds at most n bytes to its state.
func (s *sagaRun) endFits(ctx workflow.Context, n int) bool {
	s.fits(ctx, 0)
	size := s.size() + 2*n
	return s.room.recorded+s.room.pending+size <= taskMost && size <= maxStatus && s.m.State().Kept()+2*n <= core.MaxKept
}

// mostOf is the most that one of the runner's steps answers, in bytes.
func mostOf(name string, step *core.Step) int {
	switch {
	case name == activities.SagaPrepare && step.Kind == core.Activity:
		return activities.MaxInput + eventSize
	case name == activities.SagaDo && step.Kind == core.Message && !step.Receives,
		name == activities.SagaPrepare && step.Kind != core.Saga:
		return 2 * eventSize
	}
	return core.MaxData + 2*eventSize
}

// inputSize is what it takes to record the input of an activity.
func inputSize(in any) int {
	switch x := in.(type) {
	case activities.SagaStep:
		return eventSize + len(x.Data) + len(x.Present) + len(x.Result) + len(x.Cause)
	case core.ActivityInput:
		return eventSize + len(x.Data)
	}
	return eventSize
}

// resultSize is what it takes to record what a step has answered.
func resultSize(out activities.SagaResult) int {
	return eventSize + len(out.Outcome.Patch) + len(out.Input) + workflows.JSONLength(out.Outcome.Error)
}

// size is about what it takes to record all that is known of the saga.
func (s *sagaRun) size() int {
	if s.planSize == 0 {
		s.planSize = len(marshal(s.in.Plan))
	}
	size := 4<<10 + s.planSize + len(s.m.State().Data) + s.m.State().Kept() + answersSize(s.answers)
	s.in.Plan.Each(func(x *core.Step, _ int) {
		if at := s.m.Step(x.Name); at.Status != core.Pending {
			size += 300 + len(x.Name) + workflows.JSONLength(at.Error)
		}
	})
	//workflowcheck:ignore the order does not matter
	for step, w := range s.held {
		size += 300 + len(step) + workflows.JSONLength(w.Who) + workflows.JSONLength(w.Reason)
	}
	for _, e := range s.story {
		size += 150 + workflows.JSONLength(e.Text) + workflows.JSONLength(e.Operator) + len(e.Step)
	}
	return size
}

func answersSize(answers map[string]Request) (size int) {
	//workflowcheck:ignore the order does not matter
	for _, a := range answers {
		size += 300 + len(a.Value) + workflows.JSONLength(a.Reason)
	}
	return size
}

// fitting leaves out of a status what makes it larger than Temporal takes: most of
// the texts of errors.
func (s *sagaRun) fitting(out Status) Status {
	if s.size() <= maxStatus {
		return out
	}
	const few = 100
	steps := make(map[string]*core.StepState, len(out.Core.Steps))
	//workflowcheck:ignore the order does not matter
	for name, at := range out.Core.Steps {
		short := *at
		short.Error = workflows.Clip(short.Error, few)
		steps[name] = &short
	}
	out.Core.Steps = steps
	for i := range out.Story {
		out.Story[i].Text = workflows.Clip(out.Story[i].Text, few)
	}
	return out
}

// answer is the status as the answer to an Update, of which there may be many at
// once: without what makes it large.
func (s *sagaRun) answer() Status {
	out := s.status()
	if s.size() <= maxUpdateAnswer {
		return out
	}
	out.Plan, out.Answers, out.Story = core.Plan{}, nil, nil
	out.Core.Data, out.Core.Past, out.Core.Stack, out.Core.Steps = json.RawMessage("null"), nil, nil, nil
	return out
}
