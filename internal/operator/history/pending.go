package history

import (
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
)

// PendingActivity is a step that is under way, or tried again later.
type PendingActivity struct {
	Name    string `json:"name"`
	Attempt int    `json:"attempt"`
	Running bool   `json:"running"`
	// Next is when it is tried again.
	Next *time.Time `json:"next,omitempty"`
	// Error is the last attempt's.
	Error string `json:"error,omitempty"`
}

// Pending are the activities that a workflow waits for.
func Pending(of []*workflowpb.PendingActivityInfo) []PendingActivity {
	var all []PendingActivity
	for _, p := range of {
		a := PendingActivity{Name: p.GetActivityType().GetName(), Attempt: int(p.GetAttempt()),
			Running: p.GetState() == enumspb.PENDING_ACTIVITY_STATE_STARTED, Error: failureText(p.GetLastFailure())}
		if next := p.GetNextAttemptScheduleTime(); next != nil && !a.Running {
			at := next.AsTime()
			a.Next = &at
		}
		all = append(all, a)
	}
	return all
}

// Sentence says how it is with the step.
func (p PendingActivity) Sentence() string {
	s := fmt.Sprintf("%s: attempt %d", p.Name, p.Attempt)
	switch {
	case p.Running:
		s += " is running"
	default:
		s += " is to come"
	}
	if p.Error != "" {
		s += ", after: " + p.Error
	}
	return s
}
