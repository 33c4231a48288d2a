// Package setup holds the commands that set an installation up: holdfast topology, migrate,
// consumers, keep and version.
package setup

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/topology"
)

// topologyFlags say what processes need.
type topologyFlags struct {
	from, management               string
	file                           topology.File
	consumers, participants, hooks []string
}

// NewTopology returns the command holdfast topology.
func NewTopology(a *frame.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "topology",
		Short: "Make what processes need in RabbitMQ, for those that may not",
		Long: `Make the exchanges, queues and bindings that processes need in RabbitMQ, see
whether they are there, or list them. Processes make them themselves, unless
Options.Declare is false, because their users have no configure permission. Such
a process says when it starts what is missing, with the command that makes it.

What an installation consists of comes from flags, from a file in JSON (--from),
or both. "holdfast topology file --running" writes one, of what runs.`,
		Example: "  holdfast topology declare --group orders --consumer 'billing=order.placed,order.*'\n" +
			"  holdfast topology check --from holdfast.json",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return text.Usagef("say what to do: declare, check, list, file or permissions")
		},
	}
	c.AddCommand(newDeclare(a), newCheck(a), newList(a), newFile(a), newPermissions(a))
	return c
}

func newDeclare(a *frame.App) *cobra.Command {
	var dryRun bool
	c := newTopologyVerb(a, "declare", "Make what is missing",
		`Make what is missing, as the user of AMQP_URL. What is there stays as it is, and
no exchange or queue is deleted. One kind of binding is removed: that by which
older versions took compensation notices (TOPIC.compensated). What exists with
other arguments is an error that says what to do. The user needs configure,
write and read permission for all names of the prefix, and write permission for
amq.default. It may be run again.

With --dry-run it says what is missing, and makes nothing; bindings can be seen
over the management API only.`, func(ctx context.Context, o broker.Options, x broker.Topology) error {
			b, err := broker.Open(ctx, o)
			if err != nil {
				return err
			}
			defer func() { _ = b.Close(ctx) }()
			if dryRun {
				r, err := topology.Check(ctx, b, x, a.Prefix, boundIn(a))
				if err != nil {
					return err
				}
				return tellDryRun(a, r)
			}
			found, err := b.Compare(ctx, x)
			if err != nil {
				return err
			}
			if err := b.Require(ctx, x); err != nil {
				return err
			}
			for _, c := range found {
				if c.State == broker.Missing {
					text.Printf(a.Out, "made %s\n", c.Object)
				}
			}
			text.Printf(a.Out, "all is there\n")
			return nil
		})
	c.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be made, and make nothing")
	return c
}

// tellDryRun says what declare would make. What stands in its way is an error.
func tellDryRun(a *frame.App, r topology.Report) error {
	wrong := 0
	for _, d := range r.Differences {
		switch d.State {
		case broker.Missing:
			text.Printf(a.Out, "would make %s\n", d.Object)
		case broker.Different:
			wrong++
			text.Printf(a.Out, "%-10s  %s: %s; %s\n", d.State, d.Object, d.Detail, d.Remedy)
		}
	}
	for _, o := range r.Removals {
		there := slices.ContainsFunc(r.Differences, func(d topology.Difference) bool {
			return d.Kind == o.Kind && d.Name == o.Name && d.Exchange == o.Exchange && d.Key == o.Key
		})
		switch o.Removed = false; {
		case there:
			text.Printf(a.Out, "would remove %s\n", o)
		case r.Bindings != "":
			text.Printf(a.Out, "would remove %s, if it is there\n", o)
		}
	}
	if r.Bindings != "" {
		text.Printf(a.Out, "bindings that are missing cannot be seen (%s); they would be made\n", r.Bindings)
	}
	if wrong > 0 {
		return fmt.Errorf("%s with other arguments: declare would fail", text.Plural(wrong, "thing"))
	}
	return nil
}

func newCheck(a *frame.App) *cobra.Command {
	var asJSON bool
	c := newTopologyVerb(a, "check", "Compare what is there with what should be",
		`Compare the exchanges, queues and bindings in RabbitMQ with what there should
be, and make nothing. The exit status is 1 if something is missing, has other
arguments, or is bound though nothing that was named needs it. Each line says
what to do. A binding of somebody else's queue to the exchange of committed
messages is told, and does not count.

Arguments are compared if the user may declare the things. Bindings cannot be
seen over AMQP: they are compared where RabbitMQ's management API is reached
(--rabbitmq-management), and it says if it is not.

What processes make when they first need it, such as the queue in which messages
for a full queue are held, is told if it is missing, and does not count.

JSON: ok, complete (arguments and bindings were all compared), objects (how many
there should be), looked (how many exchanges and queues were looked for),
arguments (of how many they were compared), bindings_compared (how many),
differences (state: missing, different, unexpected, foreign; kind, name,
exchange, key, detail, remedy, harmless, later), unknown (how many have
arguments that this user may not ask for), bindings (why they were not
compared).`, func(ctx context.Context, o broker.Options, x broker.Topology) error {
			o.NoDeclare = true
			b, err := broker.Open(ctx, o)
			if err != nil {
				return err
			}
			defer func() { _ = b.Close(ctx) }()
			r, err := topology.Check(ctx, b, x, a.Prefix, boundIn(a))
			if err != nil {
				return err
			}
			return tellReport(a, r, asJSON)
		})
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

func tellReport(a *frame.App, r topology.Report, asJSON bool) error {
	if asJSON {
		if err := text.JSON(a.Out, r); err != nil {
			return err
		}
	} else {
		for _, d := range r.Differences {
			detail := d.Detail
			if detail != "" {
				detail = ": " + detail
			}
			text.Printf(a.Out, "%-10s  %s%s; %s\n", d.State, d.Object, detail, d.Remedy)
		}
		if r.Unknown > 0 {
			text.Printf(a.Out, "exchanges and queues whose arguments this user may not ask for: %d\n", r.Unknown)
		}
		if r.Bindings != "" {
			text.Printf(a.Out, "bindings are not compared: %s; --rabbitmq-management says where RabbitMQ's management "+
				"API is\n", r.Bindings)
		}
		switch {
		case r.OK && r.Complete:
			text.Printf(a.Out, "all is there: %d exchanges and queues with their arguments, %d bindings\n", r.Looked,
				r.BindingsCompared)
		case r.OK:
			text.Printf(a.Out, "nothing differs of what was compared: %d exchanges and queues looked for, the arguments of %d "+
				"of them, %d of %d bindings; the rest is not known\n", r.Looked, r.Arguments, r.BindingsCompared,
				r.Objects-r.Looked)
		}
	}
	if !r.OK {
		count := 0
		for _, d := range r.Differences {
			if !d.Harmless {
				count++
			}
		}
		return fmt.Errorf("RabbitMQ has not what it should have: %s", text.Plural(count, "difference"))
	}
	return nil
}

// boundIn asks the management API for the bindings.
func boundIn(a *frame.App) topology.Bound {
	return func(ctx context.Context, prefix string) ([]processes.Binding, error) {
		m, err := processes.NewManagement(a.AMQPURL, a.TLS(), a.Management)
		if err != nil {
			return nil, err
		}
		return m.Bindings(ctx, prefix)
	}
}

func newList(a *frame.App) *cobra.Command {
	var asJSON bool
	c := newTopologyVerb(a, "list", "List what declare makes",
		`List what declare makes, a line for each exchange, queue and binding, and which
bindings it removes if they are there. RabbitMQ is not asked.

JSON: an array of kind (exchange, queue, binding), name, type, arguments; of a
binding name (its queue), exchange, key; optional (processes go on without it),
later (processes that may make it do so when they first need it), removed (an
older version's binding, which declare removes).`,
		func(_ context.Context, o broker.Options, x broker.Topology) error {
			all, err := broker.Objects(o, x)
			switch {
			case err != nil:
				return err
			case asJSON:
				return text.JSON(a.Out, all)
			}
			for _, object := range all {
				text.Printf(a.Out, "%s\n", object)
			}
			return nil
		})
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

func newFile(a *frame.App) *cobra.Command {
	var f topologyFlags
	var running bool
	c := &cobra.Command{
		Use:   "file",
		Short: "Write the file that --from reads",
		Long: `Write what the flags say, and with --running what the processes that answer say
that they are, as the JSON that --from reads. Which of them have a hook, and
which groups are written in other languages, they do not say: add --hook and
--checks.

JSON: prefix, half_queues, groups, sagas, checks, consumers, participants, hooks
(each an object of names with lists), delays.`,
		Example: "  holdfast topology file --running --hook 'orders=group.orders' > holdfast.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, err := f.installation(a)
			if err != nil {
				return err
			}
			if running {
				ctx, cancel := a.Bounded(cmd.Context(), reach.DefaultTimeout)
				defer cancel()
				answers, err := a.AskOnce(ctx, nil)()
				if errors.Is(err, reach.ErrNotAsked) {
					return errNoRabbitMQ
				} else if err != nil {
					return err
				}
				file.Add(topology.Running(answers))
			}
			if _, err := file.Wanted(); err != nil {
				return err
			}
			file.Prefix = a.Prefix
			return text.JSON(a.Out, file)
		},
	}
	f.register(c)
	c.Flags().BoolVar(&running, "running", false, "what the processes say that answer now")
	return c
}

func newTopologyVerb(a *frame.App, verb, short, long string,
	do func(context.Context, broker.Options, broker.Topology) error) *cobra.Command {
	var f topologyFlags
	c := &cobra.Command{
		Use:     verb,
		Short:   short,
		Long:    long,
		Example: "  holdfast topology " + verb + " --group orders --sagas orders --consumer 'billing=order.placed'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, err := f.installation(a)
			if err != nil {
				return err
			}
			x, err := file.Wanted()
			if err != nil {
				return text.WithRemedy(text.Usage(err),
					"say what for: --from, --group, --sagas, --checks, --consumer, --participant or --hook")
			}
			if a.AMQPURL == "" && verb != "list" {
				return errNoRabbitMQ
			}
			if f.management != "" {
				a.Management = f.management
			}
			ctx, cancel := a.Bounded(cmd.Context(), reach.DefaultTimeout)
			defer cancel()
			o, err := a.BrokerOptions("holdfast topology")
			if err != nil {
				return err
			}
			o.HalfQueues = file.HalfQueues
			return do(ctx, o, x)
		},
	}
	f.register(c)
	if verb != "list" {
		c.Flags().StringVar(&f.management, "rabbitmq-management", "", "where RabbitMQ's management API is "+
			"(default $HOLDFAST_RABBITMQ_MANAGEMENT, or beside AMQP_URL)")
	}
	return c
}

var errNoRabbitMQ = text.WithRemedy(errors.New("no RabbitMQ"),
	"set AMQP_URL, for example to amqp://user:password@host:5672/vhost")

func (f *topologyFlags) register(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.from, "from", "", "a file in JSON that says what the installation consists of; - is the "+
		"standard input. Flags add to it")
	flags.StringArrayVar(&f.file.Groups, "group", nil, "a producer group; may be repeated")
	flags.StringArrayVar(&f.file.Sagas, "sagas", nil, "a producer group that has sagas: its queue of replies; may be "+
		"repeated")
	flags.StringArrayVar(&f.file.Checks, "checks", nil, "a producer group in another language, which answers "+
		"check-backs; may be repeated")
	flags.StringArrayVar(&f.consumers, "consumer", nil, "a consumer, NAME=TOPIC,TOPIC…; compensated:TOPIC for "+
		"compensation notices; may be repeated")
	flags.StringArrayVar(&f.participants, "participant", nil, "a participant, NAME=TOPIC,UNDOTOPIC; may be repeated")
	flags.StringArrayVar(&f.hooks, "hook", nil, "whose alerts processes with a hook take, NAME=KEY,KEY…: NAME a "+
		"group, or @ and consumers; keys are group.GROUP, consumer.CONSUMER, all; may be repeated")
	flags.StringSliceVar(&f.file.Delays, "delay", nil, "a delay of a Ladder that the default one has not, such as 7s; "+
		"may be repeated")
	flags.IntVar(&f.file.HalfQueues, "half-queues", 0, "how many half queues each group has (default 1)")
}

// installation is what the file and the flags say. Its prefix is the command's from now on.
func (f *topologyFlags) installation(a *frame.App) (file topology.File, err error) {
	if f.from != "" {
		body, err := frame.ReadBody(a.In, f.from, "")
		if err != nil {
			return file, err
		}
		if file, err = topology.Read(body); err != nil {
			return file, text.Usage(fmt.Errorf("--from %s: %w", f.from, err))
		}
	}
	flags := f.file
	for _, named := range []struct {
		what string
		all  []string
		to   *map[string][]string
	}{{"consumer", f.consumers, &flags.Consumers}, {"participant", f.participants, &flags.Participants},
		{"hook", f.hooks, &flags.Hooks}} {
		if *named.to, err = topology.Named(named.what, named.all); err != nil {
			return file, text.Usage(err)
		}
	}
	file.Add(flags)
	switch {
	case file.Prefix == "" || file.Prefix == a.Prefix:
	case a.PrefixFlag != "":
		return file, text.Usagef("--prefix %s: %s has the prefix %s", a.Prefix, f.from, file.Prefix)
	case a.PrefixOfEnvironment():
		return file, text.Usagef("HOLDFAST_PREFIX is %s, and %s has the prefix %s: unset it, or name one with --prefix and "+
			"have the same in the file", a.Prefix, f.from, file.Prefix)
	default:
		if err := holdfast.ValidateName("prefix", file.Prefix); err != nil {
			return file, text.Usage(err)
		}
		a.Prefix = file.Prefix
	}
	return file, nil
}
