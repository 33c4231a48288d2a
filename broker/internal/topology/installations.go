package topology

import (
	"context"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// Names are made of a prefix, a word and a name with dots between, and each of these may
// have dots: so two installations, one with the prefix a, one with a.q, may mean the same
// queue by different names. RabbitMQ keeps them apart, since the arguments of a queue name
// its prefix; Temporal does not, where a task queue is the prefix and the group.

// Installation is a group of another installation.
type Installation struct {
	Prefix, Group string
}

// SameTaskQueue are the groups of other installations on this RabbitMQ whose prefix and
// name together are those of a group of this one: a.b with c, and a with b.c.
func (t *Maker) SameTaskQueue(ctx context.Context, group string) (out []Installation, err error) {
	var conn *amqp.Connection
	for _, prefix := range prefixesIn(t.c.Prefix + "." + group) {
		other := strings.TrimPrefix(t.c.Prefix+"."+group, prefix+".")
		if prefix == t.c.Prefix || wire.ValidGroup(other) != nil {
			continue
		}
		if conn == nil { // rarely anything has to be asked
			if conn, err = t.c.Consuming.Get(ctx); err != nil {
				return nil, err
			}
		}
		gone, err := t.Missing(ctx, conn, []string{prefix + wire.HalfName + "." + other})
		if err != nil {
			return out, err
		}
		if len(gone) == 0 {
			out = append(out, Installation{prefix, other})
		}
	}
	return out, nil
}

// prefixesIn are the prefixes that a name may begin with.
func prefixesIn(name string) (out []string) {
	for i, c := range name {
		if c == '.' && i <= wire.MaxPrefix && holdfast.ValidateName("prefix", name[:i]) == nil {
			out = append(out, name[:i])
		}
	}
	return out
}

// whoseElse says whose a queue or exchange may be that exists with other arguments: of
// which installation, with another prefix, names may begin as this one does.
func (t *Maker) whoseElse(ctx context.Context, conn *amqp.Connection, name string) string {
	for _, prefix := range prefixesIn(name) {
		if prefix == t.c.Prefix {
			continue
		}
		there, err := t.c.Calls.Exists(ctx, conn, func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(prefix+wire.TopicsName, amqp.ExchangeTopic, true, false, false, false, nil)
		})
		if err == nil && there {
			return fmt.Sprintf("it may be that of the installation with the prefix %s, in which names that begin "+
				"with %s mean the same: "+
				"if so, leave it, and give one of the two another prefix, or the group or consumer another name; "+
				"otherwise ", prefix, name)
		}
	}
	return ""
}
