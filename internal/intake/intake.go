// Package intake gives dead letters their workflows, and tells these what consumers did with
// a redelivery. A letter whose ID another one has gets a workflow of its own, unless it is a
// copy. Package worker runs it in processes that have Temporal.
package intake

import (
	"context"
	"log/slog"

	"go.temporal.io/sdk/client"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

// Options say where dead letters come from, and where they go.
type Options struct {
	Prefix   string
	Broker   intakeBroker
	Temporal client.Client
	Answers  intakeAnswers
	Logger   *slog.Logger
}

// intakeBroker is what an intake needs of a broker.
type intakeBroker interface {
	ConsumeDead(ctx context.Context, o broker.DeadOptions) error
	Postpone(ctx context.Context, h broker.HandledRecord) error
}

// intakeAnswers are the redeliveries that workflow tasks of a process wait for.
type intakeAnswers interface {
	Expected(workflowID string, n int) bool
	Give(workflowID string, n int) bool
}

// Intake gives dead letters their workflows.
type Intake struct{ o Options }

// New returns an intake, which Run starts.
func New(o Options) *Intake { return &Intake{o} }

// Run gives each dead letter of the prefix a workflow. All processes that have Temporal
// share the work.
func (in *Intake) Run(ctx context.Context) error {
	return in.o.Broker.ConsumeDead(ctx, broker.DeadOptions{Take: in.take})
}

// take returns nil once what r says is in a workflow's history, or has no
// workflow to go to any more.
func (in *Intake) take(ctx context.Context, r broker.DeadRecord) error {
	if r.Handled != nil {
		return in.handled(ctx, *r.Handled)
	}
	return in.bury(ctx, *r.Letter)
}

// handled passes on that a redelivery was handled.
func (in *Intake) handled(ctx context.Context, h broker.HandledRecord) error {
	id := workflows.DeadLetterID(in.o.Prefix, holdfast.DeadLetter{ID: h.MessageID, Copy: h.Copy,
		Queue: h.Queue, Failure: holdfast.Failure{Consumer: h.Consumer}})
	if !h.Late && in.o.Answers.Expected(id, h.Redelivery) {
		// The workflow task that waits for it here may still be lost: then the
		// record that comes later ends the workflow.
		err := in.o.Broker.Postpone(ctx, h)
		if err == nil && in.o.Answers.Give(id, h.Redelivery) {
			return nil
		}
	}
	_, err := in.tellLetter(ctx, id, deadletters.SignalHandled, h.Redelivery)
	return err
}
