package broker

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/topology"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/internal/stepend"
)

// rolesOf reads the commands of docs/security.md, with prefix for holdfast, and has
// RabbitMQ carry them out at once. It returns the users' addresses.
func rolesOf(t *testing.T, prefix string) map[string]string {
	t.Helper()
	shared := stacktest.Shared(t)
	doc, err := os.ReadFile("../docs/security.md")
	require.NoError(t, err)
	type m = map[string]any
	users := map[string]string{}
	var defined struct {
		Users       []m `json:"users"`
		Permissions []m `json:"permissions"`
		Topics      []m `json:"topic_permissions"`
	}
	base, err := url.Parse(shared.AMQPURL())
	require.NoError(t, err)
	vhost := "/"
	if path := strings.TrimPrefix(base.Path, "/"); path != "" {
		vhost = path
	}
	named := func(s string) string {
		return strings.ReplaceAll(strings.ReplaceAll(s, `holdfast\.`, regexp.QuoteMeta(prefix)+`\.`), "holdfast.topics", prefix+".topics")
	}
	for _, line := range regexp.MustCompile(`(?m)^rabbitmqctl set_(topic_)?permissions -p '/' (\w+)(?: (holdfast\.topics))? ?(.*)$`).FindAllStringSubmatch(string(doc), -1) {
		user := prefix + "-" + line[2]
		if users[line[2]] == "" {
			hash := sha256.Sum256([]byte("saltpw"))
			defined.Users = append(defined.Users, m{"name": user, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": []string{},
				"password_hash": base64.StdEncoding.EncodeToString(append([]byte("salt"), hash[:]...))})
			own := *base
			own.User = url.UserPassword(user, "pw")
			users[line[2]] = own.String()
		}
		var args []string
		for _, a := range regexp.MustCompile(`'([^']*)'`).FindAllStringSubmatch(line[4], -1) {
			args = append(args, named(a[1]))
		}
		if line[1] == "" {
			require.Len(t, args, 3, line[0])
			defined.Permissions = append(defined.Permissions, m{"user": user, "vhost": vhost, "configure": args[0], "write": args[1], "read": args[2]})
			continue
		}
		require.Len(t, args, 2, line[0])
		defined.Topics = append(defined.Topics, m{"user": user, "vhost": vhost, "exchange": named(line[3]), "write": args[0], "read": args[1]})
	}
	require.Len(t, users, 9)
	text, err := json.Marshal(defined)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "definitions.json")
	require.NoError(t, os.WriteFile(file, text, 0o644))
	stacktest.RabbitMQ(t, shared, "rabbitmqctl", "-q", "import_definitions", file)
	return users
}

// may reports whether a user may do something; what is refused closes the channel.
func may(t *testing.T, conn *amqp.Connection, f func(ch *amqp.Channel) error) bool {
	t.Helper()
	ch, err := conn.Channel()
	require.NoError(t, err)
	defer func() { _ = ch.Close() }()
	require.NoError(t, ch.Confirm(false))
	err = f(ch)
	if e := (*amqp.Error)(nil); err != nil {
		require.ErrorAs(t, err, &e)
		require.Equal(t, amqp.AccessRefused, e.Code, e.Reason)
	}
	return err == nil
}

// publishes returns a publish that has its confirm, or the reason why not.
func publishes(exchange, key string) func(ch *amqp.Channel) error {
	return func(ch *amqp.Channel) error {
		closed := ch.NotifyClose(make(chan *amqp.Error, 1))
		c, err := ch.PublishWithDeferredConfirm(exchange, key, false, false, amqp.Publishing{})
		if err != nil {
			return err
		}
		if c.Wait() {
			return nil
		}
		return <-closed
	}
}

// Each role of docs/security.md may what the table says, and nothing else.
func TestPermissions(t *testing.T) {
	t.Parallel()
	prefix := stacktest.Prefix(t)
	users := rolesOf(t, prefix)
	brokerOf := func(role string) *Broker { return open(t, users[role], prefix, func(o *Options) { o.Name = role }) }
	ctx := testContext(t)
	worker := brokerOf("worker")
	require.NoError(t, worker.DeclareGroup(ctx, "orders"))
	require.NoError(t, worker.DeclareConsumer(ctx, "billing", []string{"order.placed"}, "order.placed"))
	require.NoError(t, worker.DeclareConsumer(ctx, "stock.reserve", []string{"stock.reserve"}))
	for _, group := range []string{"orders", "others"} {
		require.NoError(t, worker.topo.DeclareReplies(ctx, group))
	}
	require.NoError(t, worker.DeclareGroup(ctx, "others"))
	require.NoError(t, worker.DeclareConsumer(ctx, "another", []string{"another"}))
	orders, billing := HookOf("orders", nil, true), HookOf("", []string{"billing"}, false)
	heard, mayHear, _ := taking(t, worker, orders)
	require.NoError(t, next(t, mayHear))
	require.NoError(t, worker.topo.Declare(ctx, worker.topo.HookSteps(orders)))
	t.Cleanup(func() {
		made.mu.Lock()
		defer made.mu.Unlock()
		made.queues[prefix] = append(made.queues[prefix], worker.ReplyQueue("orders"), worker.ReplyQueue("others"))
	})

	background(t, func(ctx context.Context) error {
		return worker.Keep(ctx, KeeperOptions{Group: "orders", HandOver: func(_ context.Context, hs []holdfast.Half) []error { return make([]error, len(hs)) }})
	})
	answers(t, worker, func(all []wire.ProcessStatus) bool { return len(all) == 1 })

	alertsOf(t, worker, brokerOf("consumer"), brokerOf("foreign"), heard, billing)

	require.NoError(t, worker.Require(ctx, Topology{Checks: []string{"orders"}}))
	t.Cleanup(func() { stacktest.DeleteQueues(t, worker.o.URL, worker.CheckQueue("orders")) })
	producer, err := amqp.Dial(users["producer"])
	require.NoError(t, err)
	t.Cleanup(func() { _ = producer.Close() })
	answering(t, producer, worker, "orders")
	require.Equal(t, []wire.CheckAnswer{{Resolution: holdfast.Commit}}, worker.CheckRemotely(ctx, "orders", checks(1)))

	type row struct {
		what string
		do   func(ch *amqp.Channel) error
		who  string // the roles that may, beside the worker
	}
	rows := []row{
		{"a message", publishes(prefix+".topics", "order.placed"), "producer keeper service"},
		{"a foreign message", publishes(prefix+".topics", "foreign.x"), "foreign service"},
		{"half and op records", publishes(prefix+".half", "?"), "producer keeper service"},
		{"a saga's half record", publishes(prefix+".sagas", "?"), "service"},
		{"dead letters and handled records", publishes(prefix+".dead", ""), "consumer participant keeper service"},
		{"into consumers' queues", publishes(prefix+".queues", "?"), "consumer participant keeper service"},
		{"into a delay queue", publishes(prefix+".retry.10s", "?"), "consumer participant keeper service"},
		{"notices", publishes(prefix+".compensated", "order.placed"), "keeper service"},
		{"replies", publishes(prefix+".replies", "?"), "participant service"},
		{"a question to processes", publishes(prefix+".status", ""), "consumer participant keeper operator service"},
		{"an alert", publishes(prefix+".alerts", "?"), "consumer participant keeper service"},
		{"take billing's alerts", getFrom(worker.HookQueue(billing.Name)), "consumer"},
		{"take the group's alerts", getFrom(worker.HookQueue(orders.Name)), "keeper service"},
		{"take the alerts that nobody took", getFrom(worker.AlertQueue()), ""},
		{"have a queue of his own take all alerts", func(ch *amqp.Channel) error {
			return ch.QueueBind(worker.ConsumerQueue("billing"), topology.AlertsAll, prefix+".alerts", false, nil)
		}, ""},
		{"ask what became of a transaction", publishes(prefix+".check", "?"), "keeper"},
		{"answer that", publishes(prefix+".answers", "?"), "producer"},
		{"into any queue", publishes("", worker.ConsumerQueue("billing")), ""},
		{"read the dead letters", getFrom(worker.DeadQueue()), "keeper service"},
		{"read the replies", getFrom(worker.ReplyQueue("orders")), "service"},
		{"read billing's queue", getFrom(worker.ConsumerQueue("billing")), "consumer service"},
		{"read another group's half messages", getFrom(worker.HalfQueue("others")), ""},
		{"read another consumer's queue", getFrom(worker.ConsumerQueue("another")), ""},
		{"read another group's replies", getFrom(worker.ReplyQueue("others")), ""},
		{"make a queue for replies of its own", func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(worker.ReplyQueue("orders")+"@x", false, true, true, false, nil)
			return err
		}, "service"},
		{"bind billing's queue to its topic", bindsTo(worker.ConsumerQueue("billing"), "order.placed", prefix+".topics"), "consumer"},
		{"bind it to more", bindsTo(worker.ConsumerQueue("billing"), "order.*", prefix+".topics"), ""},
		{"bind it to all topics", bindsTo(worker.ConsumerQueue("billing"), "#", prefix+".topics"), ""},
		{"bind it to all notices", bindsTo(worker.ConsumerQueue("billing"), "#", prefix+".compensated"), "consumer"},
		{"bind it to what is put back for others", bindsTo(worker.ConsumerQueue("billing"), worker.ConsumerQueue("another"), prefix+".queues"), "consumer"},
		{"bind it to what others have from delays", bindsTo(worker.ConsumerQueue("billing"), worker.ConsumerQueue("another"), prefix+".retry"), "consumer"},
		{"bind it to replies", bindsTo(worker.ConsumerQueue("billing"), "others", prefix+".replies"), ""},
		{"bind another consumer's queue", bindsTo(worker.ConsumerQueue("another"), "order.placed", prefix+".topics"), ""},
		{"bind a queue of its own to another group's replies", func(ch *amqp.Channel) error {
			own := worker.ReplyQueue("orders") + "@bound"
			if _, err := ch.QueueDeclare(own, false, true, true, false, nil); err != nil {
				return err
			}
			return ch.QueueBind(own, worker.ReplyQueue("others"), prefix+".replies", false, nil)
		}, "service"},
		{"make the queue of another group's half messages", func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(worker.HalfQueue("more"), true, false, false, false, nil)
			return err
		}, ""},
		{"make a queue", func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(prefix+".replies.made", true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
			return err
		}, ""},
		{"delete the half queue", func(ch *amqp.Channel) error {
			_, err := ch.QueueDelete(worker.HalfQueue("orders"), true, true, false)
			return err
		}, ""},
	}
	for role, u := range users {
		if role == "worker" || role == "limited" {
			continue
		}
		conn, err := amqp.Dial(u)
		require.NoError(t, err)
		for _, r := range rows {
			require.Equal(t, strings.Contains(r.who, role), may(t, conn, r.do), "%s: %s", role, r.what)
		}
		require.NoError(t, conn.Close())
	}
	// A worker whose topics are bounded binds the queues of any consumer.
	limited := brokerOf("limited")
	require.NoError(t, limited.DeclareConsumer(ctx, "listener", []string{"another.#"}, "another.x"))
	bounded, err := amqp.Dial(users["limited"])
	require.NoError(t, err)
	require.True(t, may(t, bounded, publishes(prefix+".topics", "order.placed")))
	require.False(t, may(t, bounded, publishes(prefix+".topics", "another.x")))
	require.NoError(t, bounded.Close())

	other, err := amqp.Dial(users["worker"])
	require.NoError(t, err)
	require.False(t, may(t, other, publishes("amq.topic", "x")))
	require.NoError(t, other.Close())

	// And what they may is enough for what they are.
	got := make(chan Delivery, 10)
	consumer := brokerOf("consumer")
	background(t, func(ctx context.Context) error {
		return consumer.Consume(ctx, Subscription{Name: "billing", NeedsID: true, Topics: []string{"order.placed"}, Notices: []string{"order.placed"}, Tries: 1, Ladder: DefaultLadder()[:0],
			Handle: func(_ context.Context, d Delivery) error {
				got <- d
				if d.Redelivery == 0 && d.Notice == nil {
					return errOops
				}
				return nil
			}})
	})
	records := deadLetters(t, worker)
	publishTx(t, worker, "a")
	require.Equal(t, "a", next(t, got).Message.ID)
	ofA := func() DeadRecord {
		r := next(t, records)
		for r.ID() != "a" { // what the rows above have published
			r = next(t, records)
		}
		return r
	}
	l := ofA().Letter
	require.Equal(t, "billing", l.Failure.Consumer)
	require.NoError(t, worker.Redeliver(ctx, wire.RedeliverRequest{Letter: *l, N: 1}))
	require.Equal(t, 1, next(t, got).Redelivery)
	require.NotNil(t, ofA().Handled)
	require.NoError(t, worker.PublishCompensated(ctx, *l))
	require.Equal(t, "a", next(t, got).Notice.Of)

	participant := brokerOf("participant")
	background(t, func(ctx context.Context) error {
		return participant.Consume(ctx, Subscription{Name: "stock.reserve", Topics: []string{"stock.reserve"}, Tries: 1, Ladder: DefaultLadder()[:0],
			Handle: func(ctx context.Context, d Delivery) error {
				return participant.PublishSagaReply(ctx, *d.Saga, wire.SagaReply{Outcome: stepend.Done})
			}})
	})
	replies := make(chan wire.SagaReply, 10)
	background(t, func(ctx context.Context) error {
		return worker.ConsumeReplies(ctx, "orders", func(_ context.Context, r wire.SagaReply) error { replies <- r; return nil })
	})
	call := wire.SagaCall{Saga: "s", Workflow: "w", Group: "orders", Step: "x", Token: "t"}
	require.NoError(t, worker.PublishSagaCall(ctx, call, holdfast.Message{Topic: "stock.reserve"}))
	require.Equal(t, "t", next(t, replies).Token)

	operator := brokerOf("operator")
	answers(t, operator, func(all []wire.ProcessStatus) bool { return len(all) == 1 && all[0].Instance == "worker" })
	_, err = operator.Inspect(ctx, worker.DeadQueue(), worker.HalfQueue("orders"))
	require.NoError(t, err)
}

// alertsOf has a user who may make nothing raise alerts, and take his own once there is a
// queue of them.
func alertsOf(t *testing.T, worker, consumer, foreign *Broker, heard <-chan holdfast.Alert, h Hook) {
	t.Helper()
	ctx := testContext(t)
	about := func(id string) holdfast.Alert {
		return holdfast.Alert{Kind: holdfast.AlertDeadLetter, Consumer: "billing", ID: id}
	}
	_, err := consumer.PublishAlert(ctx, about("raised"), h.Keys...)
	require.ErrorIs(t, err, holdfast.ErrUnroutable)
	key, err := consumer.PublishAlert(ctx, about("raised"), append(h.Keys, AlertsOfAll())...)
	require.NoError(t, err)
	require.Equal(t, AlertsOfAll(), key)
	require.Equal(t, "raised", next(t, heard).ID)

	got, denied, _ := taking(t, consumer, h)
	err = next(t, denied)
	require.ErrorIs(t, err, ErrAlertsDenied)
	require.ErrorContains(t, err, worker.topo.OwnAlertQueue(h))
	require.NoError(t, worker.topo.Declare(ctx, worker.topo.HookSteps(h)))
	require.NoError(t, next(t, denied), "once, until it is allowed")
	_, err = worker.PublishAlert(ctx, about("taken"), h.Keys...)
	require.NoError(t, err)
	require.Equal(t, "taken", next(t, got).ID)
	require.Empty(t, denied)

	_, err = foreign.PublishAlert(ctx, about("forged"), h.Keys...)
	require.ErrorIs(t, err, ErrAlertsDenied)
}

// bindsTo binds a queue, and removes the binding.
func bindsTo(queue, key, exchange string) func(ch *amqp.Channel) error {
	return func(ch *amqp.Channel) error {
		if err := ch.QueueBind(queue, key, exchange, false, nil); err != nil {
			return err
		}
		if key == "order.placed" {
			return nil // it belongs there
		}
		return ch.QueueUnbind(queue, key, exchange, nil)
	}
}

func getFrom(queue string) func(ch *amqp.Channel) error {
	return func(ch *amqp.Channel) error {
		_, _, err := ch.Get(queue, false)
		return err
	}
}
