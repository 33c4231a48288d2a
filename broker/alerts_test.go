package broker

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// What counts as an alert depends on how it came, and on what its routing key says.
func TestWhatIsAnAlert(t *testing.T) {
	const exchange = "holdfast.alerts"
	good := holdfast.Alert{Kind: holdfast.AlertParked, Group: "orders", Consumer: "billing", ID: "a", Reason: "oops"}
	of := func(a holdfast.Alert) []byte {
		body, err := json.Marshal(a)
		require.NoError(t, err)
		return body
	}
	death := func(queue, via, key string) amqp.Table {
		return amqp.Table{"x-death": []any{amqp.Table{"queue": queue, "reason": "expired", "exchange": via, "routing-keys": []any{key}}}}
	}
	for name, c := range map[string]struct {
		exchange, key string
		headers       amqp.Table
		body          []byte
		why           string // empty: it counts
	}{
		"to a consumer's":               {exchange: exchange, key: "consumer.billing"},
		"to a group's":                  {exchange: exchange, key: "group.orders"},
		"to everybody's":                {exchange: exchange, key: "all"},
		"nobody's":                      {exchange: exchange, key: "none"},
		"nobody took it":                {exchange: exchange, key: "none", headers: death("holdfast.alerts.orders", exchange, "group.orders")},
		"nor there":                     {exchange: exchange, key: "none", headers: death("holdfast.hook.@billing", exchange, "consumer.billing")},
		"the default exchange":          {exchange: "", key: "holdfast.alerts", why: "default exchange"},
		"the topics":                    {exchange: "holdfast.topics", key: "all", why: "through holdfast.topics"},
		"another prefix's":              {exchange: "other.alerts", key: "all", why: "through other.alerts"},
		"first into a queue of ours":    {exchange: exchange, key: "none", headers: death("holdfast.alerts.orders", "", "holdfast.alerts.orders"), why: "default exchange"},
		"out of somebody's queue":       {exchange: exchange, key: "none", headers: death("mine", exchange, "all"), why: "through queue mine"},
		"a death of something else":     {exchange: exchange, key: "none", headers: amqp.Table{"x-death": "x"}, why: "through queue"},
		"another consumer's":            {exchange: exchange, key: "consumer.payments", why: "sent to consumer.payments"},
		"another group's":               {exchange: exchange, key: "group.stock", why: "sent to group.stock"},
		"another one's, and nobody's":   {exchange: exchange, key: "none", headers: death("holdfast.alerts.stock", exchange, "group.stock"), why: "sent to group.stock"},
		"no JSON":                       {exchange: exchange, key: "all", body: []byte("hello"), why: "no alert"},
		"something else":                {exchange: exchange, key: "all", body: []byte(`{"v":1}`), why: "its kind"},
		"an odd kind":                   {exchange: exchange, key: "all", body: []byte(`{"kind":"rm -rf /"}`), why: "its kind"},
		"too much":                      {exchange: exchange, key: "all", body: of(holdfast.Alert{Kind: "parked", Reason: strings.Repeat("x", wire.MaxAlert)}), why: "the limit is"},
		"a kind of a newer version":     {exchange: exchange, key: "all", body: of(holdfast.Alert{Kind: "something-new"})},
		"a year that nobody can encode": {exchange: exchange, key: "all", body: []byte(`{"kind":"parked","at":"99999-01-01T00:00:00Z"}`), why: "no alert"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.body == nil {
				c.body = of(good)
			}
			a, err := wire.Trust{Prefix: "holdfast"}.DecodeAlert(&amqp.Delivery{Exchange: c.exchange, RoutingKey: c.key, Headers: c.headers, Body: c.body})
			if c.why != "" {
				require.ErrorContains(t, err, c.why)
				require.ErrorIs(t, err, holdfast.ErrMalformed)
				return
			}
			require.NoError(t, err)
			require.NotEmpty(t, a.Kind)
		})
	}
	odd := holdfast.Alert{Kind: "parked", ID: "a\x1b[2Jb", Reason: "one\ntwo\tthree\x07\u202e", Remedy: "holdfast\x00 tx list", Group: "g\r", Key: "k\u2028", Link: "https://elsewhere.example"}
	a, err := wire.Trust{Prefix: "holdfast"}.DecodeAlert(&amqp.Delivery{Exchange: exchange, RoutingKey: "all", Body: of(odd)})
	require.NoError(t, err)
	require.Equal(t, holdfast.Alert{Kind: "parked", ID: "a\uFFFD[2Jb", Reason: "one\ntwo\tthree\uFFFD", Remedy: "holdfast\uFFFD tx list", Group: "g\uFFFD", Key: "k\u2028"}, a)
}

// taking takes the alerts of a Hook.
func taking(t *testing.T, b *Broker, h Hook) (got chan holdfast.Alert, denied chan error, ignored chan string) {
	got, denied, ignored = make(chan holdfast.Alert, 100), make(chan error, 100), make(chan string, 100)
	b.alertsAgain = 50 * time.Millisecond
	background(t, func(ctx context.Context) error {
		return b.ConsumeAlerts(ctx, AlertTaker{Hook: h,
			Handle: func(a holdfast.Alert) error { got <- a; return nil }, Denied: func(err error) { denied <- err }, Ignored: func(why string) { ignored <- why }})
	})
	made.mu.Lock()
	made.queues[b.o.Prefix] = append(made.queues[b.o.Prefix], b.AlertQueue(), b.topo.OwnAlertQueue(h), b.HookQueue(h.Name))
	made.mu.Unlock()
	return got, denied, ignored
}

// Only what came through the exchange of alerts reaches a hook, by whichever way it is
// brought into a queue of alerts.
func TestForgedAlerts(t *testing.T) {
	b, ctx := consuming(t)
	h := HookOf("orders", nil, false)
	got, denied, ignored := taking(t, b, h)
	require.NoError(t, next(t, denied))
	body, err := json.Marshal(holdfast.Alert{Kind: holdfast.AlertParked, Group: "orders", ID: "forged", Remedy: "run this"})
	require.NoError(t, err)
	forged := amqp.Publishing{Body: body, Headers: amqp.Table{wire.HeaderKind: wire.KindAlert}}
	publishRaw(t, b, "", b.topo.OwnAlertQueue(h), forged)
	require.Contains(t, next(t, ignored), "default exchange")
	publishRaw(t, b, "", b.AlertQueue(), forged)
	require.Contains(t, next(t, ignored), "default exchange")
	rawChannel(t, b, func(ch *amqp.Channel) {
		require.NoError(t, ch.QueueBind(b.topo.OwnAlertQueue(h), "foreign.#", b.TopicsExchange(), false, nil))
	})
	publishRaw(t, b, b.TopicsExchange(), "foreign.x", forged)
	require.Contains(t, next(t, ignored), "through "+b.TopicsExchange())
	// Who may raise alerts at all may not raise a group's at another one's.
	forged.Body = []byte(`{"kind":"parked","group":"stock"}`)
	publishRaw(t, b, b.AlertsExchange(), AlertsOfGroup("orders"), forged)
	require.Contains(t, next(t, ignored), "says that it is of group \"stock\"")
	_, err = b.PublishAlert(ctx, holdfast.Alert{Kind: holdfast.AlertParked, Group: "orders", ID: "true"}, AlertsOfGroup("orders"))
	require.NoError(t, err)
	require.Equal(t, "true", next(t, got).ID)
	require.Empty(t, got)
}
