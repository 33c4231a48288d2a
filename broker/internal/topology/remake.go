package topology

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/consumer"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// remakeTimeout is how long a connection is waited for, to look for what is missing.
const remakeTimeout = 30 * time.Second

func (t *Maker) connected(ctx context.Context) (*amqp.Connection, error) {
	ctx, cancel := context.WithTimeout(ctx, remakeTimeout)
	defer cancel()
	return t.c.Consuming.Get(ctx)
}

// Remade tells that queues which had been there were missing in RabbitMQ, so that
// what was in them is lost, and that they were made again.
type Remade struct {
	At time.Time
	// Where is RabbitMQ's address, without credentials.
	Where string
	// Empty says that the exchange of the committed messages was missing as well:
	// RabbitMQ came back without anything, as far as one can see.
	Empty bool
	// Queues are the names of those that were missing, and are there again.
	Queues []string
	// Consumers are the remembered consumers whose queues are among Queues.
	Consumers []wire.Bound
	// Stale are remembered consumers whose queues are missing, and were not made
	// again: nobody has seen them for longer than RememberFor.
	Stale []wire.Bound
	// Err says what could not be made.
	Err error
}

// String says it to people.
func (r Remade) String() string {
	var s strings.Builder
	if r.Empty {
		fmt.Fprintf(&s, "RabbitMQ at %s came back empty", r.Where)
	} else {
		fmt.Fprintf(&s, "queues were missing in RabbitMQ at %s", r.Where)
	}
	if len(r.Queues) > 0 {
		fmt.Fprintf(&s, ": %s made again, what was in them is lost: %s", wereMade(len(r.Queues)),
			wire.ShortList(r.Queues))
	}
	if len(r.Consumers) > 0 {
		fmt.Fprintf(&s, "; of the consumers %s nobody may be there, their queues gather what is published from now on",
			wire.ShortList(wire.BoundNames(r.Consumers)))
	}
	if len(r.Stale) > 0 {
		fmt.Fprintf(&s, "; not made again, since nobody has seen them for %d days: consumers %s",
			int(RememberFor.Hours()/24), wire.ShortList(wire.BoundNames(r.Stale)))
	}
	if r.Err != nil {
		fmt.Fprintf(&s, "; not everything could be made: %s", wire.OneLine(r.Err.Error(), wire.MaxReason))
	}
	return s.String()
}

func wereMade(n int) string {
	if n == 1 {
		return "1 queue was"
	}
	return fmt.Sprintf("%d queues were", n)
}

// Recall takes over what was remembered before, and makes those queues of it that are
// missing.
func (t *Maker) Recall(ctx context.Context, known []wire.Bound) error {
	t.memory.Note(time.Now(), known...)
	return t.CheckRemembered(ctx)
}

// CheckRemembered looks whether the queues of all remembered consumers are there,
// makes those that are missing, and binds all of them anew.
func (t *Maker) CheckRemembered(ctx context.Context) error {
	conn, err := t.connected(ctx)
	if err != nil {
		return fmt.Errorf("look for the queues of known consumers: %w", err)
	}
	return t.remake(ctx, conn, nil)
}

// turn is had by one remake at a time.
func (t *Maker) turn(ctx context.Context) (release func(), err error) {
	select {
	case <-t.remaking:
		return func() { t.remaking <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// remake makes the steps of this process's own topology, and of what is
// remembered whatever is missing. It binds what is there, too: another process may
// have made the exchange and the queues of an empty RabbitMQ, and be about to bind
// them.
func (t *Maker) remake(ctx context.Context, conn *amqp.Connection, own []Step) error {
	release, err := t.turn(ctx)
	if err != nil {
		return err
	}
	defer release()
	return t.remakeNow(ctx, conn, own, true)
}

// errUnlooked means that it is not known whether something is missing, or that what is
// missing could not be made in time.
var errUnlooked = errors.New("what is missing in RabbitMQ could not be made in time")

// remakeNow is remake for who has the turn. Without others, those of other processes
// are left alone if RabbitMQ shows that it has lost nothing.
func (t *Maker) remakeNow(ctx context.Context, conn *amqp.Connection, own []Step, others bool) error {
	r := remaking{t: t, conn: conn, known: t.others(), mine: t.OwnQueues()}
	if err := r.look(ctx, others); err != nil {
		return fmt.Errorf("%w: %w", errUnlooked, err)
	}
	r.failed(t.run(ctx, conn, t.Ledger.lacking(own)))
	var binds []Step
	for _, c := range r.known {
		binds = append(binds, r.consumer(ctx, c)...)
	}
	t.bindAgain(ctx, conn, binds)
	r.failed(t.setMark(ctx, conn))
	err := few(r.errs)
	if len(r.gone) == 0 || cutOff(ctx, conn) {
		return err
	}
	if errors.Is(err, errLate) {
		return fmt.Errorf("%w: %w", errUnlooked, err)
	}
	still, lookErr := t.Missing(ctx, conn, r.gone)
	if lookErr != nil {
		return lookErr
	}
	r.told.Queues = slices.DeleteFunc(slices.Clone(r.gone), func(q string) bool { return slices.Contains(still, q) })
	r.told.Where, r.told.At, r.told.Err = t.c.Where, time.Now(), err
	t.tell(r.told)
	return err
}

// remaking is one look at what is missing, and its making.
type remaking struct {
	t     *Maker
	conn  *amqp.Connection
	known []wire.Bound // remembered consumers of other processes
	mine  []string     // this process's own queues
	gone  []string     // queues that are missing
	told  Remade
	errs  []error
}

func (r *remaking) failed(err error) {
	if err != nil {
		r.errs = append(r.errs, err)
	}
}

// look finds what is missing. Without its mark this process knows that RabbitMQ has
// lost everything, even if others have made their queues again; with it, that RabbitMQ
// has lost nothing, so that others' queues need no look.
func (r *remaking) look(ctx context.Context, others bool) (err error) {
	t := r.t
	mark := t.provenMark()
	if mark != "" {
		lost, err := t.Missing(ctx, r.conn, []string{mark})
		if err != nil {
			return err
		}
		if r.told.Empty = len(lost) > 0; !r.told.Empty && !others {
			r.known = nil
		}
	}
	queues := t.queuesOf(r.known)
	if !r.told.Empty {
		queues = slices.Concat(r.mine, queues)
	}
	if r.gone, err = t.Missing(ctx, r.conn, queues); err != nil {
		return err
	}
	if mark == "" && len(r.gone) > 0 {
		there, err := t.c.Calls.Exists(ctx, r.conn, func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(t.c.TopicsExchange(), amqp.ExchangeTopic, true, false, false, false, nil)
		})
		if err != nil {
			return err
		}
		r.told.Empty = !there
	} else if r.told.Empty {
		r.gone = slices.Compact(slices.Sorted(slices.Values(slices.Concat(r.gone, r.mine))))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, q := range r.gone {
		t.losses[q]++
	}
	return nil
}

// consumer sees to the queue of one of the known consumers. It returns its bindings where
// only they may be missing.
func (r *remaking) consumer(ctx context.Context, c wire.Bound) (binds []Step) {
	t := r.t
	its := t.queuesOf([]wire.Bound{c})
	gone := slices.ContainsFunc(its, func(q string) bool { return slices.Contains(r.gone, q) })
	switch {
	case !gone:
		return t.bindSteps(c)
	case c.Age > RememberFor:
		r.told.Stale = append(r.told.Stale, c)
		r.gone = slices.DeleteFunc(r.gone, func(q string) bool { return slices.Contains(its, q) })
	default:
		its := t.consumerSteps(c.Name, c.Bindings())
		t.Ledger.Forget(its)
		steps := t.Ledger.lacking(slices.Concat(t.BaseSteps(), its, t.delaySteps(consumer.KnownDelays(nil))))
		if err := t.run(ctx, r.conn, steps); err != nil {
			r.failed(fmt.Errorf("consumer %s: %w", c.Name, err))
			return nil
		}
		r.told.Consumers = append(r.told.Consumers, c)
	}
	return nil
}

// few joins errors, of many the first ones.
func few(errs []error) error {
	var flat []error
	for _, err := range errs {
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			flat = append(flat, many.Unwrap()...)
		} else {
			flat = append(flat, err)
		}
	}
	const most = 3
	if n := len(flat) - most; n > 0 {
		flat = append(flat[:most:most], fmt.Errorf("and %d more errors", n))
	}
	return errors.Join(flat...)
}

// markExpires is how long a process's mark stays when nobody renews it.
const markExpires = time.Hour

// markHolds is how long after it was renewed a mark that is missing proves a loss: it would not have
// expired. A process that was suspended, or could not look for long, does not know.
const markHolds = markExpires - 10*time.Minute

// provenMark is the name of a mark that has not expired; "": there is none.
func (t *Maker) provenMark() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Now().Round(0).Sub(t.marked) > t.MarkHolds { // by the wall clock: a suspended machine's other one stands still
		return ""
	}
	return t.mark
}

// MarkName is the name of this process's mark; "": it has none.
func (t *Maker) MarkName() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mark
}

// leaveMark is setMark for who has none yet.
func (t *Maker) leaveMark(ctx context.Context) error {
	if t.MarkName() != "" {
		return nil
	}
	ctx, cancel := t.c.Timeout(ctx)
	defer cancel()
	conn, err := t.c.Consuming.Get(ctx)
	if err != nil {
		return fmt.Errorf("declare queues: %w", err)
	}
	return t.setMark(ctx, conn)
}

// setMark makes the mark of a process that publishes: a durable queue of its own in
// which nothing ever is. It outlives RabbitMQ's restarts, but not the loss of what
// RabbitMQ stores. Whoever may not make it goes without.
func (t *Maker) setMark(ctx context.Context, conn *amqp.Connection) error {
	t.mu.Lock()
	wanted := len(t.groups) > 0 && !t.o.NoDeclare
	t.mu.Unlock()
	if !wanted {
		return nil
	}
	name := t.c.StatusExchange() + ".mark." + t.o.Process
	began := time.Now().Round(0)
	args := amqp.Table{"x-queue-type": "classic", "x-expires": markExpires.Milliseconds()}
	err := t.run(ctx, conn, Briefly(queueStep(name, args)))
	if cutOff(ctx, conn) {
		return err
	}
	if err != nil {
		t.c.Log.Debug("this process has no mark in RabbitMQ", "error", err)
		name = ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mark, t.marked = name, began
	return nil
}

// cutOff reports whether what failed may not have been refused.
func cutOff(ctx context.Context, conn *amqp.Connection) bool {
	return ctx.Err() != nil || conn.IsClosed()
}

// LossesOf counts how often a queue was found missing.
func (t *Maker) LossesOf(queue string) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.losses[queue]
}

func (t *Maker) hasGroup(group string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.groups[group]
}

// HasConsumer reports whether this process has declared a consumer.
func (t *Maker) HasConsumer(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, has := t.consumers[name]
	return has
}

// lookAgain looks whether queues that were declared before are still there. If not,
// somebody has deleted them, or RabbitMQ has lost them: everything is made again,
// and that is told. What fails here fails in the declaration that follows, too.
func (t *Maker) lookAgain(ctx context.Context, queues ...string) {
	conn, err := t.connected(ctx)
	if err != nil {
		return
	}
	gone, err := t.Missing(ctx, conn, queues)
	if err == nil && len(gone) > 0 {
		t.Ledger.begin()
		_ = t.remake(ctx, conn, t.All())
	}
}

// tell says it once for what is missing: consumers that are stale stay so.
func (t *Maker) tell(r Remade) {
	t.mu.Lock()
	news := len(r.Queues) > 0 || r.Empty || r.Err != nil
	for _, c := range r.Stale {
		news = news || !t.stale[c.Name]
		t.stale[c.Name] = true
	}
	t.mu.Unlock()
	if !news {
		return
	}
	t.c.Log.Error(r.String())
	t.o.Emptied()
	if t.o.OnRemade != nil {
		t.o.OnRemade(r)
	}
}
