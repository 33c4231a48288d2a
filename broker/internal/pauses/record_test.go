package pauses

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// put is a record that takes 100 bytes.
func put(k *known, r record) {
	k.bytes += 100
	k.apply(r)
}

func pauseOf(consumer string) wire.Pause {
	return wire.Pause{ID: uuid.NewString(), Consumer: consumer, By: "ann", Reason: "stock-taking"}
}

// TestAnEndCountsWhereverItStands: before its pause, after it, and after a repetition of it.
func TestAnEndCountsWhereverItStands(t *testing.T) {
	t.Parallel()
	p := pauseOf("stock")
	over := p
	over.Over = true
	begin, end := record{Pause: &p}, record{Pause: &over}
	for _, c := range []struct {
		records []record
		paused  int
	}{
		{[]record{begin}, 1}, {[]record{begin, begin}, 1}, {[]record{begin, end}, 0}, {[]record{end, begin}, 0},
		{[]record{begin, end, begin}, 0}, {[]record{{Mark: "x"}}, 0},
	} {
		k := newKnown()
		for _, r := range c.records {
			put(k, r)
		}
		require.Len(t, k.all(""), c.paused)
		require.Len(t, k.all("stock"), c.paused)
		require.Empty(t, k.all("other"))
	}
}

func TestWhatAgesIsWrittenAgain(t *testing.T) {
	t.Parallel()
	old, over, young := pauseOf("a"), pauseOf("b"), pauseOf("c")
	k := newKnown()
	put(k, record{Pause: &old})
	put(k, record{Pause: &over})
	ended := over
	ended.Over = true
	put(k, record{Pause: &ended})
	put(k, record{Pause: &young})
	require.Equal(t, []wire.Pause{old}, k.aging(299))
	put(k, record{Pause: &old})
	require.Empty(t, k.aging(299))
}

func TestWhatIsNoRecord(t *testing.T) {
	t.Parallel()
	p := pauseOf("stock")
	msg, err := encode(record{Pause: &p})
	require.NoError(t, err)
	good := amqp.Delivery{Exchange: "x", Headers: msg.Headers, Body: msg.Body}
	r, ok := decode("x", &good)
	require.True(t, ok)
	require.Equal(t, p, *r.Pause)
	for name, change := range map[string]func(*amqp.Delivery){
		"another exchange": func(d *amqp.Delivery) { d.Exchange = "" },
		"another kind":     func(d *amqp.Delivery) { d.Headers = amqp.Table{} },
		"no JSON":          func(d *amqp.Delivery) { d.Body = []byte("{") },
		"a later version":  func(d *amqp.Delivery) { d.Body = []byte(`{"v":2,"mark":"x"}`) },
		"no ID":            func(d *amqp.Delivery) { d.Body = []byte(`{"v":1,"pause":{"consumer":"c"}}`) },
		"no consumer": func(d *amqp.Delivery) {
			d.Body = []byte(`{"v":1,"pause":{"id":"` + p.ID + `","consumer":"a b"}}`)
		},
		"too large": func(d *amqp.Delivery) {
			d.Body = []byte(strings.Replace(string(msg.Body), "stock-taking", strings.Repeat("x", maxRecord), 1))
		},
	} {
		d := good
		change(&d)
		_, ok := decode("x", &d)
		require.False(t, ok, name)
	}
	hostile := p
	hostile.Reason = "a\x1b[31mred\x00"
	msg, err = encode(record{Pause: &hostile})
	require.NoError(t, err)
	r, ok = decode("x", &amqp.Delivery{Exchange: "x", Headers: msg.Headers, Body: msg.Body})
	require.True(t, ok)
	require.NotContains(t, r.Pause.Reason, "\x1b")
}

// TestWhatIsNoRecordTakesRoom, too: what lasts is written again before RabbitMQ forgets it.
func TestWhatIsNoRecordTakesRoom(t *testing.T) {
	t.Parallel()
	f := following{name: "x", c: &link.Client{}, all: newKnown()}
	p := pauseOf("stock")
	msg, err := encode(record{Pause: &p})
	require.NoError(t, err)
	require.True(t, f.take(&amqp.Delivery{Exchange: "x", Headers: msg.Headers, Body: msg.Body}))
	before := f.all.bytes
	require.Greater(t, before, int64(len(msg.Body)))
	require.False(t, f.take(&amqp.Delivery{Exchange: "strange", Body: make([]byte, 1000)}))
	require.Equal(t, before+1000+overhead, f.all.bytes)
	require.Len(t, f.all.aging(1000), 1)
}

// TestConsumersWaitAgain once the stream is lost: what was paused meanwhile is not known.
func TestConsumersWaitAgain(t *testing.T) {
	t.Parallel()
	c := &link.Client{Log: slog.New(slog.DiscardHandler)}
	r := NewReader(c, nil)
	r.take(&following{all: newKnown(), on: new(amqp.Connection)})
	r.Await(t.Context()) // knows
	r.note(errOver)
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan struct{})
	go func() { r.Await(ctx); close(waited) }()
	select {
	case <-r.judged:
		t.Fatal("nothing is known any more")
	default:
	}
	cancel()
	<-waited
	r.take(&following{all: newKnown(), on: new(amqp.Connection)})
	r.Await(t.Context())
}
