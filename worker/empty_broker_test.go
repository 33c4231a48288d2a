package worker_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
)

// ownHost gives the site a virtual host of its own in RabbitMQ. What it returns
// empties that, as a RabbitMQ that lost its disk comes back.
func (s *site) ownHost(t *testing.T) (empty func()) {
	name := stacktest.Prefix(t)
	add := `rabbit_vhost:add(<<"` + name + `">>, <<"test">>), ` +
		`rabbit_auth_backend_internal:set_permissions(<<"holdfast">>, <<"` + name + `">>, <<".*">>, <<".*">>, <<".*">>, <<"test">>).`
	stacktest.RabbitMQ(t, s.stack, "rabbitmqctl", "eval", add)
	t.Cleanup(func() { stacktest.RabbitMQ(t, s.stack, "rabbitmqctl", "delete_vhost", name) })
	u, err := url.Parse(s.at.AMQPURL)
	require.NoError(t, err)
	u.Path = "/" + name
	s.at.AMQPURL = u.String()
	return func() {
		stacktest.RabbitMQ(t, s.stack, "rabbitmqctl", "eval", `rabbit_vhost:delete(<<"`+name+`">>, <<"test">>), `+add)
	}
}

// TestOpsT14EmptyBroker: RabbitMQ comes back empty, and one consumer's connection
// comes back later than the others': it gets what was sent meanwhile.
func TestOpsT14EmptyBroker(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	empty := s.ownHost(t)
	link := newRelay(t, hostOf(t, s.at.AMQPURL))
	var a, b audit
	ca, cb := a.consumer(), b.consumer()
	cb.Name = "late"
	s.consuming(ca)
	s.run(worker.Options{AMQPURL: link.through(s.at.AMQPURL), DB: s.effects, Prefix: s.at.Prefix, Logger: s.log(), Timeouts: worker.Timeouts{Drain: 20 * time.Second}}, cb)
	o := s.options()
	o.Lane = holdfast.Express
	var rings bells
	rings.hears(&o)
	w := s.run(o)
	known := func() []barrier.KnownConsumer {
		cs, err := barrier.KnownConsumers(s.ctx(), s.orders, s.at.Prefix)
		require.NoError(t, err)
		return cs
	}
	until(t, "both are known", func() bool { return len(known()) == 2 })

	for round, begin := range []func() *running{
		func() *running { return w },                  // which remembers
		func() *running { w.stop(); return s.run(o) }, // a new process, which reads what was kept
	} {
		link.refuse(true)
		link.cut()
		if round == 1 {
			w.stop()
		}
		empty()
		w := begin()
		id := newID()
		receipt, err := w.Send(s.ctx(), order(id), insert)
		require.NoError(t, err)
		require.Equal(t, holdfast.Commit, receipt.Resolution)
		until(t, "A has it", func() bool { return a.of(id) > 0 })
		until(t, "it is told", func() bool {
			n := 0
			for _, alert := range rings.of(holdfast.AlertQueuesLost) {
				if strings.Contains(alert.Reason, s.at.Prefix+".q.late") {
					n++
				}
			}
			return n > round
		})
		link.refuse(false)
		until(t, "B gets it", func() bool { return b.of(id) > 0 })
	}
	until(t, "doctor can know it", func() bool { cs := known(); return cs[1].Name == "late" && cs[1].Remade > 0 && cs[1].What != "" })
}
