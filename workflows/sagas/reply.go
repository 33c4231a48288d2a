package sagas

import (
	"time"

	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// replyWait is how long a step waits for the reply to its message in the process
// that has published it: where that comes so soon, nothing is recorded but the
// step.
const replyWait = time.Second

// callFor bounds a step that publishes a message, and waits so.
const callFor = replyWait + 15*time.Second

// askAgain is how long to wait before a message that was not replied to is
// published again, for the nth time (from 0): its reply may be lost, and the
// participant gives it once more.
func askAgain(n int) time.Duration {
	pauses := []time.Duration{10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute}
	return pauses[min(n, len(pauses)-1)]
}

// message has a participant do or undo a step: it publishes the message, and waits
// for the reply.
func (s *sagaRun) message(ctx workflow.Context, t *try, name string) core.Outcome {
	deadline := s.began(ctx, t).Add(t.step.TryTimeout())
	in := s.step(ctx, t)
	in.Wait = replyWait
	o := s.firstCall(ctx, t, name, in)
	s.decided(t, o)
	in.Step.Conditional = false
	trouble, last := "", false
	for n := 0; ; n++ {
		if done, ended := s.replied(ctx, t, o); ended {
			return done
		}
		trouble = o.Error
		wait := askAgain(n)
		if _, held := s.held[t.step.Name]; !held {
			wait = min(wait, deadline.Sub(workflow.Now(ctx)))
		}
		if wait > 0 {
			s.awaitFor(ctx, t, wait, s.replySummary(t), func() bool { return t.reply != nil || t.askNow })
			t.askNow = false
		}
		if done, ended := s.replied(ctx, t, o); ended {
			return done
		}
		s.tellLong(ctx, t)
		over := !workflow.Now(ctx).Before(deadline)
		if over && (last || !s.looksLast(ctx)) {
			return failed(holdfast.ClassTimeout, "%s", s.unrepliedText(t, trouble))
		}
		in.Look, last = true, over
		out, err := s.tryRegular(ctx, t, name, s.againSummary(t), callFor, in, true)
		if o = out.Outcome; err != nil { // that it could not be asked says nothing
			o = core.Outcome{Kind: core.OutcomePending, Error: failureOf(err).Error}
		}
		o.Nothing = false // it was published before
		if w := out.Waits; w != nil && o.Error == "" {
			o.Error = w.Who + " waits itself: " + w.Reason
		}
		if err == nil && s.noteWaits(ctx, t, o, out.Waits) {
			deadline, last = workflow.Now(ctx).Add(t.step.TryTimeout()), false
		}
	}
}

// longReply is how long a participant's reply is waited for before somebody is told.
const longReply = time.Minute

// tellLong tells that t has waited for long, once.
func (s *sagaRun) tellLong(ctx workflow.Context, t *try) {
	if t.toldLong || workflow.Now(ctx).Sub(s.began(ctx, t)) < longReply {
		return
	}
	t.toldLong = true
	if workflow.GetVersion(ctx, "alert of a long wait", workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return
	}
	topic := t.step.Topic
	if t.undo {
		topic = t.step.UndoTopic
	}
	reason := "saga " + s.in.Name + ", step " + t.step.Name + ", waits for the reply of " + topic + " since " +
		s.began(ctx, t).UTC().Format(time.RFC3339)
	if w, there := s.held[t.step.Name]; there {
		reason += "; it " + w.String()
	}
	s.raise(ctx, "waiting for "+topic, holdfast.Alert{Kind: holdfast.AlertWaiting, At: workflow.Now(ctx),
		Group: s.in.Group, ID: s.in.ID, Topic: topic, Key: s.in.Key,
		WorkflowID: workflow.GetInfo(ctx).WorkflowExecution.ID, Reason: reason,
		Remedy: "`holdfast doctor` says whether a process takes " + topic + ", and what to start; it goes on by itself then"})
}

// firstCall publishes the message for the first time in a try: a saga's first
// tries are local activities.
func (s *sagaRun) firstCall(ctx workflow.Context, t *try, name string, in activities.SagaStep) core.Outcome {
	if t.n == 1 && !t.undo {
		return s.local(ctx, t, name, s.summary(t), callFor, in).Outcome
	}
	return s.regular(ctx, t, name, s.summary(t), callFor, in, true).Outcome
}

// replied returns how a message ended, if it did: by a reply, by the step that
// published it, or because nobody waits for it any longer.
func (s *sagaRun) replied(ctx workflow.Context, t *try, o core.Outcome) (core.Outcome, bool) {
	switch {
	case o.Kind == core.OutcomeDone: // a reply beside it may be that to an earlier try
		return o, true
	case t.reply != nil:
		return s.outcomeOf(ctx, t, *t.reply), true
	case o.Kind != core.OutcomePending:
		return o, true
	case t.stopped:
		return core.Outcome{Kind: core.OutcomeStopped}, true
	}
	return o, t.left
}

// outcomeOf is what a participant's reply means.
func (s *sagaRun) outcomeOf(ctx workflow.Context, t *try, r Reply) core.Outcome {
	reason := workflows.Clip(r.Reason, maxError)
	switch r.Outcome {
	case core.OutcomeDone:
		return s.receive(ctx, t, r.Result)
	case core.OutcomeRefused, core.OutcomeBlocked:
		return core.Outcome{Kind: r.Outcome, Error: reason}
	case core.OutcomeFailed:
		return core.Outcome{Kind: core.OutcomeFailed, Class: r.Class, Error: reason}
	}
	return failed(holdfast.ClassMalformed, "the participant's reply has the unknown outcome %q",
		workflows.Clip(string(r.Outcome), 50))
}

// hearReply takes the next reply. One that nobody waits for is counted: its step
// has ended, or the saga does not know it.
func (s *sagaRun) hearReply(ctx workflow.Context) {
	var r Reply
	if !s.replies.ReceiveAsync(&r) {
		return
	}
	t := s.underWay(r.Step)
	if t == nil || !isCall(t) || t.undo != r.Undo || t.reply != nil || s.sleeps(t) {
		s.late++
		s.changed = true
		workflow.GetLogger(ctx).Debug("a reply that nobody waits for", "step", r.Step, "undo", r.Undo, "outcome", r.Outcome)
		return
	}
	if why := s.distrust(ctx, t, r); why != "" {
		s.ignore(ctx, r, why)
		return
	}
	t.reply = &r
}

// sleeps reports whether t is a pause.
func (s *sagaRun) sleeps(t *try) bool {
	status := s.m.Step(t.step.Name).Status
	return status != core.Running && status != core.Undoing
}
