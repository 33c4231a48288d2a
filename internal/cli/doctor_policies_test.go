package cli

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

func TestPolicyRisks(t *testing.T) {
	own := map[string]any{"x-overflow": "reject-publish", "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "p.dead"}
	for name, tc := range map[string]struct {
		queue     string
		arguments map[string]any
		effective definition
		lacking   bool
		want      string // "": none
		level     level
	}{
		"none":                       {"p.q.a", own, definition{"queue-mode": "lazy"}, false, "", ""},
		"ttl on dead letters":        {"p.dead", own, definition{"message-ttl": 3000.0}, false, "put back again and again", levelProblem},
		"ttl, of an older version":   {"p.dead", nil, definition{"message-ttl": 3000.0}, true, "LOST", levelProblem},
		"ttl on half messages":       {"p.half.orders#2", own, definition{"message-ttl": 3000.0}, false, "undecided", levelProblem},
		"ttl on a consumer":          {"p.q.a", own, definition{"message-ttl": 3000.0}, false, "has message-ttl 3s: messages that wait so long", levelProblem},
		"ttl below a delay":          {"p.retry.10s", map[string]any{"x-message-ttl": 10000.0}, definition{"message-ttl": 3000.0}, false, "instead of after their delay", levelWarning},
		"ttl above a delay":          {"p.retry.10s", map[string]any{"x-message-ttl": 10000.0}, definition{"message-ttl": 86400000.0}, false, "", ""},
		"a process's own queue":      {"p.replies.orders@i.1", nil, definition{"message-ttl": 3000.0}, false, "", ""},
		"expires":                    {"p.q.a", own, definition{"expires": 60000.0}, false, "deletes the queue", levelProblem},
		"full":                       {"p.q.a", own, definition{"max-length": 10.0}, false, "publishes to it are refused", levelWarning},
		"full, and drops":            {"p.dead.expired", nil, definition{"max-length-bytes": 10.0}, false, "drops the oldest", levelProblem},
		"delivery limit":             {"p.q.a", own, definition{"delivery-limit": 5.0}, false, "becomes a dead letter", levelWarning},
		"another dead letter queue":  {"p.dead", nil, definition{"dead-letter-exchange": "audit"}, true, "goes astray", levelProblem},
		"own dead letters":           {"p.q.a", own, definition{"dead-letter-exchange": "audit", "dead-letter-routing-key": "x"}, false, "", ""},
		"the key of what is retried": {"p.retry.10s", map[string]any{"x-dead-letter-exchange": "p.retry"}, definition{"dead-letter-routing-key": "x"}, false, "goes astray", levelProblem},
		"a consumer timeout":         {"p.half.orders", own, definition{"consumer-timeout": 60000.0}, false, "takes away", levelProblem},
		"a long enough timeout":      {"p.half.orders", own, definition{"consumer-timeout": 1800000.0}, false, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			risks := policyRisks(managedQueue{Name: tc.queue, Type: "quorum", Policy: "all", OperatorPolicy: "ops", Arguments: tc.arguments, Effective: tc.effective}, "p", tc.lacking)
			if tc.want == "" {
				require.Empty(t, risks)
				return
			}
			require.Len(t, risks, 1)
			require.Contains(t, risks[0].detail, tc.want)
			require.Contains(t, risks[0].detail, "policy all or operator policy ops")
			require.Equal(t, tc.level, risks[0].level)
			require.Contains(t, risks[0].remedy, "p.")
		})
	}
	require.Len(t, policyRisks(managedQueue{Name: "p.q.a", Type: "classic"}, "p", false), 1)
}

func TestManagement(t *testing.T) {
	for amqpURL, want := range map[string]string{
		"amqp://u:p@h:5672/v":  "http://h:15672",
		"amqps://u:p@h:5671/v": "https://h:15671",
		"amqp://u:p@h:1234/v":  "", // perhaps another RabbitMQ's
	} {
		m, err := newManagement(amqpURL, "")
		if want == "" {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, want, m.base.String())
	}
	_, err := newManagement("amqp://u:p@h/v", "h:15672")
	require.Error(t, err)

	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		asked = append(asked, fmt.Sprint(user, password, r.URL.EscapedPath(), r.URL.Query().Get("name"), r.URL.Query().Get("page")))
		if user != "ann" {
			http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusFound)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"page_count": 2, "items": []any{
			map[string]any{"name": "a.b.q." + r.URL.Query().Get("page"), "policy": nil, "effective_policy_definition": []any{}, "arguments": map[string]any{}}}})
	}))
	defer s.Close()
	m, err := newManagement("amqp://u:p@h/a%2Fb", strings.Replace(s.URL, "//", "//ann:secret@", 1))
	require.NoError(t, err)
	queues, err := m.queues(t.Context(), "a.b")
	require.NoError(t, err)
	require.Len(t, queues, 2)
	require.Equal(t, []string{`annsecret/api/queues/a%2Fb^a\.b\.1`, `annsecret/api/queues/a%2Fb^a\.b\.2`}, asked)
	m.user = "bob"
	_, err = m.queues(t.Context(), "a.b")
	require.ErrorContains(t, err, "302", "credentials do not go elsewhere")
}

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
rabbit_policy:parse_set(<<"/">>, <<"tidy-`+q.prefix+`">>, <<"^`+q.prefix+`">>, <<"{\"message-ttl\":86400000}">>, <<"0">>, <<"queues">>, <<"test">>).`)
	t.Cleanup(func() { stacktest.RabbitMQ(t, shared, "rabbitmq-plugins", "disable", "rabbitmq_management") })
	stacktest.RabbitMQ(t, shared, "rabbitmq-plugins", "enable", "rabbitmq_management")

	_, by := q.diagnose(q.env, "--skip", "postgresql,temporal")
	require.Equal(t, levelOK, by["RabbitMQ policies"].Level)
	require.Contains(t, by["RabbitMQ policies"].Detail, "not looked for")
	var r result
	q.eventually(func() bool { // RabbitMQ's statistics come some seconds later
		r = runProgram(t, q.env, "doctor", "--skip", "postgresql,temporal", "--rabbitmq-management", "http://"+address)
		return !strings.Contains(r.out, "does not say which policies")
	}, func() string { return r.out })
	require.Equal(t, exitError, r.status, r.out)
	require.Contains(t, r.out, q.prefix+".dead.expired: policy tidy-"+q.prefix+" has message-ttl 24h0m0s: what left the queue of dead letters is LOST")
	require.Contains(t, r.out, "half messages that are undecided")
}

func TestDoctorOnRememberedConsumers(t *testing.T) {
	k := barrier.KnownConsumer{Name: "mailer", Topics: []string{"order.*"}, Seen: time.Hour}
	for name, tc := range map[string]struct {
		change  func(*barrier.KnownConsumer)
		q       broker.QueueInfo
		running int
		want    []level
		detail  string
	}{
		"all right":   {nil, broker.QueueInfo{Exists: true, Consumers: 1}, 1, nil, ""},
		"paused":      {nil, broker.QueueInfo{Exists: true}, 1, nil, ""},
		"no queue":    {nil, broker.QueueInfo{Name: "p.q.mailer"}, 0, []level{levelProblem}, "what is sent to order.* does not reach it"},
		"no process":  {nil, broker.QueueInfo{Exists: true, Messages: 7}, 0, []level{levelProblem}, "7 waiting"},
		"not needed":  {nil, broker.QueueInfo{Exists: true}, 0, []level{levelWarning}, "0 waiting"},
		"long ago":    {func(k *barrier.KnownConsumer) { k.Seen = 31 * 24 * time.Hour }, broker.QueueInfo{}, 0, []level{levelWarning}, "not made again"},
		"made again":  {func(k *barrier.KnownConsumer) { k.Remade, k.What = time.Minute, "RabbitMQ came back empty" }, broker.QueueInfo{Exists: true, Consumers: 1}, 1, []level{levelWarning}, "came back empty"},
		"weeks later": {func(k *barrier.KnownConsumer) { k.Remade = 30 * 24 * time.Hour }, broker.QueueInfo{Exists: true, Consumers: 1}, 1, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			k := k
			if tc.change != nil {
				tc.change(&k)
			}
			f := findings{part: "RabbitMQ"}
			f.remembered(k, tc.q, tc.running)
			var got []level
			for _, found := range f.all {
				got = append(got, found.Level)
				require.Contains(t, found.Detail, tc.detail)
				require.NotEmpty(t, found.Remedy)
			}
			require.Equal(t, tc.want, got)
		})
	}
}
