package deadletters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/serviceerror"

	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

// restartLetter starts the workflow of a lost dead letter again, with what its last
// run knew. That somebody else does the same is no error.
func restartLetter(ctx context.Context, t *server.Temporal, r Row, operator, reason string, now time.Time) error {
	var in deadflow.Input
	if err := t.InputOf(ctx, r.WorkflowID, r.RunID, &in); err != nil {
		return err
	}
	var known deadflow.Status
	err := t.AskStatus(ctx, r.WorkflowID, r.RunID, &known)
	in.Resumed = lastKnown(in, known, err)
	takenUp(in.Resumed, r.State, operator, reason, now)
	options := deadflow.StartOptions(in)
	options.ID = r.WorkflowID
	_, err = t.ExecuteWorkflow(ctx, options, deadflow.Name, in)
	var there *serviceerror.WorkflowExecutionAlreadyStarted
	if err != nil && !errors.As(err, &there) {
		return fmt.Errorf("start workflow %s again: %w", r.WorkflowID, err)
	}
	return nil
}

// lastKnown is what a new run begins with: what the last one answered or, if
// nobody did, what it began with. It never begins as if the message had just
// died: the policy could do what the operator is about to prevent.
func lastKnown(in deadflow.Input, answer deadflow.Status, err error) *deadflow.Status {
	switch {
	case err == nil:
		return &answer
	case in.Resumed != nil:
		s := *in.Resumed
		if s.State == workflows.Waits {
			s.State, s.Next = workflows.Parked, time.Time{}
		}
		return &s
	}
	f := in.Letter.Failure
	return &deadflow.Status{State: workflows.Parked, Failure: f, Redeliveries: f.Redelivery}
}

// takenUp makes a status the beginning of a new run. What was under way when the
// last one was ended may have happened or not: that is left to an operator.
func takenUp(s *deadflow.Status, ended, operator, reason string, now time.Time) {
	why := "its workflow was " + ended + ", and started again by " + operator + ": " + reason
	switch s.State {
	case workflows.Redelivering:
		why += fmt.Sprintf("; redelivery %d was not answered until then", s.Redeliveries)
		s.State = workflows.Parked
	case workflows.Compensating:
		why += "; its compensation was not over, and repeating it is safe"
		s.State = workflows.Parked
	}
	if s.Actions = nil; s.State.Final() {
		return
	}
	s.Reason = why
	s.Story = append(s.Story, deadflow.Event{At: now.UTC(), What: "parked", Operator: operator, Text: why})
	if s.State == workflows.Waits {
		s.Story[len(s.Story)-1].What = string(workflows.Waits)
	}
}
