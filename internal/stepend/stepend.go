// Package stepend is how a saga's step ended, in one shape from the participant's database
// over its reply to the saga.
package stepend

import (
	"encoding/json"

	holdfast "github.com/holdfastmq/holdfast"
)

// Kind is how a Do or an Undo ended.
type Kind string

// The kinds that a step row, or a reply, may have; package core has further ones.
const (
	Done    Kind = "done"    // it was done, or undone, or there was nothing to undo
	Refused Kind = "refused" // a business refusal: nothing was done
	Failed  Kind = "failed"  // the participant gave up
	Blocked Kind = "blocked" // it was undone before it was done, and never will be done
)

// Reply is a participant's answer to a saga's call: the record that it sends, and the
// signal to the saga's workflow. Its JSON is both.
type Reply struct {
	// Saga, Workflow, Step and Undo are the call's. A signal has neither of the first two:
	// its workflow is the one that gets it.
	Saga     string `json:"saga,omitempty"`
	Workflow string `json:"workflow,omitempty"`
	Step     string `json:"step"`
	Undo     bool   `json:"undo,omitempty"`
	// Outcome is one of the kinds above.
	Outcome Kind `json:"outcome"`
	// Class and Reason say why it was refused or failed.
	Class  holdfast.ErrorClass `json:"class,omitempty"`
	Reason string              `json:"reason,omitempty"`
	// Result is what the participant answers, in JSON.
	Result json.RawMessage `json:"result,omitempty"`
	// Participant is who answers; a signal does not say.
	Participant string `json:"participant,omitempty"`
	// Token is the call's; empty where an older version replies, or was asked.
	Token string `json:"token,omitempty"`
	// Topic is the topic on which the participant got the call; empty where an older
	// version replies.
	Topic string `json:"topic,omitempty"`
	// Trace is where the reply's trace goes on: its headers traceparent and tracestate.
	Trace holdfast.Trace `json:"-"`
}

// Signal is the reply as the saga's workflow gets it.
func (r Reply) Signal() Reply {
	r.Saga, r.Workflow, r.Participant = "", "", ""
	return r
}
