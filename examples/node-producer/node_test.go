package nodeproducer

import (
	"context"
	"hash/fnv"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/keyring"
)

// TestDelivered: no failure, no check-back.
func TestDelivered(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.keep()
	p := s.node("place.mjs", "ann", "4200")
	tx := p.says("placed (.*)")
	require.Zero(t, p.ended())
	require.Equal(t, order{Number: 1, Customer: "ann", Amount: 4200}, s.placed(tx))

	refused := s.node("place.mjs", "ann", "0")
	refused.says("refused .*customer_orders_amount_check.*")
	require.Equal(t, 1, refused.ended())
}

// TestRecords: a Keeper finds the op record of each half message.
func TestRecords(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.broker()
	require.NoError(t, b.DeclareGroup(t.Context(), group))
	require.NoError(t, b.DeclareConsumer(t.Context(), "books", []string{"order.#"}))
	s.node("place.mjs", "ann", "4200").says("placed .*")
	s.node("place.mjs", "ann", "0").says("refused .*")

	ctx, cancel := context.WithCancel(t.Context())
	kept := make(chan error, 1)
	var matched, held atomic.Int64
	go func() {
		kept <- b.Keep(ctx, broker.KeeperOptions{Group: group, CheckAfter: time.Hour,
			HandOver: func(_ context.Context, halves []holdfast.Half) []error { return make([]error, len(halves)) },
			Stats:    func(k broker.KeeperStats) { matched.Store(int64(k.Matched)); held.Store(int64(k.Held)) }})
	}()
	s.until("both are settled", func() bool { return matched.Load() == 2 && held.Load() == 0 })
	cancel()
	require.NoError(t, <-kept)
}

// TestHalfQueues: with several, both records of a transaction are where its ID's
// hash says.
func TestHalfQueues(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.halfQueues = 3
	require.NoError(t, s.broker().DeclareConsumer(t.Context(), "books", []string{"order.#"}))
	conn, err := amqp.Dial(s.amqpURL)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	require.NoError(t, err)
	names := []string{s.prefix + ".half.orders", s.prefix + ".half.orders#2", s.prefix + ".half.orders#3"}
	for _, name := range names {
		_, err := ch.QueueDeclare(name, true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
		require.NoError(t, err)
		require.NoError(t, ch.QueueBind(name, name, s.prefix+".half", false, nil))
	}
	for range 4 {
		p := s.node("place.mjs", "ann", "4200")
		tx := p.says("placed (.*)")
		require.Zero(t, p.ended())
		h := fnv.New32a()
		_, _ = h.Write([]byte(tx)) // never fails
		queue := names[h.Sum32()%3]
		for _, kind := range []string{"half", "op"} {
			d, ok, err := ch.Get(queue, true)
			require.NoError(t, err)
			require.True(t, ok, "no %s record of %s in %s", kind, tx, queue)
			require.Equal(t, kind, d.Headers["holdfast-kind"])
			require.Contains(t, string(d.Body), tx)
		}
	}
}

// TestNoHalfQueue: what cannot be stored is not begun.
func TestNoHalfQueue(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.node("place.mjs", "ann", "4200")
	p.says(".*NoExchange.* " + s.prefix + "\\.half: neither holdfast keep orders nor a worker has run with this prefix yet: start one")
	require.NotZero(t, p.ended())
	require.NotContains(t, p.output(), "connecting again")

	require.NoError(t, s.broker().DeclareConsumer(t.Context(), "books", []string{"order.#"})) // the exchange is there, the queue is not
	p = s.node("place.mjs", "ann", "4200")
	p.says(".*Unroutable.*see that its consumer, or holdfast keep orders, runs or has run.*")
	require.NotZero(t, p.ended())
	var orders int
	require.NoError(t, s.db().Raw("SELECT count(*) FROM customer_orders").Scan(&orders).Error)
	require.Zero(t, orders)
}

// TestKilledAfterHalf: a second process answers for the first that the local
// transaction never happened, and never will.
func TestKilledAfterHalf(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.keep()
	p := s.node("place.mjs", "ann", "4200", "--stop-after", "half")
	tx := p.says("stopped after half (.*)")
	p.kill()
	s.node("answer.mjs").says("answered " + tx + ": rollback")

	var resolution string
	require.NoError(t, s.db().Raw("SELECT resolution FROM outcomes WHERE tx_id = ?", tx).Scan(&resolution).Error)
	require.Equal(t, "rollback", resolution)
	require.Equal(t, 1, s.placed(s.node("place.mjs", "bob", "9900").says("placed (.*)")).Number, "ann's order was never made")
	require.NotContains(t, s.delivered, tx)
}

// TestKilledAfterCommit: a second process answers for the first, with the message
// as the local transaction had completed it.
func TestKilledAfterCommit(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.keep()
	p := s.node("place.mjs", "ann", "4200", "--stop-after", "commit")
	tx := p.says("stopped after commit (.*)")
	p.kill()
	a := s.node("answer.mjs")
	a.says("answered " + tx + ": commit")
	require.Equal(t, order{Number: 1, Customer: "ann", Amount: 4200}, s.placed(tx))

	require.NoError(t, a.cmd.Process.Signal(syscall.SIGTERM))
	require.Zero(t, a.ended(), a.output())
}

// TestSigned: where signatures are required, its half messages, op records and answers count,
// and it takes the signed check-back.
func TestSigned(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "signing.json")
	_, err := keyring.NewSigner(keys)
	require.NoError(t, err)
	t.Setenv("HOLDFAST_SIGNING_KEYRING", keys)
	t.Setenv("HOLDFAST_SIGNING", "required")
	s := newSite(t)
	s.keep()
	p := s.node("place.mjs", "ann", "4200", "--stop-after", "commit")
	tx := p.says("stopped after commit (.*)")
	p.kill()
	s.node("answer.mjs").says("answered " + tx + ": commit")
	require.Equal(t, order{Number: 1, Customer: "ann", Amount: 4200}, s.placed(tx))
	require.Equal(t, 2, s.placed(s.node("place.mjs", "bob", "9900").says("placed (.*)")).Number)
}

// TestNobodyAnswers: the transaction waits until somebody does.
func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.keep()
	p := s.node("place.mjs", "ann", "4200", "--stop-after", "commit")
	tx := p.says("stopped after commit (.*)")
	p.kill()
	s.until("it is asked about in vain", func() bool {
		m, ok := s.member(tx)
		return ok && m.Unreached > 0 && m.Checks == 0
	})
	m, _ := s.member(tx)
	require.Contains(t, m.Reason, "there is no queue "+s.prefix+".check.orders")
	s.node("answer.mjs").says("answered " + tx + ": commit")
	s.placed(tx)
}

// TestMalformedAnswer: an answer that makes no sense decides nothing.
func TestMalformedAnswer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.keep()
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "odd.mjs"), []byte(`
import { open } from './open.mjs';
const { holdfast } = await open();
await holdfast.answerCheckBacks(async () => ({ resolution: 'perhaps' }));
console.log('answering');`), 0o600))
	odd := s.node("odd.mjs")
	odd.says("answering")
	p := s.node("place.mjs", "ann", "4200", "--stop-after", "commit")
	tx := p.says("stopped after commit (.*)")
	p.kill()
	s.until("it is answered oddly", func() bool {
		m, ok := s.member(tx)
		return ok && m.Checks > 0 && m.Resolution == holdfast.Unknown
	})
	m, _ := s.member(tx)
	require.Contains(t, m.Reason, `"perhaps" is no resolution`)
	odd.kill()
	s.node("answer.mjs").says("answered " + tx + ": commit")
	s.placed(tx)
}

// TestWhoMayAsk: whoever may write to the default exchange has no transaction rolled
// back; a Keeper of an older version, which asks so, is answered where that is said.
func TestWhoMayAsk(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	conn, err := amqp.Dial(s.amqpURL)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	require.NoError(t, err)
	answers, err := ch.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
	require.NoError(t, err)
	ask := func() {
		require.NoError(t, ch.Publish("", s.prefix+".check."+group, false, false, amqp.Publishing{ReplyTo: "amq.rabbitmq.reply-to", CorrelationId: "c",
			Body: []byte(`{"v":1,"group":"orders","transactions":[{"tx":"victim","messages":[]}]}`)}))
	}
	a := s.node("answer.mjs")
	a.says("answering")
	ask()
	a.says("a check-back that did not come through " + s.prefix + "\\.check is not answered.*")
	var rows int
	require.NoError(t, s.db().Raw("SELECT count(*) FROM outcomes").Scan(&rows).Error)
	require.Zero(t, rows)
	a.kill()

	s.rolling = true
	a = s.node("answer.mjs")
	a.says("answering")
	ask()
	a.says("answered victim: rollback")
	require.Contains(t, string((<-answers).Body), "rollback")
}

// TestLostConnection: the process that answers connects again.
func TestLostConnection(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.keep()
	direct := s.amqp
	cut := s.wire()
	a := s.node("answer.mjs")
	a.says("answering")
	cut()
	a.says("RabbitMQ: .*; connecting again")
	s.amqp = direct
	p := s.node("place.mjs", "ann", "4200", "--stop-after", "commit")
	tx := p.says("stopped after commit (.*)")
	p.kill()
	a.says("answered " + tx + ": commit")
	s.placed(tx)
}
