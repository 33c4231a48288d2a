package broker

import (
	"context"
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/topology"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

type (
	// Topology is what processes need in RabbitMQ.
	Topology = topology.Wanted
	// MissingError says what is missing in RabbitMQ and is not made, because of
	// [Options.NoDeclare].
	MissingError = topology.MissingError
	// Remade tells that queues which had been there were missing in RabbitMQ, so that
	// what was in them is lost, and that they were made again.
	Remade = topology.Remade
	// Installation is a group of another installation.
	Installation = topology.Installation
	// Hook are processes that take the same alerts: each alert goes to one of them.
	Hook = topology.Hook
	// Object is an exchange, a queue or a binding of a [Topology]; Compared is one that is
	// not as it should be.
	Object   = topology.Object
	Compared = topology.Compared
	// Access says what a user of RabbitMQ is to do; Grant are the rights that he needs.
	Access = topology.Access
	Grant  = topology.Grant
)

// The kinds of an [Object], and the states of a [Compared] one.
const (
	KindExchange = topology.KindExchange
	KindQueue    = topology.KindQueue
	KindBinding  = topology.KindBinding
	Missing      = topology.Missing
	Different    = topology.Different
	Unknown      = topology.Unknown
)

// ParticipantLadder are the delays of a participant that names none.
func ParticipantLadder() []time.Duration {
	return []time.Duration{time.Second, 5 * time.Second, 30 * time.Second}
}

// Roles are the roles that an [Access] may have.
func Roles() []string { return topology.Roles() }

// GrantOf says which rights a user needs in the installation with a prefix. The error is
// one that [holdfast.ErrInvalid] is.
func GrantOf(prefix string, a Access) (Grant, error) {
	return a.Grant(names{Prefix: prefix, Halves: 1})
}

// RememberFor is how long after a consumer was seen last its queue is made
// again. Later that is left to its own process, or to a person.
const RememberFor = topology.RememberFor

// BoundConsumer is a consumer of a [Topology].
func BoundConsumer(name string, topics []string, notices ...string) wire.Bound {
	return topology.BoundConsumer(name, topics, notices...)
}

// HookOf is the Hook of processes of a group, which is empty if they have none, and of
// consumers; all says that they take everybody's alerts.
func HookOf(group string, consumers []string, all bool) Hook {
	return topology.HookOf(group, consumers, all)
}

// AlertsOfGroup and AlertsOfConsumer are keys of the alerts of a group or a consumer.
func AlertsOfGroup(name string) string    { return topology.AlertsOfGroup(name) }
func AlertsOfConsumer(name string) string { return topology.AlertsOfConsumer(name) }

// AlertsOfAll is the key of the alerts that nobody else takes.
func AlertsOfAll() string { return topology.AlertsAll }

// DeclareGroup makes the half queues of a producer group, and what every group
// needs: the topics exchange and the queue of dead letters. What exists already
// is left as it is; if it exists with other arguments, the error says how to
// migrate. It is remembered, and made again when RabbitMQ comes back without it.
func (b *Broker) DeclareGroup(ctx context.Context, group string) error {
	return b.topo.DeclareGroup(ctx, group)
}

// DeclareConsumer makes the queue of a consumer, binds it to topics, in which *
// stands for one word and # for any number of words, and makes the delay queues of
// the default ladder. It is remembered like a group.
//
// A topic that was bound before and is no longer listed stays bound: AMQP
// cannot list bindings. [Broker.Unbind] removes it.
//
// notices are the topics whose compensation notices it gets.
func (b *Broker) DeclareConsumer(ctx context.Context, name string, topics []string, notices ...string) error {
	return b.topo.DeclareNamed(ctx, name, wire.Bindings{Topics: topics, Notices: notices})
}

// Require makes all that is missing, or with [Options.NoDeclare] names it, in a
// [MissingError].
func (b *Broker) Require(ctx context.Context, x Topology) error { return b.topo.Require(ctx, x) }

// Objects are what Require makes or removes, each once, with a Broker of these options. RabbitMQ is
// not asked.
func Objects(o Options, x Topology) ([]Object, error) {
	if o = o.withDefaults(); o.URL == "" {
		o.URL = "amqp://localhost" // nobody connects
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	c := &link.Client{Names: o.names(), Log: o.Logger, Rolling: o.RollingUpgrade}
	return topology.New(c, topology.NewMemory(), topology.Options{}).Objects(x)
}

// Objects are what Require makes or removes, each once.
func (b *Broker) Objects(x Topology) ([]Object, error) { return b.topo.Objects(x) }

// Compare looks for the exchanges and queues of x, and says which are not as they should be.
// It makes none. What one is like can be asked by who may declare it; otherwise it is
// [Unknown]. Bindings are not compared.
func (b *Broker) Compare(ctx context.Context, x Topology) ([]Compared, error) {
	return b.topo.Compare(ctx, x)
}

// Recall takes over what was remembered before, and makes those queues of it that
// are missing. Call it before the first publish. An error means that it could not
// look; what could not be made is told ([Options.OnRemade]).
func (b *Broker) Recall(ctx context.Context, known []wire.Bound) error {
	return b.topo.Recall(ctx, known)
}

// CheckRemembered looks whether the queues of all remembered consumers are there,
// makes those that are missing, and binds all of them anew.
func (b *Broker) CheckRemembered(ctx context.Context) error { return b.topo.CheckRemembered(ctx) }

// Remembered are the consumers that this Broker remembers, by name: those that
// [Broker.Recall] was given, and those that [Broker.Learn] has heard of.
func (b *Broker) Remembered() []wire.Bound { return b.memory.All(time.Now()) }

// BoundTo are the remembered consumers that messages of a topic are for.
func (b *Broker) BoundTo(topic string) []wire.Bound { return b.memory.Wants(topic) }

// SameTaskQueue are the groups of other installations on this RabbitMQ whose prefix and
// name together are those of a group of this one: a.b with c, and a with b.c.
func (b *Broker) SameTaskQueue(ctx context.Context, group string) ([]Installation, error) {
	return b.topo.SameTaskQueue(ctx, group)
}
