package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/consumer"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// wanted is what processes need in RabbitMQ.
type wanted struct {
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
	Hooks []hook
}

func (x wanted) validate() error {
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
		if err := h.check(); err != nil {
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

// boundConsumer is a consumer of a [wanted].
func boundConsumer(name string, topics []string, notices ...string) wire.Bound {
	return wire.Bound{Name: name, Topics: wire.Bindings{Topics: topics, Notices: notices}.Named()}
}

func (t *topology) steps(x wanted) []step {
	status := exchangeStep(t.c.StatusExchange(), amqp.ExchangeFanout, nil)
	status.shared = true
	steps := append(t.baseSteps(), status)
	for _, g := range x.Groups {
		steps = append(steps, t.groupSteps(g)...)
	}
	for _, g := range x.Replies {
		steps = append(steps, t.replySteps(t.c.ReplyQueue(g))...)
	}
	for _, c := range x.Consumers {
		steps = append(steps, t.consumerSteps(c.Name, c.Bindings())...)
		steps = append(steps, handily(t.heldSteps(c.Name)...)...)
	}
	steps = append(steps, t.delaySteps(consumer.KnownDelays(x.Delays))...)
	steps = append(steps, handily(t.alertSteps()...)...)
	if len(x.Checks) > 0 {
		steps = append(steps, handily(t.checkSteps()...)...)
	}
	for _, g := range x.Checks {
		steps = append(steps, handily(t.answererSteps(g)...)...)
	}
	for _, h := range x.Hooks {
		steps = append(steps, handily(t.hookSteps(h)...)...)
	}
	return steps
}

// require makes all that is missing, or with NoDeclare names it, in a
// [missingError].
func (t *topology) require(ctx context.Context, x wanted) error {
	if err := x.validate(); err != nil {
		return err
	}
	return t.declare(ctx, t.steps(x))
}

// List says in words what require makes.
func (t *topology) list(x wanted) (out []string, err error) {
	if err := x.validate(); err != nil {
		return nil, err
	}
	for _, s := range t.steps(x) {
		if !slices.Contains(out, s.what) {
			out = append(out, s.what)
		}
	}
	return out, nil
}

// Flags are the arguments of `holdfast topology` for x, quoted for a shell.
func (x wanted) Flags() string {
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

// parseBound reads NAME=TOPIC,TOPIC…, as [wanted.Flags] writes it.
func parseBound(s string) (wire.Bound, error) {
	name, topics, ok := strings.Cut(s, "=")
	if !ok {
		return wire.Bound{}, fmt.Errorf("%w: consumer %q: want NAME=TOPIC,TOPIC…", holdfast.ErrInvalid, s)
	}
	return wire.Bound{Name: name, Topics: strings.Split(topics, ",")}, nil
}

// parseHook reads NAME=KEY,KEY…, as [wanted.Flags] writes it.
func parseHook(s string) (hook, error) {
	name, keys, ok := strings.Cut(s, "=")
	if !ok {
		return hook{}, fmt.Errorf("%w: hook %q: want NAME=KEY,KEY…", holdfast.ErrInvalid, s)
	}
	return hook{Name: name, Keys: strings.Split(keys, ",")}, nil
}
