package worker_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

// TestRecordDeadLetters does for dead letters what TestRecordHistories does for
// transactions. What becomes of an order is in its ID.
func TestRecordDeadLetters(t *testing.T) {
	r := newRecorder(t, newSiteOn)
	s := r.site
	s.consuming(
		r.giving("waiting", holdfast.Policy{AllowEdits: true}),
		r.giving("compensating", holdfast.Policy{Action: holdfast.PolicyCompensate}),
		r.giving("redelivering", holdfast.Policy{Action: holdfast.PolicyRedeliver, Redeliver: []time.Duration{time.Second, 2 * time.Second}}))
	o := hurried(s.options())
	o.Instance, o.Timeouts.Task = "recorder-1", 10*time.Second
	r.w = s.runWith(o, func(w *worker.Worker) {
		w.Compensate("waiting.placed", func(context.Context, *gorm.DB, holdfast.Message, holdfast.Failure) error {
			return holdfast.Permanent(errors.New("the money is spent"))
		})
		w.Compensate("compensating.placed", refund)
	})
	for name, scenario := range map[string]func(id string){
		"dead-redelivered":         r.deadRedelivered,
		"dead-edited":              r.deadEdited,
		"dead-compensated":         r.deadCompensated,
		"dead-compensation-failed": r.deadCompensationFailed,
		"dead-policy-redelivers":   r.deadPolicyRedelivers,
		"dead-signals":             r.deadSignals,
	} {
		scenario(name + "-1")
	}
}

// giving is a consumer that gives up what is not to be handled yet.
func (r *recorder) giving(name string, p holdfast.Policy) worker.Consumer {
	return worker.Consumer{Name: name, Topics: []string{name + ".placed"}, DB: r.effects, Ladder: noLadder, DeadLetters: p,
		Handle: func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
			if strings.HasPrefix(string(m.Body), "mended") {
				return take(ctx, tx, m)
			}
			if r.count(r.effects, "SELECT count(*) FROM mended WHERE id = ?", m.ID) > 0 {
				return take(ctx, tx, m)
			}
			return errors.New("out of anchors")
		}}
}

// die sends a message that its consumer gives up.
func (r *recorder) die(consumer, id string, state workflows.State) {
	r.t.Helper()
	require.NoError(r.t, r.effects.Exec("CREATE TABLE IF NOT EXISTS mended (id text)").Error)
	m := order(id)
	m.Topic = consumer + ".placed"
	_, err := r.w.Send(r.ctx(), m, insert)
	require.NoError(r.t, err)
	r.awaitLetter(consumer, id, state)
}

func (r *recorder) mend(id string) {
	r.t.Helper()
	require.NoError(r.t, r.effects.Exec("INSERT INTO mended VALUES (?)", id).Error)
}

// asked sends an Update that has to succeed.
func (r *recorder) asked(consumer, id, name string, want workflows.State, change ...func(*deadletters.Request)) {
	r.t.Helper()
	status, err := r.askLetter(consumer, id, name, change...)
	require.NoError(r.t, err)
	require.Equal(r.t, want, status.State)
}

// saveLetter writes the history of a dead letter that has ended.
func (r *recorder) saveLetter(consumer, id string) {
	r.t.Helper()
	workflowID := r.deadID(consumer, id)
	require.NoError(r.t, r.temporal.GetWorkflow(r.ctx(), workflowID, "").Get(r.ctx(), nil))
	r.write(strings.TrimSuffix(id, "-1"), r.historyOf(workflowID))
}

func waiting(r *deadletters.Request) { r.Wait = patience }

func (r *recorder) deadRedelivered(id string) {
	r.die("waiting", id, workflows.Parked)
	r.asked("waiting", id, deadletters.UpdateRedeliver, workflows.Parked, waiting)
	r.mend(id)
	r.asked("waiting", id, deadletters.UpdateRedeliver, workflows.Handled, waiting)
	r.saveLetter("waiting", id)
}

func (r *recorder) deadEdited(id string) {
	r.die("waiting", id, workflows.Parked)
	r.asked("waiting", id, deadletters.UpdateRedeliverEdited, workflows.Handled, waiting,
		func(req *deadletters.Request) { req.Text = "mended" })
	r.saveLetter("waiting", id)
}

func (r *recorder) deadCompensated(id string) {
	m := order(id)
	m.Topic = "compensating.placed"
	_, err := r.w.Send(r.ctx(), m, insert)
	require.NoError(r.t, err)
	r.awaitLetter("compensating", id, workflows.Compensated)
	r.saveLetter("compensating", id)
}

func (r *recorder) deadCompensationFailed(id string) {
	r.die("waiting", id, workflows.Parked)
	r.asked("waiting", id, workflows.UpdateCompensate, workflows.Parked)
	r.asked("waiting", id, deadletters.UpdateDiscard, workflows.Discarded)
	r.saveLetter("waiting", id)
}

func (r *recorder) deadPolicyRedelivers(id string) {
	r.die("redelivering", id, workflows.Waits)
	r.awaitLetter("redelivering", id, workflows.Parked)
	r.asked("redelivering", id, deadletters.UpdateDiscard, workflows.Discarded)
	r.saveLetter("redelivering", id)
}

// deadSignals: a signal without a reason, one that is too early, a request to
// cancel, and a discard.
func (r *recorder) deadSignals(id string) {
	r.die("waiting", id, workflows.Parked)
	send := func(name string, req deadletters.Request) {
		require.NoError(r.t, r.temporal.SignalWorkflow(r.ctx(), r.deadID("waiting", id), "", name, req))
	}
	send(deadletters.UpdateDiscard, deadletters.Request{Operator: "ann"})
	send(deadletters.UpdateRedeliverEdited, deadletters.Request{Operator: "ann", Reason: "no body"})
	require.NoError(r.t, r.temporal.CancelWorkflow(r.ctx(), r.deadID("waiting", id), ""))
	send(deadletters.UpdateDiscard, deadletters.Request{Operator: "ann", Reason: "a test order"})
	r.saveLetter("waiting", id)
}
