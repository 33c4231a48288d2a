package upgrade

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
)

// phase is what went through the half queue in one phase.
type phase struct {
	name          string
	alone, shared map[source]int // half messages in records of their own, and in those of many
	records       map[source]int // of many, each counted for the first of them
	orders        int
}

// source is whose half messages they are. In the Traced lane any process of the group may
// store those of another one's callers: it is an activity.
type source struct {
	kind
	lane holdfast.Lane
}

// openTap has everything that goes to the half queue also go to a queue of the test. The
// exchange is there once a process is ready.
func (w *world) openTap() {
	w.Helper()
	conn, err := amqp.Dial(w.stack.AMQPURL())
	require.NoError(w, err)
	w.Cleanup(func() { _ = conn.Close() })
	w.tap, err = conn.Channel()
	require.NoError(w, err)
	_, err = w.tap.QueueDeclare(w.tapQueue(), false, false, true, false, nil)
	require.NoError(w, err)
	require.NoError(w, w.tap.QueueBind(w.tapQueue(), w.broker.HalfQueue(group), w.broker.HalfExchange(), false, nil))
}

func (w *world) tapQueue() string { return w.prefix + ".tap" }

// endPhase waits until all is at rest, and counts what went through the half queue.
func (w *world) endPhase(name string) *phase {
	w.Helper()
	w.rest()
	ph := &phase{name: name, alone: map[source]int{}, shared: map[source]int{}, records: map[source]int{}}
	for {
		d, ok, err := w.tap.Get(w.tapQueue(), true)
		require.NoError(w, err)
		if !ok {
			break
		}
		if d.Headers["holdfast-kind"] == "half" {
			w.passes(ph, d)
		}
	}
	require.NoError(w, w.db.Raw("SELECT count(*) FROM orders").Scan(&ph.orders).Error)
	for _, before := range w.phases {
		ph.orders -= before.orders
	}
	w.phases = append(w.phases, ph)
	w.Logf("%s: %d orders; half messages alone %v, shared %v, in %v records; killed so far %v", name, ph.orders, ph.alone,
		ph.shared, ph.records, w.kills)
	return ph
}

// passes takes note of a half record: a line of its body is a transaction.
func (w *world) passes(ph *phase, d amqp.Delivery) {
	w.Helper()
	lines := strings.Split(string(d.Body), "\n")
	_, many := d.Headers["holdfast-txs"]
	require.Equal(w, many, len(lines) > 1, "%v: %s", d.Headers, d.Body)
	for i, line := range lines {
		var half struct{ Messages []struct{ ID, Key string } }
		require.NoError(w, json.Unmarshal([]byte(line), &half), "%v: %s", d.Headers, d.Body)
		require.Len(w, half.Messages, 1, "%s", line)
		m := half.Messages[0]
		name, _, _ := strings.Cut(m.Key, "-")
		of := source{kind(name), holdfast.Traced}
		if lane, ok := d.Headers["holdfast-lane"].(string); ok {
			of.lane = holdfast.Lane(lane)
		}
		if !many {
			ph.alone[of]++
		} else if ph.shared[of]++; i == 0 {
			ph.records[of]++
		}
		w.halves[m.ID] = many
	}
}

// audit looks at everything, once no process runs any more.
func (w *world) audit() {
	w.atRest()
	for what, query := range map[string]string{
		"orders without exactly one effect": `SELECT o.id || ' of ' || o.sender || ': ' || count(e.id) FROM orders o
LEFT JOIN effects e USING (id) GROUP BY o.id, o.sender HAVING count(e.id) <> 1`,
		"effects without an order": `SELECT e.id || ' of ' || e.sender FROM effects e
LEFT JOIN orders o USING (id) WHERE o.id IS NULL`,
	} {
		w.none(what, query)
	}
	var ids []string
	require.NoError(w, w.db.Raw("SELECT id FROM orders").Scan(&ids).Error)
	rolledBack := maps.Clone(w.halves)
	for _, id := range ids {
		if _, ok := w.halves[id]; !ok {
			w.Errorf("order %s never had a half message", id)
		}
		delete(rolledBack, id)
	}
	shared := 0
	for _, many := range rolledBack {
		if many {
			shared++
		}
	}
	told := map[string]int{}
	for _, p := range w.processes {
		for line, n := range p.said {
			if strings.HasPrefix(line, "told ") {
				told[fmt.Sprintf("%s: %s", p.kind, line)] += n
			}
		}
	}
	w.Logf("%d orders; %d transactions were rolled back, %d of them in records of many; killed %v; "+
		"callers that were told anything but success: %v", len(ids), len(rolledBack), shared, w.kills, told)
}

// atRest: nothing is left anywhere, and nothing has ended badly.
func (w *world) atRest() {
	left, err := w.left()
	require.NoError(w, err)
	require.Empty(w, left, "queues that are not empty")
	w.noDeadLetters()
	require.Empty(w, w.workflows("ExecutionStatus IN ('Failed', 'Terminated', 'TimedOut', 'Canceled')"),
		"workflows that ended badly")
}

// none: a query finds nothing that is wrong.
func (w *world) none(what, query string) {
	var wrong []string
	require.NoError(w, w.db.Raw(query).Scan(&wrong).Error)
	if len(wrong) > 0 {
		w.Errorf("%d %s, such as %q", len(wrong), what, wrong[:min(len(wrong), 10)])
	}
}
