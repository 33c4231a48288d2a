package setup

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/addresses"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Definitions is what `holdfast topology permissions --json` writes, in the form that
// `rabbitmqctl import_definitions` reads.
type Definitions struct {
	Permissions      []Permission      `json:"permissions"`
	TopicPermissions []TopicPermission `json:"topic_permissions,omitempty"`
}

// Permission is what a user may configure, write and read.
type Permission struct {
	User      string `json:"user"`
	Vhost     string `json:"vhost"`
	Configure string `json:"configure"`
	Write     string `json:"write"`
	Read      string `json:"read"`
}

// TopicPermission is to which topics a user may publish (write) and bind queues (read).
type TopicPermission struct {
	User     string `json:"user"`
	Vhost    string `json:"vhost"`
	Exchange string `json:"exchange"`
	Write    string `json:"write"`
	Read     string `json:"read"`
}

func newPermissions(a *frame.App) *cobra.Command {
	var x broker.Access
	var vhost string
	var asJSON bool
	c := &cobra.Command{
		Use:   "permissions ROLE",
		Short: "Print the rights in RabbitMQ that a process needs",
		Long: `Print the commands of rabbitmqctl that give a user the rights of a role, and no
others. Nothing is changed, and RabbitMQ is not asked. ROLE is one of:

  worker       a process with a group, Temporal and a Keeper; it may do
               everything of the prefix. With --no-declare: what its groups,
               consumers and participants need
  consumer     handles messages
  participant  takes part in sagas
  producer     a group's program in another language
  keeper       holdfast keep, for such a group
  operator     holdfast doctor and holdfast half
  foreign      publishes messages, and has nothing of Holdfast

The user has to be there. The commands replace the rights that he has in the
virtual host. A consumer or participant that is to make its own queue needs
--answers, too: a queue's dead-letter exchange is amq.default. With --topic it
may bind queues to nothing else of the exchange of committed messages.

JSON: permissions (user, vhost, configure, write, read), topic_permissions (the
same with exchange), as rabbitmqctl import_definitions reads them.`,
		Example: "  holdfast topology permissions worker --no-declare --user orders --group orders --consumer billing\n" +
			"  holdfast topology permissions producer --user shop --group orders --topic 'order.#'",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(broker.Roles(), args[0]) {
				return text.Usagef("say which role: one of %s", strings.Join(broker.Roles(), ", "))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if x.Role = args[0]; x.User == "" {
				x.User = x.Role
			}
			if vhost == "" {
				var err error
				if vhost, err = vhostOf(a.AMQPURL); err != nil {
					return text.Usage(err)
				}
			}
			g, err := broker.GrantOf(a.Prefix, x)
			if err != nil {
				return text.Usage(err)
			}
			if asJSON {
				return text.JSON(a.Out, definitions(g, vhost))
			}
			for _, line := range g.Commands(vhost) {
				_, _ = fmt.Fprintln(a.Out, line) // as a shell is to read it
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&x.User, "user", "", "the user's name (default: that of the role)")
	f.StringVar(&vhost, "vhost", "", "the virtual host (default: that of AMQP_URL, or /)")
	f.StringArrayVar(&x.Groups, "group", nil, "a producer group; may be repeated")
	f.StringArrayVar(&x.Consumers, "consumer", nil, "the name of a consumer; may be repeated")
	f.StringArrayVar(&x.Participants, "participant", nil, "the name of a participant; may be repeated")
	f.StringArrayVar(&x.Topics, "topic", nil, "a topic to publish to, with * and #; may be repeated. A keeper needs "+
		"those of its groups' half messages, too. Of a consumer or participant: those that it listens to")
	f.BoolVar(&x.NoDeclare, "no-declare", false, "for processes whose Options.Declare is false")
	f.BoolVar(&x.Answers, "answers", false, "have doctor see the processes: write permission for amq.default, and so "+
		"for every queue")
	f.BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

// vhostOf is the virtual host of AMQP_URL; / without one.
func vhostOf(amqpURL string) (string, error) {
	if amqpURL == "" {
		return "/", nil
	}
	list, err := addresses.Parse(amqpURL)
	if err != nil {
		return "", text.WithRemedy(err, "mend AMQP_URL, or name the virtual host with --vhost")
	}
	return list[0].Vhost, nil
}

func definitions(g broker.Grant, vhost string) Definitions {
	d := Definitions{Permissions: []Permission{{User: g.User, Vhost: vhost, Configure: g.Configure, Write: g.Write,
		Read: g.Read}}}
	if g.Exchange != "" {
		d.TopicPermissions = []TopicPermission{{User: g.User, Vhost: vhost, Exchange: g.Exchange, Write: g.Topics,
			Read: g.TopicsRead}}
	}
	return d
}
