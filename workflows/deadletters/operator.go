package deadletters

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// notDiscardedType is the type of the error of an Update discard that was accepted,
// and then found that the letter is a half message whose transaction is, or may be,
// committed.
const notDiscardedType = "NotDiscarded"

// notRedeliveredType is the type of the error of an Update redeliver or
// redeliver-edited that was accepted, and then turned out not to be possible: the
// letter is parked. What the state does not allow is rejected instead.
const notRedeliveredType = "NotRedelivered"

// deadAction is something that an operator can ask for.
type deadAction struct {
	name, description string
	allowed           func(force bool) error
	check             func(Request) error
	// begin makes it so; what it returns waits for the end.
	begin func(workflow.Context, Request) (end func(workflow.Context) error)
}

func (d *deadLetter) deadActions() []deadAction {
	return []deadAction{
		{UpdateRedeliver, `Put the message back into its consumer's ` +
			`queue, to be tried without delays. Answers when the broker has confirmed it; with "wait" (in nanoseconds) ` +
			`when the consumer has answered or that time is over: the state says which. While a redelivery is not answered, ` +
			`it delivers once more. Argument: {"operator": "ann", "reason": "the ledger is back", "wait": 10000000000}`,
			d.canRedeliver, d.notTwice(checkPlain), d.askRedeliver(UpdateRedeliver)},
		{UpdateRedeliverEdited, `The same with another body, given ` +
			`as "text" or "base64", where the consumer's policy allows it. A later redeliver sends ` +
			`the original again. Argument: {"operator": "ann", "reason": "the amount was missing", "text": "{\"amount\": 5}"}`,
			d.canEdit, d.notTwice(checkEdit), d.askRedeliver(UpdateRedeliverEdited)},
		{workflows.UpdateCompensate,
			`Undo it in the producer group, once, then tell the other consumers. Answers when it is compensated ` +
				`or parked again: if the group is down, that is after a day, and the caller's own deadline may end first. ` +
				`Argument: {"operator": "ann", "reason": "the customer withdrew"}; with "force": true although a redelivery ` +
				`is not answered or, where it is parked, although the outcome row does not say that this message was committed`,
			d.canCompensate, checkBodiless, d.askCompensate},
		{UpdateDiscard, `Drop the message for good; nothing is ` +
			`published. Argument: {"operator": "ann", "reason": "a test order"}; with "force": true ` +
			`although a redelivery is not answered, or although it is a half message whose transaction is committed, or may be`,
			d.canDiscard, checkBodiless, d.askDiscard},
	}
}

// canRedeliver, canEdit, canCompensate and canDiscard say why the state does not
// allow it, and what is possible.
func (d *deadLetter) canRedeliver(bool) error {
	switch {
	case d.state.Final() || d.state == workflows.Compensating:
		return d.busy()
	case bound(d.in.Letter) != "":
		return fmt.Errorf("message %s is %s and cannot be redelivered: %s; then discard this letter", d.in.Letter.ID,
			d.state, bound(d.in.Letter))
	case d.sending():
		return fmt.Errorf("message %s is %s: the broker has not confirmed redelivery %d, which is repeated until it does; "+
			"compensate and discard are possible with force", d.in.Letter.ID, d.state, d.redeliveries)
	}
	return nil
}

func (d *deadLetter) canEdit(force bool) error {
	if err := d.canRedeliver(force); err != nil {
		return err
	}
	if !d.policy.AllowEdits {
		return fmt.Errorf("message %s is %s and cannot be edited: consumer %s does not allow it (Policy.AllowEdits); "+
			"redeliver it as it is, compensate or discard it", d.in.Letter.ID, d.state,
			workflows.OrNone(d.in.Letter.Failure.Consumer))
	}
	return nil
}

func (d *deadLetter) canCompensate(force bool) error {
	switch {
	case d.state.Final() || d.state == workflows.Compensating:
		return d.busy()
	case bound(d.in.Letter) != "":
		return fmt.Errorf("message %s is %s and cannot be compensated: %s; then discard this letter", d.in.Letter.ID,
			d.state, bound(d.in.Letter))
	case d.in.Letter.Group == "":
		return fmt.Errorf("message %s is %s and cannot be compensated: %s; redeliver or discard it", d.in.Letter.ID,
			d.state, noGroup)
	}
	return d.needsForce(force)
}

func (d *deadLetter) canDiscard(force bool) error {
	if d.state.Final() || d.state == workflows.Compensating {
		return d.busy()
	}
	return d.needsForce(force)
}

func (d *deadLetter) needsForce(force bool) error {
	if d.state != workflows.Redelivering || force {
		return nil
	}
	return fmt.Errorf("message %s is %s: the consumer has not answered redelivery %d and may still handle it; wait for "+
		"its answer, or repeat this with force", d.in.Letter.ID, d.state, d.redeliveries)
}

// busy is the refusal of everything in a state that allows nothing.
func (d *deadLetter) busy() error {
	if d.state.Final() {
		return fmt.Errorf("message %s is settled already: %s", d.in.Letter.ID, d.state)
	}
	return fmt.Errorf("message %s is %s: wait until it is compensated, or parked again", d.in.Letter.ID, d.state)
}

// notTwice is check, and refuses what is to be done only once while a redelivery
// is not answered.
func (d *deadLetter) notTwice(check func(Request) error) func(Request) error {
	return func(req Request) error {
		if req.Once && d.state == workflows.Redelivering {
			return fmt.Errorf("message %s is %s: the consumer has not answered redelivery %d; wait for its answer, or repeat "+
				"this with --force (an Update: without \"once\")", d.in.Letter.ID, d.state, d.redeliveries)
		}
		return check(req)
	}
}

func checkPlain(req Request) error {
	if err := checkBodiless(req); err != nil {
		return err
	}
	if req.Wait < 0 {
		return fmt.Errorf("a wait of %v: want 0 or more", req.Wait)
	}
	return nil
}

func checkBodiless(req Request) error {
	if req.Text != "" || len(req.Base64) > 0 || req.ContentType != "" {
		return errors.New("a body or content type is given: only " + UpdateRedeliverEdited + " takes them")
	}
	return nil
}

func checkEdit(req Request) error {
	size := len(req.Text) + len(req.Base64)
	switch {
	case req.Text != "" && len(req.Base64) > 0:
		return errors.New(`both "text" and "base64" are given: give one of them as the new body`)
	case size == 0:
		return errors.New(`no new body is given: give "text" or "base64", or use ` + UpdateRedeliver +
			" for the body as it is")
	case size > holdfast.MaxBody:
		return fmt.Errorf("the new body has %d bytes, the limit is %d", size, holdfast.MaxBody)
	case req.Wait < 0:
		return fmt.Errorf("a wait of %v: want 0 or more", req.Wait)
	}
	return holdfast.Message{Topic: "any", ContentType: req.ContentType}.Validate()
}

// refuse says why a does not do what req asks for.
func (a deadAction) refuse(req Request) error {
	if req.Operator == "" || req.Reason == "" {
		return workflows.ErrNobodyAsks
	}
	if err := a.allowed(req.Force); err != nil {
		return err
	}
	return a.check(req)
}

// askRedeliver begins a redelivery. Its end is the broker's confirm or, with a
// wait, the consumer's answer.
func (d *deadLetter) askRedeliver(name string) func(workflow.Context, Request) func(workflow.Context) error {
	return func(ctx workflow.Context, req Request) func(workflow.Context) error {
		r := &redelivery{operator: req.Operator, reason: req.Reason, edit: d.edit(name, req)}
		d.begin(ctx, name, r)
		return func(ctx workflow.Context) error {
			if req.Wait > 0 {
				_, _ = workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{Timeout: req.Wait,
					TimerOptions: workflow.TimerOptions{Summary: workflows.Shorten(fmt.Sprintf("%s waits for the answer to "+
						"redelivery %d", req.Operator, r.n))}},
					func() bool { return r.phase == over || r.phase == confirmed && d.tooLong(ctx) })
			} else {
				_ = workflow.Await(ctx, func() bool { return r.phase != sending })
			}
			if r.refused != "" {
				return temporal.NewNonRetryableApplicationError(fmt.Sprintf("message %s %s", d.in.Letter.ID, r.refused),
					notRedeliveredType, nil)
			}
			return nil
		}
	}
}

// edit is the new body that req brings; nil for a plain redelivery.
func (d *deadLetter) edit(name string, req Request) *activities.Edit {
	if name != UpdateRedeliverEdited {
		return nil
	}
	body := req.Base64
	if req.Text != "" {
		body = []byte(req.Text)
	}
	sum := sha256.Sum256(d.in.Letter.Message.Body)
	return &activities.Edit{Body: body, ContentType: req.ContentType, OriginalSHA256: hex.EncodeToString(sum[:])}
}

func (d *deadLetter) askCompensate(ctx workflow.Context, req Request) func(workflow.Context) error {
	// While a redelivery is not answered, force is about that, and proves nothing yet.
	unproven := req.Force && d.state != workflows.Redelivering
	d.giveUpRedelivery()
	n := d.compensation.n + 1
	d.compensation = compensation{n: n, operator: req.Operator, reason: req.Reason, unproven: unproven}
	d.reason = "being compensated for " + req.Operator + ": " + req.Reason
	d.tell(ctx, workflows.UpdateCompensate, req.Operator, req.Reason)
	d.turn(workflows.Compensating)
	return func(ctx workflow.Context) error {
		return workflow.Await(ctx, func() bool { return d.compensation.n != n || d.compensation.over })
	}
}

func (d *deadLetter) askDiscard(ctx workflow.Context, req Request) func(workflow.Context) error {
	if d.mustAsk(ctx, req) {
		return d.askFirst(req)
	}
	d.giveUpRedelivery()
	d.reason = req.Operator + ": " + req.Reason
	d.tell(ctx, UpdateDiscard, req.Operator, req.Reason)
	d.turn(workflows.Discarded)
	return func(workflow.Context) error { return nil }
}

// giveUpRedelivery stops waiting for a redelivery, by force.
func (d *deadLetter) giveUpRedelivery() {
	if d.last != nil {
		d.last.phase = over
	}
}

// listenTo offers a as an Update, which answers. Its validator runs in the same
// step as its handler: nothing comes between them.
func (d *deadLetter) listenTo(ctx workflow.Context, a deadAction) error {
	validate := func(req Request) error {
		if err := workflows.RefuseReserved(req.Operator); err != nil {
			return err
		}
		return d.refuse(a, req)
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, a.name, func(ctx workflow.Context, req Request) (Status, error) {
		ctx, _ = workflow.NewDisconnectedContext(ctx) // an operator may act after a cancel, too
		if err := a.begin(ctx, req)(ctx); err != nil {
			return Status{}, err
		}
		return d.status(), nil
	}, workflow.UpdateHandlerOptions{Description: a.description, Validator: validate})
}
