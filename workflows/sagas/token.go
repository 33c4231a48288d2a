package sagas

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// CallToken is what the replies to the calls of a step have to repeat. Only the
// participant that was asked can know it: firstRun is in no message. It is the ID of the
// workflow's first run or, of a saga that began without a workflow, what its process made
// up. The token is the same for all tries, in all runs of the workflow, and another one
// once the saga is started again.
func CallToken(firstRun, saga, step string, undo bool) string {
	op := "do"
	if undo {
		op = "undo"
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{firstRun, saga, step, op}, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// token is that of the calls of t.
func (s *sagaRun) token(ctx workflow.Context, t *try) string {
	return CallToken(cmp.Or(s.in.Calls, workflow.GetInfo(ctx).FirstRunID), s.in.ID, t.step.Name, t.undo)
}

// distrust says why a reply does not count for t; empty: it does.
func (s *sagaRun) distrust(ctx workflow.Context, t *try, r Reply) string {
	topic := callTopic(t)
	switch {
	case r.Token == "" && s.in.Tokens:
		return "it has no token: a participant of an earlier version sent it, or somebody who was not asked"
	case r.Token != "" && r.Token != s.token(ctx, t):
		return "its token is not that of the call: it answers an earlier start of this saga, or somebody who was not " +
			"asked sent it"
	case r.Topic != topic && (r.Topic != "" || s.in.Tokens):
		return fmt.Sprintf("it answers a call on topic %q, and %q was asked", workflows.Clip(r.Topic, 100), topic)
	}
	return ""
}

// callTopic is the topic of the participant that t asks.
func callTopic(t *try) string {
	if t.undo {
		return t.step.UndoTopic
	}
	return t.step.Topic
}

// ignore counts a reply that does not count, and tells the first one.
func (s *sagaRun) ignore(ctx workflow.Context, r Reply, why string) {
	s.untrusted++
	s.changed, s.detailed = true, true
	workflow.GetLogger(ctx).Warn("a reply does not count", "step", r.Step, "undo", r.Undo, "outcome", r.Outcome,
		"why", why)
	if s.untrusted == 1 {
		s.tell(ctx, Event{What: "untrusted", Step: workflows.Clip(r.Step, 100), Text: "a reply does not count: " + why})
	}
}

// isCall reports whether t asks a participant.
func isCall(t *try) bool { return t.step.Kind == core.Message }
