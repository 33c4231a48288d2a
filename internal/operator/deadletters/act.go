package deadletters

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

// Batch is one action on any number of dead letters.
type Batch struct {
	actions.Crew
	T      *server.Temporal
	Prefix string
	Act    Act
	Req    deadflow.Request
	Now    func() time.Time
}

// Run does it, and says what became of each of rows.
func (b *Batch) Run(ctx context.Context, rows []Row) []actions.Outcome {
	all := b.Send(ctx, len(rows), func(ctx context.Context, i int) actions.Outcome { return b.one(ctx, rows[i]) })
	for i, r := range rows {
		all[i].ID, all[i].Consumer, all[i].WorkflowID = r.ID, r.Consumer, r.WorkflowID
	}
	b.Verify(ctx, rows, all)
	b.look(ctx, rows, all)
	return all
}

// Verify looks at what was accepted until all of it is over, or the wait is.
func (b *Batch) Verify(ctx context.Context, rows []Row, all []actions.Outcome) {
	b.Crew.Verify(ctx, all, func(ctx context.Context, i int) { b.again(ctx, rows[i], &all[i]) })
}

// one does it to one dead letter.
func (b *Batch) one(ctx context.Context, r Row) actions.Outcome {
	switch {
	case server.IsLost(r.RunStatus):
		return b.revive(ctx, r)
	case r.RunStatus == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		return actions.Outcome{Outcome: actions.Settled, State: r.State, Detail: r.State}
	case b.Act.Update == "":
		return actions.Outcome{Outcome: actions.Refused, State: r.State, Detail: "it is " + r.State + ": its workflow runs"}
	}
	o, err := b.ask(ctx, r)
	var ended *serviceerror.NotFound
	if errors.As(err, &ended) {
		return b.ended(ctx, r)
	}
	return b.explain(r, o, err)
}

// ask sends the Update, and judges its answer.
func (b *Batch) ask(ctx context.Context, r Row) (actions.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, b.Answer+b.Req.Wait)
	defer cancel()
	stage := client.WorkflowUpdateStageCompleted
	if b.Act.Update == workflows.UpdateCompensate {
		stage = client.WorkflowUpdateStageAccepted // its end may be a day away
	}
	update := b.Act.Update
	if update == deadflow.UpdateRedeliver && (b.Req.Text != "" || len(b.Req.Base64) > 0) {
		update = deadflow.UpdateRedeliverEdited
	}
	if update == deadflow.UpdateDiscard { // which runs nothing: a step of a lost task runs again
		b.T.Unstick(ctx, r.WorkflowID)
	}
	handle, err := b.T.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: r.WorkflowID, UpdateName: update,
		Args: []any{b.Req}, WaitForStage: stage})
	if err != nil {
		return actions.Outcome{}, err
	}
	b.Silent.Store(0)
	if stage == client.WorkflowUpdateStageAccepted { // or refused, or over already: the handle knows without asking
		atOnce, cancel := context.WithCancel(ctx)
		cancel()
		ctx = atOnce
	}
	var status deadflow.Status
	switch err := handle.Get(ctx, &status); {
	case err != nil && stage == client.WorkflowUpdateStageAccepted &&
		(server.TimedOut(err) || errors.Is(err, context.Canceled)):
		return actions.Outcome{Outcome: actions.Undoing, State: string(workflows.Compensating), Detail: "not over yet",
			Pending: true}, nil
	case err != nil:
		return actions.Outcome{}, err
	}
	o := judge(b.Act.Update, status, status.Redeliveries)
	o.Pending = o.Pending && b.Req.Wait == 0 // else the answer has waited
	return o, nil
}

// explain says what an Update's error means.
func (b *Batch) explain(r Row, o actions.Outcome, err error) actions.Outcome {
	return b.Crew.Explain(o, err, r.State, b.T.Code("dead show", r.WorkflowID))
}

// ended says what became of a letter whose workflow does not run: settled, or
// lost.
func (b *Batch) ended(ctx context.Context, r Row) actions.Outcome {
	b.Silent.Store(0)
	found, err := describeDead(ctx, b.T, []string{r.WorkflowID})
	switch {
	case err != nil:
		return actions.Outcome{Outcome: actions.Unknown, Detail: text.Of(err)}
	case len(found) == 0:
		return actions.Outcome{Outcome: actions.Refused, Detail: "there is no such dead letter any more"}
	case server.IsLost(found[0].RunStatus):
		return b.revive(ctx, found[0])
	case found[0].RunStatus == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		return actions.Outcome{Outcome: actions.Settled, State: found[0].State, Detail: found[0].State}
	}
	return actions.Outcome{Outcome: actions.Unknown, State: found[0].State,
		Detail: "its workflow went on in a new run meanwhile: do it again"}
}

// revive starts a lost letter's workflow again, and then does it.
func (b *Batch) revive(ctx context.Context, r Row) actions.Outcome {
	started, cancel := context.WithTimeout(ctx, b.Answer)
	defer cancel()
	if err := restartLetter(started, b.T, r, b.Req.Operator, b.Req.Reason, b.Now()); err != nil {
		return b.explain(r, actions.Outcome{}, err)
	}
	note := fmt.Sprintf("its workflow was %s, and was started again", r.State)
	if b.Act.Update == "" {
		return actions.Outcome{Outcome: actions.Restarted, Detail: note}
	}
	o, err := b.ask(ctx, r)
	if o = b.explain(r, o, err); o.Detail != "" {
		note += "; " + o.Detail
	}
	o.Detail = note
	return o
}
