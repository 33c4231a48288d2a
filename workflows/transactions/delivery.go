package transactions

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// fullDelays are the waits before a message that a queue refused, since it was at its
// limit, is published again: the other queues that are bound for it get it again each
// time. After the last one its transaction parks.
var fullDelays = []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute}

// partlyDelay is the wait before the rest of a transaction's messages is published
// again.
const partlyDelay = time.Second

// undelivered takes over what a step said of a member that it could not deliver.
func (m *member) undelivered(r activities.StepResult) {
	m.failed(workflows.Delivering, r.Error)
	m.full = r.Full
	if len(r.Delivered) > 0 {
		m.tx.Delivered = r.Delivered
	}
}

// again takes over what the error of a delivery says, and waits where the rest is to be
// published again soon, or a queue may have room later. It reports whether to go on.
func (t *transaction) again(ctx workflow.Context, m *member, err error) bool {
	var failure *temporal.ApplicationError
	if !errors.As(err, &failure) {
		return false
	}
	var delivered []string
	if failure.HasDetails() && failure.Details(&delivered) == nil && len(delivered) > 0 {
		m.tx.Delivered = delivered
	}
	switch failure.Type() {
	case activities.PartlyType:
		t.waitFor(ctx, m, partlyDelay, "until the rest of the messages is published again")
		return true
	case activities.FullType:
		m.full = true
		return t.awaitRoom(ctx, m)
	}
	return false
}

// awaitRoom waits until a queue that refused a message may have room, and reports
// false if it waited long enough.
func (t *transaction) awaitRoom(ctx workflow.Context, m *member) bool {
	if m.waits >= len(fullDelays) {
		return false
	}
	t.show(ctx, workflows.Delivering, deliveringDetails(m))
	wait := fullDelays[m.waits]
	m.waits++
	m.full = false
	t.waitFor(ctx, m, wait, fmt.Sprintf("a queue refuses the message: until try %d", m.waits+1))
	return true
}

// longDelivery is for how long a committed member's messages are published before somebody
// is told.
const longDelivery = time.Minute

// tellLong tells, once, that m is committed and not delivered for long, unless stop is
// called before. What is parked by then was told as that.
func (t *transaction) tellLong(ctx workflow.Context, m *member) (stop func()) {
	if m.toldLong || workflow.GetVersion(ctx, "alert of a long delivery", workflow.DefaultVersion, 1) ==
		workflow.DefaultVersion {
		return func() {}
	}
	since := workflow.Now(ctx)
	waiting, stop := workflow.WithCancel(ctx)
	workflow.GoNamed(waiting, "long delivery of "+m.tx.ID, func(ctx workflow.Context) {
		late := workflow.NewTimerWithOptions(ctx, longDelivery, workflow.TimerOptions{Summary: "until somebody is told " +
			"that it is not delivered"})
		if late.Get(ctx, nil) != nil || m.state != workflows.Delivering {
			return
		}
		ctx, _ = workflow.NewDisconnectedContext(ctx) // it is told, even if it is delivered meanwhile
		m.toldLong = true
		t.alerting++
		defer func() { t.alerting-- }()
		first := m.tx.Messages[0]
		_ = t.local(ctx, activities.Alert, 5*time.Second, "alert: not delivered yet, "+membersTopics([]*member{m}),
			holdfast.Alert{
				Kind: holdfast.AlertDeliveryWaits, At: workflow.Now(ctx), Group: t.in.Group, ID: m.tx.ID, Topic: first.Topic,
				Key:        first.Key,
				WorkflowID: workflow.GetInfo(ctx).WorkflowExecution.ID,
				Reason: fmt.Sprintf("it is committed, and has been published in vain since %s; the last reason known: %s",
					since.UTC().Format(time.RFC3339), m.reason),
				Remedy: "see what the reason names, and what `holdfast doctor` says of RabbitMQ; it is delivered by itself " +
					"then"}, nil)
	})
	return stop
}
