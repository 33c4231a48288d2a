package cli

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/doctor"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// Policies are found by the management API of a real RabbitMQ.
func TestDoctorFindsPolicies(t *testing.T) {
	q := newQuiet(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	_, port, _ := net.SplitHostPort(address)
	b, err := broker.Open(t.Context(), broker.Options{URL: stacktest.Shared(t).AMQPURL(), Prefix: q.prefix})
	require.NoError(t, err)
	require.NoError(t, b.DeclareGroup(t.Context(), "orders"))
	require.NoError(t, b.Close(t.Context()))
	t.Cleanup(func() {
		stacktest.DeleteQueues(t, stacktest.Shared(t).AMQPURL(), b.DeadQueue(), b.OversizedQueue(), b.ExpiredQueue(), b.HalfQueue("orders"))
	})
	shared := stacktest.Shared(t)
	stacktest.RabbitMQ(t, shared, "rabbitmqctl", "eval", `application:load(rabbitmq_management),
application:set_env(rabbitmq_management, tcp_config, [{port, `+port+`}, {ip, "127.0.0.1"}]),
rabbit_policy:parse_set(<<"/">>, <<"tidy-`+q.prefix+`">>, <<"^`+q.prefix+`">>, <<"{\"message-ttl\":86400000}">>, <<"0">>, <<"queues">>, <<"test">>),
rabbit_policy:parse_set(<<"/">>, <<"astray-`+q.prefix+`">>, <<"^`+q.prefix+`">>, <<"{\"alternate-exchange\":\"catch.all\"}">>, <<"0">>, <<"exchanges">>, <<"test">>).`)
	t.Cleanup(func() { stacktest.RabbitMQ(t, shared, "rabbitmq-plugins", "disable", "rabbitmq_management") })
	stacktest.RabbitMQ(t, shared, "rabbitmq-plugins", "enable", "rabbitmq_management")

	_, by := q.diagnose(q.env, "--skip", "postgresql,temporal")
	require.Equal(t, text.LevelOK, by["RabbitMQ policies"].Level)
	require.Contains(t, by["RabbitMQ policies"].Detail, "not looked for")
	var r result
	q.eventually(func() bool { // RabbitMQ's statistics come some seconds later
		r = runProgram(t, q.env, "doctor", "--skip", "postgresql,temporal", "--rabbitmq-management", "http://"+address)
		return !strings.Contains(r.out, "does not say which policies")
	}, func() string { return r.out })
	require.Equal(t, frame.ExitError, r.status, r.out)
	require.Contains(t, r.out, q.prefix+".dead.expired: policy tidy-"+q.prefix+" has message-ttl 24h0m0s: what left the queue of dead letters is LOST")
	require.Contains(t, r.out, "half messages that are undecided")
	require.Regexp(t, q.prefix+`.half.*: policy astray-`+q.prefix+` has alternate-exchange "catch.all": what no queue takes goes there`, r.out)
	require.NotRegexp(t, `(^|, |\s)`+q.prefix+`\.retry(,|:).*alternate-exchange`, r.out, "it has one of its own")
}

// A pooler is seen, and whether a process with the same URL can work through it; the
// command line itself always can.
func TestDoctorFindsAPooler(t *testing.T) {
	t.Parallel()
	url := stacktest.Database(t, stacktest.Shared(t))
	through := stacktest.Pgbouncer(t, url, "transaction", 3)
	for _, c := range []struct {
		url   string
		level text.Level
		says  string
	}{
		{through, text.LevelProblem, "prepares statements"},
		{through + "&default_query_exec_mode=exec", text.LevelOK, "that is well"},
		{stacktest.Pgbouncer(t, url, "session", 20), text.LevelOK, "each session"},
		{url, "", ""},
	} {
		env := []string{"DATABASE_URL=" + c.url}
		for range 3 {
			r := runProgram(t, env, "migrate")
			require.Equal(t, frame.ExitOK, r.status, r.err)
		}
		r := runProgram(t, env, "doctor", "--json", "--skip", "temporal", "--skip", "rabbitmq")
		var d doctor.Diagnosis
		require.NoError(t, json.Unmarshal([]byte(r.out), &d), r.out+r.err)
		var got doctor.Finding
		for _, f := range d.Findings {
			if f.Check == "pooler" {
				got = f
			}
		}
		require.Equal(t, c.level, got.Level, "%+v", d)
		require.Contains(t, got.Detail, c.says)
		if c.level == text.LevelProblem {
			require.Contains(t, got.Remedy, "default_query_exec_mode=exec")
		}
	}
}

// TestDoctorWithoutTemporal: an installation that has none. The other parts are checked.
func TestDoctorWithoutTemporal(t *testing.T) {
	t.Parallel()
	if conn, err := net.DialTimeout("tcp", client.DefaultHostPort, time.Second); err == nil {
		_ = conn.Close()
		t.Skip("this machine has a Temporal at the default address")
	}
	q := newQuiet(t)
	q.env = []string{"HOLDFAST_PREFIX=" + q.prefix, "AMQP_URL=" + stacktest.Shared(t).AMQPURL()}
	examined := func() (d doctor.Diagnosis, status int) {
		r := q.holdfast("doctor", "--skip", "postgresql", "--json")
		require.NoError(t, json.Unmarshal([]byte(r.out), &d), r.out)
		return d, r.status
	}
	d, status := examined()
	require.Equal(t, frame.ExitError, status)
	require.False(t, d.OK)
	at := map[string]doctor.Finding{}
	for _, f := range d.Findings {
		at[f.Part+" "+f.Check] = f
	}
	require.Equal(t, text.LevelProblem, at["Temporal connection"].Level)
	require.Equal(t, "set TEMPORAL_ADDRESS; where no process uses Temporal: --skip temporal", at["Temporal connection"].Remedy)
	require.Equal(t, text.LevelOK, at["RabbitMQ connection"].Level)
	require.Contains(t, at["Waiting waiting"].Detail, "what Temporal has was not looked at")
	r := q.holdfast("tx", "list")
	require.Contains(t, r.err, "Temporal at localhost:7233, since TEMPORAL_ADDRESS is not set, cannot be used")

	q.answer(broker.ProcessStatus{V: 1, Instance: "host-1", NoTemporal: true,
		Keepers: []broker.KeeperStatus{{Group: "orders", Queue: 1, Subscribed: true, Active: true}}})
	q.eventually(func() bool { // an answer may be late
		d, status = examined()
		return status == frame.ExitOK && d.OK
	}, func() string { return fmt.Sprint(d) })
}
