package cli

import (
	"strings"

	commonpb "go.temporal.io/api/common/v1"

	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// sagaSteps are the steps of the workflow Saga that end with a SagaResult.
var sagaSteps = map[string]bool{activities.SagaDo: true, activities.SagaUndo: true, activities.SagaPrepare: true, activities.SagaReceive: true}

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
	var reply workflows.SagaReply
	if !r.decode(args, &reply) {
		return ""
	}
	said := reply.Step + ": " + string(reply.Outcome)
	if reply.Undo {
		said = "undo of " + said
	}
	return strings.TrimSuffix(said+": "+reply.Reason, ": ")
}
