package sagas_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/sagas"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
)

// TestStanding: what a saga waits for, and since when, in each of its states.
func TestStanding(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	plan := core.Plan{Name: "travel", Steps: []core.Step{{Name: "pay", Kind: core.Local}, {Name: "seat", Kind: core.Message, Topic: "seat.take", UndoTopic: "seat.leave"},
		{Name: "approval", Kind: core.Wait}, {Name: "hotel", Kind: core.Saga}}}
	story := []sagas.Event{{What: "pause", At: at}, {What: "no-worker", At: at}, {What: "parked", At: at}, {What: "compensation-failed", At: at}}
	step := func(name string, s core.StepState) map[string]*core.StepState {
		s.Began = at
		return map[string]*core.StepState{name: &s}
	}
	for want, s := range map[string]sagas.Status{
		"waits for approval (an answer), since 2026-03-04T05:06:07Z":                                                          {State: "waiting", Step: "approval", Reason: "for an answer", Since: map[string]time.Time{"approval": at}},
		"paused: it waits for an operator, who resumes it, since 2026-03-04T05:06:07Z: ann: counting":                         {State: "paused", Reason: "ann: counting"},
		"no worker: it waits for a worker of group orders that has saga travel version 2, since 2026-03-04T05:06:07Z":         {State: "no-worker", Step: "pay", Reason: "no worker of group orders"},
		"parked, since 2026-03-04T05:06:07Z: out of paper":                                                                    {State: "parked", Step: "pay", Reason: "out of paper"},
		"compensation failed, since 2026-03-04T05:06:07Z: out of paper":                                                       {State: "compensation-failed", Step: "pay", Reason: "out of paper"},
		"under way: it waits for step pay, since 2026-03-04T05:06:07Z":                                                        {State: "running", Core: core.State{Steps: step("pay", core.StepState{Status: core.Running})}},
		"under way: it waits for the reply of the participant of seat.take, since 2026-03-04T05:06:07Z":                       {State: "running", Core: core.State{Steps: step("seat", core.StepState{Status: core.Running})}},
		"under way: it waits for the end of the saga of step hotel, since 2026-03-04T05:06:07Z":                               {State: "running", Core: core.State{Steps: step("hotel", core.StepState{Status: core.Running})}},
		"under way: it waits for try 3 of step pay, at 2026-03-04T05:06:08Z, since 2026-03-04T05:06:07Z: out of paper":        {State: "running", Core: core.State{Steps: step("pay", core.StepState{Status: core.Retrying, Tries: 2, Next: at.Add(time.Second), Error: "out of paper"})}},
		"compensating: it waits for the reply of the participant of seat.leave, since 2026-03-04T05:06:07Z: declined":         {State: "compensating", Reason: "declined", Core: core.State{Steps: step("seat", core.StepState{Status: core.Undoing, Ended: at})}},
		"compensating: it waits for try 2 of the Undo of step pay, at 2026-03-04T05:06:08Z, since 2026-03-04T05:06:07Z: full": {State: "compensating", Reason: "full", Core: core.State{Steps: step("pay", core.StepState{Status: core.Reundoing, UndoTries: 1, Ended: at, Next: at.Add(time.Second)})}},
		"completed":           {State: "completed"},
		"waits for an answer": {State: "waiting"},
	} {
		s.ID, s.Name, s.Version, s.Group, s.Plan, s.Story = "saga/orders/travel/1", "travel", 2, "orders", plan, story
		require.Equal(t, want, s.Standing().String())
		require.Equal(t, strings.TrimSpace(s.Standing().WaitsFor), s.Standing().WaitsFor, "no step is left out in a sentence")
		if err := s.Err(); err != nil {
			require.NotEmpty(t, err.(*holdfast.SagaError).Reason, want)
		}
	}
}

// TestAnsweredBy: whether a wait was answered before.
func TestAnsweredBy(t *testing.T) {
	plan := core.Plan{Steps: []core.Step{{Name: "approval", Kind: core.Wait}}}
	answer := sagas.Event{What: sagas.UpdateAnswer, Step: "approval", Operator: "ann", Text: "fine"}
	ev := func(what, text string) sagas.Event {
		return sagas.Event{What: what, Step: "approval", Text: text}
	}
	done := core.State{Steps: map[string]*core.StepState{"approval": {Status: core.Done}}}
	for name, x := range map[string]struct {
		s    sagas.Status
		want string
	}{
		"never":            {sagas.Status{}, ""},
		"early":            {sagas.Status{Answers: map[string]sagas.Request{"approval": {Operator: "ann"}}}, "by ann"},
		"once":             {sagas.Status{Story: []sagas.Event{answer}}, "by ann at 0001-01-01T00:00:00Z (fine)"},
		"not taken":        {sagas.Status{Story: []sagas.Event{answer, ev("rejected", "step approval cannot take the answer's value")}}, ""},
		"a second refused": {sagas.Status{Story: []sagas.Event{answer, ev("rejected", "answer: step approval was answered already")}}, "by ann at 0001-01-01T00:00:00Z (fine)"},
		"begun anew":       {sagas.Status{Story: []sagas.Event{answer, ev("refused", ""), ev("retry", "")}}, ""},
		"skipped":          {sagas.Status{Core: done, Story: []sagas.Event{ev("skip", "")}}, ""},
		"long ago":         {sagas.Status{Core: done}, "before"},
	} {
		x.s.Plan = plan
		require.Equal(t, x.want, x.s.AnsweredBy("approval"), name)
	}
}
