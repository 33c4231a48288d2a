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
	// emptyAfter is after how long such a stream counts as empty where no mark can be written,
	// and RabbitMQ says that it is.
	emptyAfter = 2 * time.Second
	// chunkWithin is within what time the records come that RabbitMQ keeps together with one.
	chunkWithin = 100 * time.Millisecond
	prefetch    = 1000
	// overhead is what a record takes in the stream beside its body, at most.
	overhead = 512
)

// errOver means that the stream is not delivered any more: its connection or its node is lost.
var errOver = errors.New("the stream of pauses is not delivered any more")

// errQuiet means that nothing comes out of a stream that was not empty before.
var errQuiet = errors.New("nothing comes out of the stream of pauses, although pauses in it are known that last: " +
	"they go on to count; holdfast consumers resume ends them")

// following is one reading of the stream, from its beginning on. It is for one goroutine.
type following struct {
	name string
	ch   *amqp.Channel
	in   <-chan amqp.Delivery
	c    *link.Client
	on   *amqp.Connection
	all  *known
	mark string // the last one that came
}

// looker is how somebody reads who does not write pauses.
type looker struct {
	marks  bool   // a mark may be written; follow makes it false where RabbitMQ forbids it
	before *known // what was read before; nil: nothing
}

// followWriting reads the stream up to a mark that it writes: everything that was confirmed
// before counts.
func followWriting(ctx context.Context, c *link.Client) (*following, error) {
	mark := uuid.NewString()
	if err := write(ctx, c, record{Mark: mark}); err != nil {
		return nil, err
	}
	conn, err := c.Consuming.Get(ctx)
	if err != nil {
		return nil, err
	}
	return begin(ctx, c, conn, end{mark: mark})
}

// follow reads the stream up to its end as of now. A mark is written only where nothing comes:
// with many of them RabbitMQ would forget pauses.
func follow(ctx context.Context, c *link.Client, l *looker) (*following, error) {
	conn, err := c.Consuming.Get(ctx)
	if err != nil {
		return nil, err
	}
	bounded, cancel := c.Timeout(ctx)
	defer cancel()
	e, err := lookForEnd(bounded, c, conn, l)
	if err != nil {
		return nil, err
	}
	if e.mark != "" { // the stream was empty, or slow
		ctx = bounded
	}
	return begin(ctx, c, conn, e)
}

// end is where the stream ends: behind a mark, or, without one, behind the chunk that begins
// at an offset; -1: it is empty.
type end struct {
	at   int64
	mark string
}

// begin reads from the beginning up to an end.
func begin(ctx context.Context, c *link.Client, conn *amqp.Connection, e end) (*following, error) {
	f, err := consume(conn, c.PausesExchange(), "first")
	if err != nil {
		return nil, err
	}
	f.c, f.on, f.all = c, conn, newKnown()
	at := int64(-1)
	for err == nil && (at < e.at || f.mark != e.mark && e.mark != "") {
		at, _, err = f.next(ctx)
	}
	for more := e.mark == "" && e.at >= 0; err == nil && more; {
		more, err = f.more(ctx)
	}
	if err != nil {
		f.close()
		return nil, err
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
		changed = f.take(&d)
		return offsetOf(&d), changed, d.Ack(false)
	case <-ctx.Done():
		return 0, false, ctx.Err()
	}
}

// more takes one record that comes right away, and says whether one came.
func (f *following) more(ctx context.Context) (came bool, err error) {
	t := time.NewTimer(chunkWithin)
	defer t.Stop()
	select {
	case d, ok := <-f.in:
		if !ok {
			return false, errOver
		}
		f.take(&d)
		return true, d.Ack(false)
	case <-t.C:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// take notes a delivery. What is no record takes room in the stream, too.
func (f *following) take(d *amqp.Delivery) (changed bool) {
	f.all.bytes += int64(len(d.Body)) + overhead
	r, ok := decode(f.name, d)
	if !ok {
		return false
	}
	if r.Pause == nil {
		f.mark = r.Mark
		return false
	}
	return f.genuine(r.Pause, d) && f.all.apply(r)
}

// genuine reports whether the signature of a pause or its end counts. An end that nobody brought
// was moved by RabbitMQ in its time: it was signed for the queue in which it waited.
func (f *following) genuine(p *wire.Pause, d *amqp.Delivery) bool {
	key := d.RoutingKey
	if p.Over && p.EndedBy == "" {
		key = p.ID
	}
	return f.c.Signatures.Pause(f.name, key, d, p) == nil
}

func offsetOf(d *amqp.Delivery) int64 {
	at, _ := d.Headers["x-stream-offset"].(int64)
	return at
}

// lookForEnd finds the stream's end as of now.
func lookForEnd(ctx context.Context, c *link.Client, conn *amqp.Connection, l *looker) (end, error) {
	f, err := consume(conn, c.PausesExchange(), "last")
	if err != nil {
		return end{}, err
	}
	defer f.close()
	if at, ok, err := f.first(ctx, markAfter); ok || err != nil {
		return end{at: at}, err
	}
	if l.marks {
		mark := uuid.NewString()
		err := writeMark(ctx, c, mark)
		if err == nil {
			return end{mark: mark}, nil
		}
		var refused *amqp.Error
		l.marks = !errors.As(err, &refused) || refused.Code != amqp.AccessRefused
	}
	n, err := count(ctx, c, conn)
	if err != nil {
		return end{}, err
	}
	wait := emptyAfter
	if n > 0 {
		wait = 0 // however long it takes
	}
	at, ok, err := f.first(ctx, wait)
	switch {
	case ok || err != nil:
		return end{at: at}, err
	case l.before != nil && len(l.before.all("")) > 0:
		return end{}, errQuiet
	}
	return end{at: -1}, nil
}

// count is how many records are in the stream, as RabbitMQ says, which may be late.
func count(ctx context.Context, c *link.Client, conn *amqp.Connection) (int, error) {
	n := make(chan int, 1)
	err := c.Calls.OnChannel(ctx, conn, func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclarePassive(c.PausesExchange(), true, false, false, false, nil)
		n <- q.Messages
		return err
	})
	if err != nil {
		return 0, err
	}
	return <-n, nil
}

// writeMark writes a mark over a channel of its own: who reads pauses may have no right to
// write, which is no reason to alert anybody, nor to hold up what else is published.
func writeMark(ctx context.Context, c *link.Client, mark string) error {
	msg, err := encode(record{Mark: mark})
	if err != nil {
		return err
	}
	msg.DeliveryMode = amqp.Persistent
	if err := c.Signatures.Sign(c.PausesExchange(), c.PausesExchange(), &msg); err != nil {
		return err
	}
	conn, err := c.Publishing.Get(ctx)
	if err != nil {
		return err
	}
	return c.Calls.OnChannel(ctx, conn, func(ch *amqp.Channel) error {
		if err := ch.Confirm(false); err != nil {
			return err
		}
		over := ch.NotifyClose(make(chan *amqp.Error, 1))
		d, err := ch.PublishWithDeferredConfirmWithContext(ctx, c.PausesExchange(), c.PausesExchange(), false, false, msg)
		if err != nil {
			return err
		}
		select {
		case <-d.Done():
			if d.Acked() {
				return nil
			}
		case err, ok := <-over:
			if ok && err != nil {
				return err
			}
			return errOver
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := <-over; err != nil { // the confirm ended because the channel did
			return err
		}
		return errOver
	})
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
