package worker_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
)

// restricted makes a user who may configure nothing that lasts, and write what the
// pattern says.
func (s *site) restricted(name, write string) (amqpURL string) {
	s.t.Helper()
	u, err := url.Parse(s.at.AMQPURL)
	require.NoError(s.t, err)
	vhost, err := url.PathUnescape(strings.TrimPrefix(u.EscapedPath(), "/"))
	require.NoError(s.t, err)
	if vhost == "" {
		vhost = "/"
	}
	stacktest.RabbitMQ(s.t, s.stack, "rabbitmqctl", "eval", fmt.Sprintf(`rabbit_auth_backend_internal:add_user(<<"%[1]s">>, <<"pw">>, <<"test">>),
rabbit_auth_backend_internal:set_permissions(<<"%[1]s">>, <<"%[2]s">>, <<"status">>, <<"%[3]s">>, <<".*">>, <<"test">>).`, name, vhost, write))
	u.User = url.UserPassword(name, "pw")
	return u.String()
}

func (s *said) count(texts ...string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.lines {
		all := true
		for _, text := range texts {
			all = all && strings.Contains(line, text)
		}
		if all {
			n++
		}
	}
	return n
}

// TestAlertsDenied: a process whose user may not make its queue of alerts, or not raise
// any, says so once, tells doctor, and goes on.
func TestAlertsDenied(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	admin, err := broker.Open(t.Context(), broker.Options{URL: s.at.AMQPURL, Prefix: s.at.Prefix})
	require.NoError(t, err)
	t.Cleanup(func() { _ = admin.Close(context.WithoutCancel(t.Context())) })
	consumers := []broker.Bound{broker.BoundConsumer("billing", []string{"a"}), broker.BoundConsumer("mute", []string{"b"})}
	require.NoError(t, admin.Require(t.Context(), broker.Topology{Consumers: consumers}))
	t.Cleanup(func() { stacktest.DeleteQueues(t, s.at.AMQPURL, admin.HeldQueue("billing"), admin.HeldQueue("mute")) })

	got := make(chan string, 10)
	process := func(user, consumer, topic string, log *said, heard *bells) *running {
		o := worker.Options{AMQPURL: user, Prefix: s.at.Prefix, Logger: slog.New(log), Instance: consumer}
		if heard != nil {
			heard.hears(&o)
		}
		return s.run(o, worker.Consumer{Name: consumer, Topics: []string{topic},
			HandleAtLeastOnce: func(_ context.Context, m holdfast.Message) error { got <- m.Topic; return nil }})
	}
	var hooked, silent said
	heard := &bells{}
	billing := process(s.restricted(s.at.Prefix+"-hooked", ".*"), "billing", "a", &hooked, heard)
	until(t, "it says why its hook hears less", func() bool { return hooked.count("do not reach its hook") > 0 })
	require.Equal(t, 1, hooked.count("do not reach its hook", "--hook '@billing=consumer.billing'", s.at.Prefix+".alerts.@"))
	billing.Raise(holdfast.Alert{Kind: holdfast.AlertParked, Consumer: "billing", ID: "mine"})
	until(t, "its own", func() bool { _, ok := heard.about(holdfast.AlertParked, "mine"); return ok })

	mute := process(s.restricted(s.at.Prefix+"-mute", `^(?!.*\\.alerts$).*$`), "mute", "b", &silent, nil)
	for _, id := range []string{"one", "two"} {
		mute.Raise(holdfast.Alert{Kind: holdfast.AlertParked, Consumer: "billing", ID: id})
		until(t, "nobody hears it", func() bool { return silent.count("an alert was not delivered", "id="+id) > 0 })
	}
	require.Equal(t, 1, silent.count("reach nobody", "write permission"))
	require.Zero(t, silent.count("kind="+string(holdfast.AlertPublishRefused)), "an alert about a refused alert would be refused, too")

	for i, topic := range []string{"a", "b"} {
		require.NoError(t, admin.PublishMessages(t.Context(), group, fmt.Sprint("t", i), []holdfast.Message{{ID: fmt.Sprint("t", i), Topic: topic}}))
		require.Equal(t, topic, <-got, "everything else goes on")
	}
	until(t, "doctor hears of both", func() bool {
		all, err := admin.Ask(t.Context(), 0)
		var troubles []string
		for _, p := range all {
			for _, x := range p.Troubles {
				troubles = append(troubles, p.Instance+": "+x.What)
			}
		}
		text := strings.Join(troubles, "\n")
		return err == nil && strings.Contains(text, "billing: alerts that other processes raise") && strings.Contains(text, "mute: alerts that it raises")
	})
}
