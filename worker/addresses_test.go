package worker_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
)

// TestAddressIsStopped: of two addresses of RabbitMQ, the one in use is stopped under load.
// Every message is sent and handled once, and no caller is told of it.
func TestAddressIsStopped(t *testing.T) {
	for _, lane := range lanes {
		t.Run(lane.name, func(t *testing.T) {
			s := newSite(t)
			host := stacktest.HostOf(t, s.at.AMQPURL)
			a, b := stacktest.NewRelay(t, host), stacktest.NewRelay(t, host)
			both := a.Through(s.at.AMQPURL) + "," + b.Through(s.at.AMQPURL)
			s.run(worker.Options{AMQPURL: both, DB: s.effects, Prefix: s.at.Prefix, Logger: s.log(),
				Timeouts: worker.Timeouts{Drain: 20 * time.Second}}, payments(s.effects))
			o := lane.options(s.options())
			o.AMQPURL, o.CheckAfter = both, 10*time.Second
			l := s.load(lane, s.run(o))
			l.more(60)
			for _, r := range []*stacktest.Relay{a, b} { // whichever it is
				r.Refuse(true)
				t.Logf("%d ends of connections are cut", r.Cut())
				l.more(60)
				r.Refuse(false)
			}
			a.Stop() // nobody listens there any more
			l.more(60)
			l.stop()
			require.Empty(t, l.errs, "callers live within their deadline")
			l.verify()
		})
	}
}

// TestDatabaseHostIsStopped: of two hosts of PostgreSQL, the first is stopped under load.
// What callers are told is as in any loss of the database, and nothing is lost.
func TestDatabaseHostIsStopped(t *testing.T) {
	t.Parallel()
	for _, lane := range lanes {
		t.Run(lane.name, func(t *testing.T) {
			s := newSite(t)
			host := stacktest.HostOf(t, s.at.OrdersURL)
			first := stacktest.NewRelay(t, host)
			both, err := url.Parse(s.at.OrdersURL)
			require.NoError(t, err)
			both.Host = first.Address() + "," + host
			both.RawQuery += "&target_session_attrs=read-write"
			s.consuming(payments(s.effects))
			o := lane.options(s.options())
			o.DB, o.CheckAfter = openDB(t, both.String()), 10*time.Second
			l := s.load(lane, s.run(o))
			l.more(60)
			require.NotZero(t, first.Cut())
			l.more(20)
			first.Stop()
			l.more(60)
			l.verify()
		})
	}
}
