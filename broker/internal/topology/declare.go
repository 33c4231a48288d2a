package topology

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

const (
	// declareTimeout bounds each declaration. What was made before one is late stays
	// made.
	declareTimeout = 10 * time.Second
	// Declarations are written together and answered once, as many as take about so
	// long.
	fewAtOnce, manyAtOnce = 250 * time.Millisecond, time.Second
	maxAtOnce             = 128
	maxLate               = 2 // late ones in a row
	// maxConnections is how many one Declare may lose: a declaration may be what
	// RabbitMQ fails at.
	maxConnections = 3
)

// errLate means that RabbitMQ did not answer a declaration in time.
var errLate = errors.New("RabbitMQ does not answer in time: it may be overloaded, or a queue may be without a " +
	"majority of its replicas")

// Step is one declaration: what it makes, for the error, and how.
type Step struct {
	What string
	Of   string // the queue or exchange that it is about
	// Do carries it out. With noWait RabbitMQ does not answer: an error comes with a
	// later step.
	Do func(ch *amqp.Channel, noWait bool) error
	// There looks whether it exists: that is enough for a user who may not make it.
	// Nil: that cannot be asked.
	There func(ch *amqp.Channel, noWait bool) error
	// shared says that it belongs to all processes: who may not make it leaves that
	// to the others.
	shared bool
	// brief says that it goes by itself, so that having made it says nothing.
	brief bool
	// handy says that processes go on without it, with less.
	handy bool
	// late says that processes which may make it do so when they first need it.
	late bool
	// object is what it makes; of Kind "": nothing that is listed.
	object Object
}

// queueStep makes a durable queue.
func queueStep(name string, args amqp.Table) Step {
	o := Object{Kind: KindQueue, Name: name, Arguments: args}
	return Step{What: o.String(), Of: name, object: o, Do: func(ch *amqp.Channel, noWait bool) error {
		_, err := ch.QueueDeclare(name, true, false, false, noWait, args)
		return err
	}, There: func(ch *amqp.Channel, noWait bool) error {
		_, err := ch.QueueDeclarePassive(name, true, false, false, noWait, nil)
		return err
	}}
}

// ExchangeStep makes a durable exchange.
func ExchangeStep(name, kind string, args amqp.Table) Step {
	o := Object{Kind: KindExchange, Name: name, Type: kind, Arguments: args}
	return Step{What: o.String(), Of: name, object: o, Do: func(ch *amqp.Channel, noWait bool) error {
		return ch.ExchangeDeclare(name, kind, true, false, false, noWait, args)
	}, There: func(ch *amqp.Channel, noWait bool) error {
		return ch.ExchangeDeclarePassive(name, kind, true, false, false, noWait, nil)
	}}
}

// bindStep binds a queue to an exchange.
func bindStep(queue, key, exchange string) Step {
	o := Object{Kind: KindBinding, Name: queue, Exchange: exchange, Key: key}
	return Step{What: o.String(), Of: queue, object: o, Do: func(ch *amqp.Channel, noWait bool) error {
		return ch.QueueBind(queue, key, exchange, noWait, nil)
	}}
}

// unbindStep removes a binding, if it is there.
func unbindStep(queue, key, exchange string) Step {
	o := Object{Kind: KindBinding, Name: queue, Exchange: exchange, Key: key, Removed: true}
	return Step{What: o.String(), Of: queue, object: o, Do: func(ch *amqp.Channel, _ bool) error {
		return ch.QueueUnbind(queue, key, exchange, nil)
	}}
}

// Briefly marks steps whose objects go by themselves.
func Briefly(steps ...Step) []Step {
	for i := range steps {
		steps[i].brief = true
	}
	return steps
}

// handily marks steps whose objects processes can do without.
func handily(steps ...Step) []Step {
	for i := range steps {
		steps[i].handy = true
	}
	return steps
}

// lately marks steps whose objects processes make when they first need them, and go on
// without.
func lately(steps ...Step) []Step {
	for i := range steps {
		steps[i].late = true
	}
	return handily(steps...)
}

// Declare makes what is not known to be there. It uses the connection that never
// publishes: an alarm does not block it. Each step may be carried out again, so that it
// goes on with the next connection where one is lost: RabbitMQ 3.10 ends one, with
// INTERNAL_ERROR, that consumes from a quorum queue which another one is just making.
func (t *Maker) Declare(ctx context.Context, steps ...[]Step) error {
	all := slices.Concat(steps...)
	for n := 1; len(t.Ledger.lacking(all)) > 0; n++ {
		conn, err := t.connection(ctx)
		if err != nil {
			return fmt.Errorf("declare queues: %w", err)
		}
		err = t.run(ctx, conn, t.Ledger.lacking(all)) // coming back may have made it
		if err == nil || !conn.IsClosed() || n == maxConnections {
			return err
		}
	}
	return nil
}

// connection waits for one, for as long as a publish may.
func (t *Maker) connection(ctx context.Context) (*amqp.Connection, error) {
	ctx, cancel := t.c.Timeout(ctx)
	defer cancel()
	return t.c.Consuming.Get(ctx)
}

// run carries the steps out. It goes on after an error and returns all of them. What
// the user may not make may be there already.
func (t *Maker) run(ctx context.Context, conn *amqp.Connection, steps []Step) error {
	if t.o.NoDeclare {
		steps = t.looks(steps)
	}
	var errs []error
	var missing, handy, refused []string
	var why error // of the first of refused
	var first Step
	err := t.each(ctx, conn, steps, func(s Step, err error) (done bool, fatal error) {
		var ae *amqp.Error
		switch is := errors.As(err, &ae); {
		case is && ae.Code == amqp.NotFound && t.o.NoDeclare && s.handy && !strings.Contains(ae.Reason, "is down"):
			handy = append(handy, s.What)
		case is && ae.Code == amqp.NotFound && t.o.NoDeclare && !s.brief && !s.handy:
			missing = append(missing, s.What)
		case t.done(ctx, conn, s, err):
			return true, nil
		case is && ae.Code == amqp.NotFound && s.There == nil && len(refused) > 0:
			// a binding of what was refused
		case is && ae.Code == amqp.AccessRefused:
			if refused = append(refused, s.What); why == nil {
				why, first = err, s
			}
		default:
			whose := ""
			if is && ae.Code == amqp.PreconditionFailed {
				whose = t.whoseElse(ctx, conn, s.Of)
			}
			errs = append(errs, explainDeclareOf(s.What, whose, err))
		}
		return false, nil
	})
	if len(refused) > 0 {
		errs = append(errs, explainRefused(wire.ShortList(refused), first, why))
	}
	if len(missing)+len(handy) > 0 {
		errs = append(errs, &MissingError{Where: t.c.Where, What: missing, Handy: handy})
	}
	if len(errs) == 1 && err == nil {
		return errs[0]
	}
	return errors.Join(append(errs, err)...)
}

// looks are steps that look whether things are there, and make nothing. That a queue is
// bound cannot be asked.
func (t *Maker) looks(steps []Step) (out []Step) {
	for _, s := range steps {
		switch {
		case s.brief:
			out = append(out, s)
		case s.There != nil:
			s.Do = s.There
			out = append(out, s)
		default:
			t.Ledger.add(t.Ledger.now(), []Step{s})
		}
	}
	return out
}

// MissingError says what is missing in RabbitMQ and is not made, because of
// Options.NoDeclare.
type MissingError struct {
	// Where is RabbitMQ's address, without credentials.
	Where string
	// What are the queues and exchanges without which there is no going on.
	What []string
	// Handy are those that one can do without: what alerts between processes need, and
	// the queues in which messages are held for a queue that is full.
	Handy []string
}

// Error names the first few.
func (e *MissingError) Error() string {
	return fmt.Sprintf("missing in RabbitMQ at %s, and not declared by this process (Options.Declare is false): %s; "+
		"have somebody make it who may, with `holdfast topology declare`", e.Where,
		wire.ShortList(slices.Concat(e.What, e.Handy)))
}

// each carries the steps out, many at a time as long as RabbitMQ is quick, and notes
// those that are done. failed is told of a step that failed by itself, and says whether
// it is done all the same, or that there is no going on.
func (t *Maker) each(ctx context.Context, conn *amqp.Connection, steps []Step,
	failed func(s Step, err error) (done bool, fatal error)) error {
	era := t.Ledger.now()
	l := &lane{conn: conn}
	defer func() { t.c.Calls.Spawn(l.leave) }()
	for size, late := 1, 0; len(steps) > 0; {
		some := steps[:min(size, len(steps))]
		began, on := time.Now(), l
		err := t.limited(ctx, func() error { return on.do(some) })
		took := time.Since(began)
		if err != nil { // an error closes a channel, and one that is late is left alone
			t.c.Calls.Spawn(on.leave)
			l = &lane{conn: conn}
		}
		t.Written.Add(uint64(len(some)))
		switch {
		case err == nil:
			t.Ledger.add(era, some)
			steps, late = steps[len(some):], 0
			if took < fewAtOnce {
				size = min(2*size, maxAtOnce)
			} else if took > manyAtOnce {
				size = max(size/2, 1)
			}
			continue
		case conn.IsClosed() || ctx.Err() != nil || errors.Is(err, link.ErrClosed):
			return explainDeclare(some[0].What, err)
		}
		if size = 1; len(some) > 1 || errors.Is(err, errAgain) {
			continue // one by one, to see which it was
		}
		if errors.Is(err, errLate) {
			if late++; late == maxLate {
				return explainDeclare(some[0].What, err)
			}
		}
		done, fatal := failed(some[0], err)
		if fatal != nil {
			return fatal
		}
		if done {
			t.Ledger.add(era, some)
		}
		steps = steps[1:]
	}
	return nil
}

// lane is a channel for steps. After an error it is of no use any more.
type lane struct {
	conn *amqp.Connection
	mu   sync.Mutex // held while steps are under way
	ch   *amqp.Channel
}

// do carries steps out, and waits for the answer to the last one.
func (l *lane) do(steps []Step) (err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ch == nil {
		if l.ch, err = l.conn.Channel(); err != nil {
			l.ch = nil
			return err
		}
	}
	for i, s := range steps {
		if err := s.Do(l.ch, i < len(steps)-1); err != nil {
			return err
		}
	}
	return nil
}

// leave closes the channel once nothing is under way.
func (l *lane) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ch != nil {
		_ = l.ch.Close()
	}
}

// limited calls f, which knows no context, and waits for it until ctx is done or it is
// late; it may run on then, until its connection ends.
func (t *Maker) limited(ctx context.Context, f func() error) error {
	op, cancel := context.WithTimeout(ctx, t.late)
	defer cancel()
	err := t.c.Calls.Await(op, f)
	if err != nil && op.Err() != nil && ctx.Err() == nil {
		return errLate
	}
	return err
}

// done reports whether a step that was refused need not be taken.
func (t *Maker) done(ctx context.Context, conn *amqp.Connection, s Step, refused error) bool {
	var ae *amqp.Error
	if !errors.As(refused, &ae) || ae.Code != amqp.AccessRefused {
		return false
	}
	if s.There == nil {
		return s.shared
	}
	there, err := t.c.Calls.Exists(ctx, conn, func(ch *amqp.Channel) error { return s.There(ch, false) })
	return err == nil && there
}

// Missing returns those of the queues that do not exist.
func (t *Maker) Missing(ctx context.Context, conn *amqp.Connection, queues []string) (gone []string, err error) {
	looks := make([]Step, len(queues))
	for i, q := range queues {
		looks[i] = Step{What: q, brief: true, Do: func(ch *amqp.Channel, noWait bool) error {
			_, err := ch.QueueDeclarePassive(q, true, false, false, noWait, nil)
			return err
		}}
	}
	err = t.each(ctx, conn, looks, func(s Step, err error) (bool, error) {
		var ae *amqp.Error
		switch {
		case errors.Is(err, errLate): // what is not there is answered at once
		case !errors.As(err, &ae):
			return false, err
		case ae.Code == amqp.NotFound && strings.Contains(ae.Reason, "no queue"):
			// A queue whose node is down is not found either, with other words.
			gone = append(gone, s.What)
		}
		return false, nil
	})
	if err != nil {
		return gone, fmt.Errorf("look for queues: %w", err)
	}
	return gone, nil
}

// explainDeclare says what to do about a declaration that was refused.
func explainDeclare(what string, err error) error { return explainDeclareOf(what, "", err) }

// explainDeclareOf is explainDeclare where another installation may have the name.
func explainDeclareOf(what, whose string, err error) error {
	var ae *amqp.Error
	if !errors.As(err, &ae) {
		return fmt.Errorf("declare %s: %w", what, err)
	}
	if ae.Code == amqp.PreconditionFailed {
		return fmt.Errorf("%w: %s exists with other arguments than this version of Holdfast wants (%s): %s"+
			"let its consumers empty it with the version that made it, delete it and start again, "+
			"or set another prefix; messages in it are lost when it is deleted", holdfast.ErrInvalid, what, ae.Reason,
			whose)
	}
	return fmt.Errorf("declare %s: %w", what, err)
}

// explainRefused says which right the user lacks for s, the first of what was refused.
func explainRefused(what string, s Step, err error) error {
	lack := "configure, write and read permission"
	if right, ok := link.RightOf(err, s.needs); ok {
		lack = right.String()
	}
	return fmt.Errorf("declare %s: the user lacks %s: have somebody make it who may, with `holdfast topology declare`, "+
		"and set Options.Declare to false, or give the user what `holdfast topology permissions` prints (a consumer or "+
		"participant makes queues only with --answers): %w", what, lack, err)
}

// needs is the right that a step needs for a queue, exchange or topic, where RabbitMQ does
// not say it: to bind a queue is to write to it, and to read the exchange.
func (s Step) needs(kind, name string) string {
	switch binds := s.There == nil; {
	case binds && kind == "queue":
		return "write"
	case binds:
		return "read"
	case s.brief && kind == "exchange":
		return "configure or read" // it is made where it is missing, and bound to
	case name != s.Of:
		return "write" // to the exchange that its dead letters go to
	}
	return "configure"
}
