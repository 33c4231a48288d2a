package holdfasttest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

// DeadLetter is a message that a consumer gave up, and what became of it: its
// workflow has done what the consumer's policy wants, which may be to wait for an
// operator. The methods are what an operator can do then. They return an error where
// that is refused.
type DeadLetter struct {
	holdfast.DeadLetter
	// State is handled, compensated or discarded; or parked: it waits for an operator.
	State string
	// Reason says why.
	Reason string
	// Status is what the letter's workflow says about itself.
	Status deadletters.Status

	k *Kit
}

// DeadLetter returns the dead letter of a consumer, by its name: the last one, if
// there are several. The test fails if there is none.
func (k *Kit) DeadLetter(consumer string) *DeadLetter {
	k.t.Helper()
	for _, l := range slices.Backward(k.letters) {
		if l.Failure.Consumer == consumer {
			return l
		}
	}
	k.t.Fatalf("consumer %s has given up nothing; there are dead letters of %q", consumer, k.buried())
	return nil
}

func (k *Kit) buried() (consumers []string) {
	for _, l := range k.letters {
		consumers = append(consumers, l.Failure.Consumer)
	}
	return consumers
}

// Redeliver delivers it once more, to the consumer that gave it up.
func (l *DeadLetter) Redeliver(reason string) error {
	return l.ask(deadletters.UpdateRedeliver, reason)
}

// Compensate undoes what the message meant: by [Kit.Compensation], and by the Undo of
// the other consumers.
func (l *DeadLetter) Compensate(reason string) error {
	return l.ask(workflows.UpdateCompensate, reason)
}

// Discard forgets the message: nothing is delivered, nothing is undone.
func (l *DeadLetter) Discard(reason string) error { return l.ask(deadletters.UpdateDiscard, reason) }

func (l *DeadLetter) ask(update, reason string) error {
	l.k.t.Helper()
	if l.Status.State.Final() {
		return fmt.Errorf("message %s of consumer %s is %s already", l.ID, l.Failure.Consumer, l.State)
	}
	var refused error
	before := l.Status
	l.play(&before, func(r *run) {
		r.env.RegisterDelayedCallback(func() {
			r.env.UpdateWorkflow(update, "", &testsuite.TestUpdateCallback{
				OnAccept:   func() {},
				OnReject:   func(err error) { refused = err },
				OnComplete: func(_ any, err error) { refused = errors.Join(refused, err) },
			}, deadletters.Request{Operator: operator, Reason: reason})
		}, 0)
	})
	l.k.bury()
	return refused
}

// bury plays what is delivered, and each dead letter of a consumer that has come
// meanwhile, until nothing more comes.
func (k *Kit) bury() {
	k.t.Helper()
	for {
		k.broker.Deliver(k.t.Context())
		all := k.server.DeadLetters()
		if k.seen == len(all) || k.current() != nil {
			return // if something is under way, its end brings us here again
		}
		d := all[k.seen]
		k.seen++
		if !k.consumes[d.Failure.Consumer] {
			continue // a participant's
		}
		l := &DeadLetter{DeadLetter: d, k: k}
		k.letters = append(k.letters, l)
		l.play(nil, func(*run) {})
	}
}

// play runs the letter's workflow until it ends, or until it can only wait for an
// operator.
func (l *DeadLetter) play(resumed *deadletters.Status, begun func(*run)) {
	k := l.k
	k.t.Helper()
	r := k.begin(workflows.DeadLetterID("", l.DeadLetter))
	steps := letterSteps{k, r.id}
	dead := &activities.DeadLetters{Redeliver: steps, Notify: k.broker, Compensations: steps}
	dead.Register(r.env)
	dead.RegisterGroup(r.env)
	begun(r)
	in := deadletters.Input{Letter: l.DeadLetter, Resumed: resumed}
	r.play("DeadLetter", func(ctx workflow.Context) (any, error) { return deadletters.DeadLetter(ctx, in) }, &l.Status)
	l.State, l.Reason, l.Failure = string(l.Status.State), l.Status.Reason, l.Status.Failure
}

// letterSteps are the steps of a dead letter's workflow.
type letterSteps struct {
	k  *Kit
	id string // the workflow's
}

// Redeliver has the consumer try it again, and tells the workflow what came of it.
func (s letterSteps) Redeliver(ctx context.Context, r activities.Redelivery) (activities.Redelivered, error) {
	f, err := s.k.broker.Redeliver(ctx, r.Letter, r.N)
	if err != nil || f == nil {
		return activities.Redelivered{Handled: err == nil}, err
	}
	s.k.signal(s.id, deadletters.SignalDied, *f)
	return activities.Redelivered{}, nil
}

// Compensate runs the function of the topic, once. A message that no transaction of the
// kit committed is believed: the test has delivered it.
func (s letterSteps) Compensate(ctx context.Context, d activities.Compensation) (repeated bool, err error) {
	d.Unproven = d.Unproven || s.k.given[d.ID]
	return s.k.steps().Compensate(ctx, d)
}
