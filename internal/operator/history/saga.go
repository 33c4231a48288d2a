package history

import (
	"strings"

	commonpb "go.temporal.io/api/common/v1"

	"github.com/holdfastmq/holdfast/activities"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// sagaSteps are the activities of the workflow Saga that end with a SagaResult and are
// not named after a step of the saga.
var sagaSteps = map[string]bool{activities.SagaDo: true, activities.SagaUndo: true, activities.SagaPrepare: true,
	activities.SagaReceive: true}

// isSagaStep reports whether an activity of that name, with that result, is a step of
// a saga: it may be named after the step.
func (r *reader) isSagaStep(name string, result *commonpb.Payloads) bool {
	var s activities.SagaResult
	return sagaSteps[name] || r.decode(result, &s) && s.Outcome.Kind != ""
}

// sagaResult reads how a step of a saga ended.
func (r *reader) sagaResult(result *commonpb.Payloads) string {
	var s activities.SagaResult
	if !r.decode(result, &s) || s.Outcome.Kind == "" {
		return "ok"
	}
	said := string(s.Outcome.Kind)
	if s.Outcome.Case != "" {
		said += " " + s.Outcome.Case
	}
	if s.Outcome.Error != "" {
		said += ": " + s.Outcome.Error
	}
	return said
}

// sagaReply reads the signal of a participant's reply.
func (r *reader) sagaReply(args *commonpb.Payloads) string {
	var reply sagaflow.Reply
	if !r.decode(args, &reply) {
		return ""
	}
	said := reply.Step + ": " + string(reply.Outcome)
	if reply.Undo {
		said = "undo of " + said
	}
	return strings.TrimSuffix(said+": "+reply.Reason, ": ")
}
