// Package setup holds the commands that set an installation up: holdfast topology, migrate,
// consumers, keep and version.
package setup

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// topologyFlags say what processes need.
type topologyFlags struct {
	groups, sagas, checks, consumers, hooks []string
	delays                                  []time.Duration
	halfQueues                              int
}

// NewTopology returns the command holdfast topology.
func NewTopology(a *frame.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "topology",
		Short: "Make what processes need in RabbitMQ, for those that may not",
		Long: `Make the exchanges, queues and bindings that processes need in RabbitMQ, see
whether they are there, or list them. Processes make them themselves, unless
Options.Declare is false, because their users have no configure permission. Such
a process says when it starts what is missing, with the command that makes it.`,
		Example: "  holdfast topology declare --group orders --consumer 'billing=order.placed,order.*'",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return text.Usagef("say what to do: declare, check, list or permissions") },
	}
	c.AddCommand(
		newTopologyVerb(a, "declare", "Make what is missing",
			`Make what is missing, as the user of AMQP_URL. What is there stays as it is. The
user needs configure, write and read permission for all names of the prefix, and
write permission for amq.default.`, func(ctx context.Context, b *broker.Broker, x broker.Topology) error {
				if err := b.Require(ctx, x); err != nil {
					return err
				}
				text.Printf(a.Out, "all is there\n")
				return nil
			}),
		newTopologyVerb(a, "check", "See whether everything is there",
			`See whether everything is there; make nothing. That queues are bound cannot be
seen over AMQP: declare makes sure of it.`, func(ctx context.Context, b *broker.Broker, x broker.Topology) error {
				if err := b.Require(ctx, x); err != nil {
					return err
				}
				text.Printf(a.Out, "all exchanges and queues are there\n")
				return nil
			}),
		newTopologyVerb(a, "list", "List what declare makes", "List what declare makes, a line for each exchange, queue "+
			"and binding.", func(_ context.Context, b *broker.Broker, x broker.Topology) error {
			all, err := b.List(x)
			for _, what := range all {
				text.Printf(a.Out, "%s\n", what)
			}
			return err
		}),
		newPermissions(a),
	)
	return c
}

func newTopologyVerb(a *frame.App, verb, short, long string,
	do func(context.Context, *broker.Broker, broker.Topology) error) *cobra.Command {
	var f topologyFlags
	c := &cobra.Command{
		Use:     verb,
		Short:   short,
		Long:    long,
		Example: "  holdfast topology " + verb + " --group orders --sagas orders --consumer 'billing=order.placed'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			x, err := f.topology()
			if err != nil {
				return text.Usage(err)
			}
			return withTopology(cmd.Context(), a, f.halfQueues, verb != "declare",
				func(ctx context.Context, b *broker.Broker) error { return do(ctx, b, x) })
		},
	}
	c.Flags().StringArrayVar(&f.groups, "group", nil, "a producer group; may be repeated")
	c.Flags().StringArrayVar(&f.sagas, "sagas", nil, "a producer group that has sagas: its queue of replies; may be "+
		"repeated")
	c.Flags().StringArrayVar(&f.checks, "checks", nil, "a producer group in another language, which answers "+
		"check-backs; may be repeated")
	c.Flags().StringArrayVar(&f.consumers, "consumer", nil, "a consumer or participant, NAME=TOPIC,TOPIC…; "+
		"compensated:TOPIC for compensation notices; may be repeated")
	c.Flags().StringArrayVar(&f.hooks, "hook", nil, "whose alerts processes with a hook take, NAME=KEY,KEY…: NAME a "+
		"group, or @ and consumers; keys are group.GROUP, consumer.CONSUMER, all; may be repeated")
	c.Flags().DurationSliceVar(&f.delays, "delay", nil, "a delay of a consumer's Ladder that the default one has not; "+
		"may be repeated")
	c.Flags().IntVar(&f.halfQueues, "half-queues", 1, "how many half queues each group has")
	return c
}

func (f topologyFlags) topology() (x broker.Topology, err error) {
	x = broker.Topology{Groups: f.groups, Replies: f.sagas, Checks: f.checks, Delays: f.delays}
	for _, s := range f.consumers {
		c, err := broker.ParseBound(s)
		if err != nil {
			return x, err
		}
		x.Consumers = append(x.Consumers, c)
	}
	for _, s := range f.hooks {
		h, err := broker.ParseHook(s)
		if err != nil {
			return x, err
		}
		x.Hooks = append(x.Hooks, h)
	}
	if len(x.Groups)+len(x.Replies)+len(x.Checks)+len(x.Consumers)+len(x.Hooks) == 0 {
		return x, errors.New("say what for: --group, --sagas, --checks, --consumer or --hook")
	}
	return x, nil
}

// withTopology connects to RabbitMQ, and runs f within the command's time limit.
func withTopology(ctx context.Context, a *frame.App, halfQueues int, look bool,
	f func(context.Context, *broker.Broker) error) error {
	if a.AMQPURL == "" {
		return text.WithRemedy(errors.New("no RabbitMQ"), "set AMQP_URL, for example to amqp://user:password@host:5672/vhost")
	}
	ctx, cancel := a.Bounded(ctx, reach.DefaultTimeout)
	defer cancel()
	o := a.BrokerOptions("holdfast topology")
	o.HalfQueues, o.NoDeclare = halfQueues, look
	b, err := broker.Open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close(ctx) }()
	return f(ctx, b)
}
