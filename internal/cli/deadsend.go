package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/holdfastmq/holdfast/workflows"
)

// batch is one action on any number of dead letters.
type batch struct {
	crew
	t      *temporalServer
	prefix string
	act    deadAct
	req    workflows.DeadLetterRequest
	now    func() time.Time
}

// run does it, and says what became of each of rows.
func (b *batch) run(ctx context.Context, rows []deadRow) []outcome {
	all := b.send(ctx, len(rows), func(ctx context.Context, i int) outcome { return b.one(ctx, rows[i]) })
	for i, r := range rows {
		all[i].ID, all[i].Consumer, all[i].WorkflowID = r.ID, r.Consumer, r.WorkflowID
	}
	b.verify(ctx, rows, all)
	b.look(ctx, rows, all)
	return all
}

// verify looks at what was accepted until all of it is over, or the wait is.
func (b *batch) verify(ctx context.Context, rows []deadRow, all []outcome) {
	b.crew.verify(ctx, all, func(ctx context.Context, i int) { b.again(ctx, rows[i], &all[i]) })
}

// one does it to one dead letter.
func (b *batch) one(ctx context.Context, r deadRow) outcome {
	switch {
	case isLost(r.status):
		return b.revive(ctx, r)
	case r.status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		return outcome{Outcome: isSettled, State: r.State, Detail: r.State}
	case b.act.update == "":
		return outcome{Outcome: isRefused, State: r.State, Detail: "it is " + r.State + ": its workflow runs"}
	}
	o, err := b.ask(ctx, r)
	var ended *serviceerror.NotFound
	if errors.As(err, &ended) {
		return b.ended(ctx, r)
	}
	return b.explain(r, o, err)
}

// ask sends the Update, and judges its answer.
func (b *batch) ask(ctx context.Context, r deadRow) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, b.answer+b.req.Wait)
	defer cancel()
	stage := client.WorkflowUpdateStageCompleted
	if b.act.update == workflows.UpdateCompensate {
		stage = client.WorkflowUpdateStageAccepted // its end may be a day away
	}
	update := b.act.update
	if update == workflows.UpdateRedeliver && (b.req.Text != "" || len(b.req.Base64) > 0) {
		update = workflows.UpdateRedeliverEdited
	}
	if update == workflows.UpdateDiscard { // which runs nothing: a step of a lost task runs again
		b.t.unstick(ctx, r.WorkflowID)
	}
	handle, err := b.t.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: r.WorkflowID, UpdateName: update, Args: []any{b.req}, WaitForStage: stage})
	if err != nil {
		return outcome{}, err
	}
	b.silent.Store(0)
	if stage == client.WorkflowUpdateStageAccepted { // or refused, or over already: the handle knows without asking
		atOnce, cancel := context.WithCancel(ctx)
		cancel()
		ctx = atOnce
	}
	var status workflows.DeadLetterStatus
	switch err := handle.Get(ctx, &status); {
	case err != nil && stage == client.WorkflowUpdateStageAccepted && (timedOut(err) || errors.Is(err, context.Canceled)):
		return outcome{Outcome: isUndoing, State: string(workflows.Compensating), Detail: "not over yet", pending: true}, nil
	case err != nil:
		return outcome{}, err
	}
	o := judge(b.act.update, status, status.Redeliveries)
	o.pending = o.pending && b.req.Wait == 0 // else the answer has waited
	return o, nil
}

// explain says what an Update's error means.
func (b *batch) explain(r deadRow, o outcome, err error) outcome {
	return b.crew.explain(o, err, r.State, b.t.code("dead show", r.WorkflowID))
}

// ended says what became of a letter whose workflow does not run: settled, or
// lost.
func (b *batch) ended(ctx context.Context, r deadRow) outcome {
	b.silent.Store(0)
	found, err := describeDead(ctx, b.t, []string{r.WorkflowID})
	switch {
	case err != nil:
		return outcome{Outcome: isUnknown, Detail: text(err)}
	case len(found) == 0:
		return outcome{Outcome: isRefused, Detail: "there is no such dead letter any more"}
	case isLost(found[0].status):
		return b.revive(ctx, found[0])
	case found[0].status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		return outcome{Outcome: isSettled, State: found[0].State, Detail: found[0].State}
	}
	return outcome{Outcome: isUnknown, State: found[0].State, Detail: "its workflow went on in a new run meanwhile: do it again"}
}

// revive starts a lost letter's workflow again, and then does it.
func (b *batch) revive(ctx context.Context, r deadRow) outcome {
	started, cancel := context.WithTimeout(ctx, b.answer)
	defer cancel()
	if err := restartLetter(started, b.t, r, b.req.Operator, b.req.Reason, b.now()); err != nil {
		return b.explain(r, outcome{}, err)
	}
	note := fmt.Sprintf("its workflow was %s, and was started again", r.State)
	if b.act.update == "" {
		return outcome{Outcome: isRestarted, Detail: note}
	}
	o, err := b.ask(ctx, r)
	if o = b.explain(r, o, err); o.Detail != "" {
		note += "; " + o.Detail
	}
	o.Detail = note
	return o
}
