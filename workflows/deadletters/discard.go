package deadletters

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// question is what is asked before a half message is discarded: whether its
// transaction is committed. To discard it then would lose its messages.
type question struct {
	req     Request
	over    bool
	refused string // why it is not discarded
}

const (
	// askHalfTimeout bounds the asking. The caller of the Update waits for it.
	askHalfTimeout = 12 * time.Second
	headerKind     = "holdfast-kind"
)

// halfGroup is the producer group whose half message the letter is, if it is one.
func (d *deadLetter) halfGroup() (group string, is bool) {
	l := d.in.Letter
	group, inHalf := strings.CutPrefix(l.Queue, d.in.Prefix+".half.")
	group, _, _ = strings.Cut(group, "#")
	if !inHalf {
		group = l.Group
	}
	kind := l.Envelope.Headers[headerKind]
	return group, kind == "half" || inHalf && kind != "op" && l.TxID != ""
}

// mustAsk reports whether a discard has to ask first. Letters that were discarded
// before this was asked replay as they were.
func (d *deadLetter) mustAsk(ctx workflow.Context, req Request) bool {
	if _, is := d.halfGroup(); !is || req.Force {
		return false
	}
	return workflow.GetVersion(ctx, "ask before a half message is discarded", workflow.DefaultVersion, 1) !=
		workflow.DefaultVersion
}

// refuse says why a does not do what req asks for.
func (d *deadLetter) refuse(a deadAction, req Request) error {
	if d.question != nil && !req.Force {
		return fmt.Errorf("message %s is about to be discarded for %s: the producer group is being asked whether its "+
			"transaction is committed; ask again in a few seconds", d.in.Letter.ID, d.question.req.Operator)
	}
	return a.refuse(req)
}

// askFirst has the root coroutine ask.
func (d *deadLetter) askFirst(req Request) func(workflow.Context) error {
	q := &question{req: req}
	d.question = q
	d.turns++
	return func(ctx workflow.Context) error {
		_ = workflow.Await(ctx, func() bool { return q.over })
		if q.refused != "" {
			return temporal.NewNonRetryableApplicationError(q.refused, notDiscardedType, nil)
		}
		return nil
	}
}

// answerQuestion asks the producer group, and discards what is rolled back: it can
// never be committed after that.
func (d *deadLetter) answerQuestion(ctx workflow.Context) {
	q := d.question
	turn := d.turns
	group, _ := d.halfGroup()
	var out activities.LocalResult
	err := errors.New("it does not name its producer group")
	if group != "" {
		err = d.regular(ctx, activities.AskHalf, workflow.ActivityOptions{
			TaskQueue:              workflows.TaskQueue(d.in.Prefix, group),
			StartToCloseTimeout:    askHalfTimeout / 2,
			ScheduleToCloseTimeout: askHalfTimeout,
			RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2},
			Summary: workflows.Shorten(fmt.Sprintf("ask group %s whether transaction %s is committed, before "+
				"its half message is discarded", group, d.in.Letter.TxID)),
		}, d.in.Letter, &out, func() bool { return d.turns != turn })
	}
	d.question, q.over = nil, true
	switch {
	case d.turns != turn:
		q.refused = fmt.Sprintf("message %s was dealt with meanwhile: %s", d.in.Letter.ID, d.state)
		return
	case err == nil && out.Resolution == holdfast.Rollback:
		d.giveUpRedelivery()
		d.reason = q.req.Operator + ": " + q.req.Reason
		d.tell(ctx, UpdateDiscard, q.req.Operator, q.req.Reason+" (its transaction is rolled back)")
		d.turn(workflows.Discarded)
		return
	case err == nil && out.Resolution == holdfast.Commit:
		q.refused = fmt.Sprintf("message %s is the half message of transaction %s, which is COMMITTED: to discard it may "+
			"lose its messages for good; redeliver it, and they are delivered; or discard it with force", d.in.Letter.ID,
			d.in.Letter.TxID)
	default:
		why := out.Error
		if err != nil {
			why = workflows.RootMessage(err)
		}
		q.refused = fmt.Sprintf("message %s is a half message, and nobody of group %s could say whether its transaction "+
			"%s is committed (%s): to discard it may lose its messages for good; start a process of the group, or redeliver "+
			"it, which is always safe; or discard it with force",
			d.in.Letter.ID, workflows.OrNone(group), workflows.OrNone(d.in.Letter.TxID), workflows.OrNone(why))
	}
	d.tell(ctx, "refused", q.req.Operator, UpdateDiscard+": "+q.refused)
	d.turns++
}
