package topology

import (
	"context"
	"slices"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/consumer"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// Wanted is what processes need in RabbitMQ.
type Wanted struct {
	// Groups are producer groups; each has as many half queues as Options.HalfQueues
	// says.
	Groups []string
	// Replies are the groups that have sagas.
	Replies []string
	// Consumers are consumers and participants; Age does not matter.
	Consumers []wire.Bound
	// Delays are the delays of ladders that the default one has not.
	Delays []time.Duration
	// Checks are the groups whose processes are written in other languages, and answer
	// check-backs.
	Checks []string
	// Hooks are the processes that tell people of alerts, but may not make their queue.
	Hooks []Hook
}

func (x Wanted) validate() error {
	for _, g := range slices.Concat(x.Groups, x.Replies, x.Checks) {
		if err := wire.ValidGroup(g); err != nil {
			return err
		}
	}
	for _, c := range x.Consumers {
		to := c.Bindings()
		if err := wire.ValidConsumer(c.Name, slices.Concat(to.Topics, to.Notices)); err != nil {
			return err
		}
	}
	for _, h := range x.Hooks {
		if err := h.Check(); err != nil {
			return err
		}
	}
	for _, d := range x.Delays {
		if err := consumer.ValidLadder([]time.Duration{d}); err != nil {
			return err
		}
	}
	return nil
}

// BoundConsumer is a consumer of what is [Wanted].
func BoundConsumer(name string, topics []string, notices ...string) wire.Bound {
	return wire.Bound{Name: name, Topics: wire.Bindings{Topics: topics, Notices: notices}.Named()}
}

func (t *Maker) steps(x Wanted) []Step {
	status := ExchangeStep(t.c.StatusExchange(), amqp.ExchangeFanout, nil)
	status.shared = true
	steps := append(t.BaseSteps(), status)
	for _, g := range x.Groups {
		steps = append(steps, t.groupSteps(g)...)
	}
	for _, g := range x.Replies {
		steps = append(steps, t.replySteps(t.c.ReplyQueue(g))...)
	}
	for _, c := range x.Consumers {
		steps = append(steps, t.consumerSteps(c.Name, c.Bindings())...)
		steps = append(steps, lately(t.heldSteps(c.Name)...)...)
	}
	delays := x.Delays
	if len(x.Consumers) > 0 { // a group by itself has none of their ladders
		delays = consumer.KnownDelays(delays)
	}
	steps = append(steps, t.delaySteps(delays)...)
	steps = append(steps, lately(t.AlertSteps()...)...)
	steps = append(steps, lately(t.PauseSteps()...)...)
	if len(x.Checks) > 0 {
		steps = append(steps, handily(t.CheckSteps()...)...)
	}
	for _, g := range x.Checks {
		steps = append(steps, handily(t.answererSteps(g)...)...)
	}
	for _, h := range x.Hooks {
		steps = append(steps, handily(t.HookSteps(h)...)...)
	}
	return steps
}

// Require makes all that is missing, or with NoDeclare names it, in a
// [MissingError].
func (t *Maker) Require(ctx context.Context, x Wanted) error {
	if err := x.validate(); err != nil {
		return err
	}
	return t.Declare(ctx, t.steps(x))
}

// Flags are the arguments of `holdfast topology` for x, quoted for a shell.
func (x Wanted) Flags() string {
	var out []string
	for _, g := range x.Groups {
		out = append(out, "--group "+g)
	}
	for _, g := range x.Replies {
		out = append(out, "--sagas "+g)
	}
	for _, g := range x.Checks {
		out = append(out, "--checks "+g)
	}
	for _, c := range x.Consumers {
		text := c.Name + "=" + strings.Join(c.Topics, ",")
		out = append(out, "--consumer '"+strings.ReplaceAll(text, "'", `'\''`)+"'")
	}
	for _, h := range x.Hooks {
		out = append(out, "--hook '"+h.Name+"="+strings.Join(h.Keys, ",")+"'")
	}
	for _, d := range x.Delays {
		if !slices.Contains(consumer.DefaultLadder(), d) {
			out = append(out, "--delay "+wire.DelayName(d))
		}
	}
	return strings.Join(out, " ")
}
