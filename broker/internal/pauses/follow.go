package pauses

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

const (
	// markAfter is how long a stream is listened to that says nothing, before a mark is
	// written: it is empty, or slow.
	markAfter = 200 * time.Millisecond
	// emptyAfter is after how long such a stream counts as empty where no mark can be written.
	emptyAfter = 2 * time.Second
	prefetch   = 1000
)

// errOver means that the stream is not delivered any more: its connection or its node is lost.
var errOver = errors.New("the stream of pauses is not delivered any more")

// following is one reading of the stream, from its beginning on. It is for one goroutine.
type following struct {
	name  string
	ch    *amqp.Channel
	in    <-chan amqp.Delivery
	all   *known
	check wire.Checker // of signatures; nil: none is needed
}

// follow reads the stream up to its end as of now. With mark, it writes a mark where nothing
// comes, to know an empty stream from a slow one.
func follow(ctx context.Context, c *link.Client, mark bool) (*following, error) {
	conn, err := c.Consuming.Get(ctx)
	if err != nil {
		return nil, err
	}
	end, err := lastOffset(ctx, c, conn, mark)
	if err != nil {
		return nil, err
	}
	f, err := consume(conn, c.PausesExchange(), "first")
	if err != nil {
		return nil, err
	}
	f.all, f.check = newKnown(), c.Signatures.Checker()
	for at := int64(-1); at < end; {
		if at, _, err = f.next(ctx); err != nil {
			f.close()
			return nil, err
		}
	}
	return f, nil
}

// consume has the stream delivered from an offset on.
func consume(conn *amqp.Connection, stream, offset string) (*following, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	f := &following{name: stream, ch: ch}
	if err = ch.Qos(prefetch, 0, false); err == nil {
		f.in, err = ch.Consume(stream, "", false, false, false, false, amqp.Table{"x-stream-offset": offset})
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *following) close() { _ = f.ch.Close() }

// next takes one record, and says at which offset it is, and whether it changed who is paused.
func (f *following) next(ctx context.Context) (at int64, changed bool, err error) {
	select {
	case d, ok := <-f.in:
		if !ok {
			return 0, false, errOver
		}
		if r, ok := decode(f.name, &d); ok && f.genuine(r, &d) {
			changed = f.all.apply(r, len(d.Body))
		}
		return offsetOf(&d), changed, d.Ack(false)
	case <-ctx.Done():
		return 0, false, ctx.Err()
	}
}

// genuine reports whether the signature of a pause or its end counts. An end that nobody brought
// was moved by RabbitMQ in its time: it was signed for the queue in which it waited.
func (f *following) genuine(r record, d *amqp.Delivery) bool {
	if f.check == nil || r.Pause == nil {
		return true
	}
	key := d.RoutingKey
	if r.Pause.Over && r.Pause.EndedBy == "" {
		key = r.Pause.ID
	}
	return f.check(f.name, key, d) == nil
}

func offsetOf(d *amqp.Delivery) int64 {
	at, _ := d.Headers["x-stream-offset"].(int64)
	return at
}

// lastOffset is an offset that is not before the stream's end as of now, or -1 if the stream
// is empty.
func lastOffset(ctx context.Context, c *link.Client, conn *amqp.Connection, mark bool) (int64, error) {
	f, err := consume(conn, c.PausesExchange(), "last")
	if err != nil {
		return 0, err
	}
	defer f.close()
	if d, ok, err := f.first(ctx, markAfter); ok || err != nil {
		return d, err
	}
	if !mark || write(ctx, c, record{Mark: uuid.NewString()}) != nil {
		d, ok, err := f.first(ctx, emptyAfter)
		if !ok && err == nil {
			d = -1
		}
		return d, err
	}
	marked, err := consume(conn, c.PausesExchange(), "last")
	if err != nil {
		return 0, err
	}
	defer marked.close()
	d, _, err := marked.first(ctx, 0)
	return d, err
}

// first is the offset of the first record that comes within wait, or, if that is 0, ever.
func (f *following) first(ctx context.Context, wait time.Duration) (at int64, came bool, err error) {
	var over <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		over = t.C
	}
	select {
	case d, ok := <-f.in:
		if !ok {
			return 0, false, errOver
		}
		return offsetOf(&d), true, nil
	case <-over:
		return 0, false, nil
	case <-ctx.Done():
		return 0, false, ctx.Err()
	}
}

// write adds a record to the stream, and returns once RabbitMQ has it.
func write(ctx context.Context, c *link.Client, r record) error {
	return writeTo(ctx, c, c.PausesExchange(), r)
}

func writeTo(ctx context.Context, c *link.Client, key string, r record) error {
	msg, err := encode(r)
	if err != nil {
		return err
	}
	ctx, cancel := c.Timeout(ctx)
	defer cancel()
	p := link.Publication{Exchange: c.PausesExchange(), Key: key, Mandatory: true, Msg: msg}
	return c.Pub.One(ctx, &p, "")
}
