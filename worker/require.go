package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
)

func (o Options) declares() bool { return o.Declare == nil || *o.Declare }

// topology is what this process needs in RabbitMQ.
func (w *Worker) topology() (x broker.Topology) {
	if w.sender {
		x.Groups = []string{w.o.Group}
	}
	if len(w.sagas.defs.All()) > 0 {
		x.Replies = x.Groups
	}
	if w.o.RemoteCheck {
		x.Checks = []string{w.o.Group}
	}
	for _, c := range w.consumers {
		x.Consumers = append(x.Consumers, broker.BoundConsumer(c.Name, c.Topics, c.notices()...))
		x.Delays = append(x.Delays, c.Ladder...)
	}
	for _, p := range w.participants {
		x.Consumers = append(x.Consumers, broker.BoundConsumer(p.Name, p.topics()))
		x.Delays = append(x.Delays, p.Ladder...)
	}
	slices.Sort(x.Delays)
	x.Delays = slices.Compact(x.Delays)
	if hook, ok := w.alerts.Hook(); ok {
		x.Hooks = []broker.Hook{hook}
	}
	return x
}

// require sees, for a process that declares nothing, that all is there; otherwise it is
// made where it is needed.
func (w *Worker) require(ctx context.Context) error {
	if w.o.declares() {
		return nil
	}
	x := w.topology()
	err := w.broker.Require(ctx, x)
	var missing *broker.MissingError
	if !errors.As(err, &missing) {
		return err
	}
	command := "holdfast topology declare --prefix " + w.o.Prefix
	if w.o.Tuning.HalfQueues > 1 {
		command += fmt.Sprintf(" --half-queues %d", w.o.Tuning.HalfQueues)
	}
	if _, alone := any(err).(*broker.MissingError); alone && len(missing.What) == 0 { // nothing else is wrong
		w.o.Logger.Warn("something that this process can do without is missing in RabbitMQ",
			"missing", missing.Handy, "remedy", command+" "+x.Flags())
		return nil
	}
	return fmt.Errorf("%w: %w, as: %s %s", holdfast.ErrInvalid, err, command, x.Flags())
}

// recall makes the queues of the consumers that the group's processes have known, where they
// are missing.
func (w *Worker) recall(ctx context.Context) error {
	var known []broker.Bound
	err := w.retry(ctx, "PostgreSQL", func() (err error) {
		known, err = w.memory.Known(ctx)
		return err
	})
	if err != nil {
		return err
	}
	return w.broker.Recall(ctx, known)
}
