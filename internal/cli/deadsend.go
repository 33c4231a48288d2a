package cli

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/workflows"
)

// Limits of one Update.
const (
	// answerLimit is how long its answer is waited for.
	answerLimit = 20 * time.Second
	// lingerLimit is how long those that are under way may go on after an
	// interruption, so that it is known what became of them.
	lingerLimit = 5 * time.Second
)

// batch is one action on any number of dead letters.
type batch struct {
	t        *temporalServer
	prefix   string
	act      deadAct
	req      workflows.DeadLetterRequest
	parallel int
	// wait is how long to wait for what comes of it; 0: only until it is
	// accepted.
	wait time.Duration
	// answer is how long an Update's answer is waited for, beside the wait that
	// it asks for itself.
	answer time.Duration
	now    func() time.Time
	// tick is called after each letter that the action was sent to, and after
	// each one whose end is known. From many goroutines.
	tick func()

	silent atomic.Int64 // Updates without an answer, one after the other
}

const noAnswer = "no answer in time"

// errSilence ends a batch that nobody answers.
var errSilence = errors.New("no answer to many in a row")

// run does it. When ctx ends, it begins no more; what it returns is true all the
// same. In the order of rows.
func (b *batch) run(ctx context.Context, rows []deadRow) []outcome {
	all := make([]outcome, len(rows))
	b.send(ctx, rows, all)
	b.verify(ctx, rows, all)
	b.look(ctx, rows, all)
	return all
}

// send sends the Updates, so many at a time.
func (b *batch) send(ctx context.Context, rows []deadRow, all []outcome) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	underWay, end := linger(ctx, lingerLimit)
	defer end()
	var lanes errgroup.Group
	lanes.SetLimit(b.parallel)
	for i, r := range rows {
		lanes.Go(func() error {
			if ctx.Err() != nil {
				all[i] = outcome{Outcome: isUnsent, Detail: unsentBecause(ctx)}
			} else {
				all[i] = b.one(underWay, r)
				if b.silent.Load() >= int64(max(b.parallel, 8)) {
					stop(errSilence)
				}
			}
			all[i].ID, all[i].Consumer, all[i].WorkflowID = r.ID, r.Consumer, r.WorkflowID
			b.tick()
			return nil
		})
	}
	_ = lanes.Wait() // the outcomes tell
}

func unsentBecause(ctx context.Context) string {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errSilence):
		return "stopped: " + cause.Error()
	case errors.Is(cause, context.DeadlineExceeded):
		return "the command's time was over"
	}
	return "interrupted"
}

// linger returns a context that ends later than ctx by so much, or with end.
func linger(ctx context.Context, limit time.Duration) (later context.Context, end func()) {
	later, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.NewTimer(limit)
		defer t.Stop()
		select {
		case <-t.C:
			cancel()
		case <-later.Done():
		}
	})
	return later, func() {
		cancel()
		stop()
	}
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
	var refused *temporal.ApplicationError
	switch {
	case err == nil:
		return o
	case errors.As(err, &refused):
		b.silent.Store(0)
		return outcome{Outcome: isRefused, State: r.State, Detail: refused.Message(), Remedy: "`holdfast dead show " + shellWord(r.WorkflowID) + "` says what can be done"}
	case timedOut(err) || errors.Is(err, context.Canceled):
		b.silent.Add(1)
		return outcome{Outcome: isUnknown, Detail: noAnswer, pending: true}
	}
	b.silent.Store(0)
	return outcome{Outcome: isUnknown, Detail: text(err)}
}

// ended says what became of a letter whose workflow does not run: settled, or
// lost.
func (b *batch) ended(ctx context.Context, r deadRow) outcome {
	b.silent.Store(0)
	found, err := b.t.describeDead(ctx, []string{r.WorkflowID})
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
	if err := b.t.restart(started, r, b.req.Operator, b.req.Reason, b.now()); err != nil {
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
