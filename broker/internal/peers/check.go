package peers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/topology"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// CheckBacks sends check-backs and takes their answers. All go over one channel, which
// is made when it is needed.
type CheckBacks struct {
	c    *link.Client
	topo *topology.Maker
	turn chan struct{} // whoever fills it may use last
	last *askChannel   // nil before the first
	// forbidden says that this user may not write to the exchange of check-backs.
	forbidden atomic.Bool
}

// NewCheckBacks needs no connections before the first check-back.
func NewCheckBacks(c *link.Client, topo *topology.Maker) *CheckBacks {
	return &CheckBacks{c: c, topo: topo, turn: make(chan struct{}, 1)}
}

// Check asks the processes that consume the group's check queue what became of txs, and
// answers in their order.
func (a *CheckBacks) Check(ctx context.Context, group string, txs []wire.CheckTx) []wire.CheckAnswer {
	out := make([]wire.CheckAnswer, len(txs))
	if err := wire.ValidGroup(group); err != nil {
		for i := range out {
			out[i].Err = err
		}
		return out
	}
	wait := topology.CheckWait
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline)*9/10)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var all sync.WaitGroup
	for _, r := range wire.EncodeChecks(group, txs) {
		all.Go(func() {
			body, err := a.ask(ctx, a.c.CheckQueue(group), group, r.Body)
			answers := out[r.From : r.From+r.N]
			if err == nil {
				wire.DecodeChecks(body, txs[r.From:r.From+r.N], a.c.MaxBody, answers)
				return
			}
			for i := range answers {
				answers[i].Err = err
			}
		})
	}
	all.Wait()
	return out
}

// ask returns the body of the answer. A request whose channel is lost is sent
// again.
func (a *CheckBacks) ask(ctx context.Context, queue, group string, body []byte) ([]byte, error) {
	pause := link.NewBackoff()
	for {
		answer, err := a.try(ctx, queue, group, body)
		var lost lostError
		if !errors.As(err, &lost) {
			return answer, err
		}
		if !link.Sleep(ctx, pause.NextBackOff()) {
			return nil, fmt.Errorf("%w: queue %s: %w: %s", wire.ErrUnreached, queue, err, a.c.Publishing.State())
		}
	}
}

// lostError means that there is no channel, or none any more.
type lostError struct{ err error }

func (e lostError) Error() string { return "the channel was lost: " + e.err.Error() }
func (e lostError) Unwrap() error { return e.err }

// ways are the exchanges through which a group's queue may be reached: ours, and the
// default one for programs of an older version, whose queues are bound to none of ours.
func (a *CheckBacks) ways(ctx context.Context) []string {
	if a.forbidden.Load() || a.topo.Declare(ctx, a.topo.CheckSteps()) != nil {
		return []string{""}
	}
	return []string{a.c.ChecksExchange(), ""}
}

func (a *CheckBacks) unsent(queue string, err error) error {
	return fmt.Errorf("%w: the request to queue %s was not sent: %w: %s", wire.ErrUnreached, queue, err,
		a.c.Publishing.State())
}

func (a *CheckBacks) try(ctx context.Context, queue, group string, body []byte) ([]byte, error) {
	select {
	case <-a.c.Publishing.Gate(): // RabbitMQ does not read from a connection that it blocks
	case <-ctx.Done():
		return nil, a.unsent(queue, ctx.Err())
	}
	ways := a.ways(ctx)
	ch, err := a.channel(ctx)
	switch {
	case errors.Is(err, link.ErrClosed) || ctx.Err() != nil:
		return nil, a.unsent(queue, err)
	case err != nil:
		return nil, lostError{err}
	}
	for _, exchange := range ways {
		got, err := a.over(ctx, ch, exchange, queue, group, body)
		if err == nil && got.forged != nil {
			err = fmt.Errorf("%w: queue %s: the answer does not count: %w: give the process of group %s that answers the "+
				"keys of HOLDFAST_SIGNING_KEYRING", wire.ErrUnreached, queue, got.forged, group)
		}
		if err != nil || !got.returned {
			return got.body, err
		}
	}
	return nil, a.nobody(queue, group)
}

func (a *CheckBacks) nobody(queue, group string) error {
	return fmt.Errorf("%w: there is no queue %s: start a process of group %s that declares and consumes it",
		wire.ErrUnreached, queue, group)
}

// over sends a request through an exchange, and waits for the answer.
func (a *CheckBacks) over(ctx context.Context, ch *askChannel, exchange, queue, group string,
	body []byte) (got answered, err error) {
	id := uuid.NewString()
	answer := ch.expect(id)
	defer ch.drop(id)
	written := make(chan error, 1)
	msg := wire.EncodeCheck(group, body)
	msg.ReplyTo, msg.CorrelationId, msg.Timestamp = directReply, id, time.Now()
	msg.Expiration = strconv.FormatInt(topology.CheckWait.Milliseconds(), 10) // the queue may have been made without a TTL
	if exchange != "" && ch.answers != "" {
		msg.ReplyTo = ch.answers
	}
	if err := a.c.Signatures.Sign(exchange, queue, &msg); err != nil {
		return got, a.unsent(queue, err)
	}
	if !a.c.Calls.Spawn(func() { written <- ch.ch.PublishWithContext(ctx, exchange, queue, true, false, msg) }) {
		return got, a.unsent(queue, link.ErrClosed)
	}
	for {
		select {
		case err := <-written:
			if err != nil && ctx.Err() == nil {
				return got, lostError{err}
			}
		case got := <-answer:
			return got, nil
		case <-ch.closed:
			return got, a.lost(ch.why, exchange, queue, group)
		case <-ctx.Done():
			return got, fmt.Errorf("%w: queue %s: no answer in time (%w): see that a process of group %s consumes "+
				"it, and its log; %s",
				wire.ErrUnreached, queue, ctx.Err(), group, a.c.Publishing.State())
		}
	}
}

// lost says what the loss of the channel means for a request through exchange.
func (a *CheckBacks) lost(why error, exchange, queue, group string) error {
	var ae *amqp.Error
	switch is := errors.As(why, &ae); {
	case is && ae.Code == amqp.AccessRefused && strings.Contains(ae.Reason, "'"+cmp.Or(exchange, "amq.default")+"'"):
		if exchange == "" {
			return fmt.Errorf("%w, and binds it to the exchange %s", a.nobody(queue, group), a.c.ChecksExchange())
		}
		a.forbidden.Store(true)
	case is && ae.Code == amqp.NotFound:
		a.topo.Ledger.Forget(a.topo.CheckSteps())
	}
	return lostError{why}
}

// channel returns the channel, after having made a new one where there is none
// any more.
func (a *CheckBacks) channel(ctx context.Context) (*askChannel, error) {
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if a.last != nil && !a.last.isClosed() {
		defer func() { <-a.turn }()
		return a.last, nil
	}
	conn, err := a.c.Publishing.Get(ctx)
	if err != nil {
		<-a.turn
		return nil, err
	}
	made := make(chan error, 1)
	var ch *askChannel
	if !a.c.Calls.Spawn(func() { // amqp091's calls know no context
		defer func() { <-a.turn }()
		var err error
		if ch, err = openAskChannel(a.c, conn); err == nil {
			a.last = ch
		}
		made <- err
	}) {
		<-a.turn
		return nil, link.ErrClosed
	}
	select {
	case err := <-made:
		return ch, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// askChannel is an AMQP channel that consumes RabbitMQ's pseudo queue for answers, beside
// a queue of our own, which is reached through an exchange of ours.
type askChannel struct {
	ch      *amqp.Channel
	answers string // the queue of our own for answers; empty if there is none
	signs   *link.Signatures
	closed  chan struct{}
	why     error // valid once closed is closed

	mu      sync.Mutex
	waiting map[string]chan<- answered
}

// answered is what came of a request.
type answered struct {
	body     []byte
	returned bool  // there is no such queue
	forged   error // why its signature does not count
}

func openAskChannel(c *link.Client, conn *amqp.Connection) (*askChannel, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	a := &askChannel{ch: ch, signs: c.Signatures, closed: make(chan struct{}), waiting: map[string]chan<- answered{}}
	returns := ch.NotifyReturn(make(chan amqp.Return, 1))
	closes := ch.NotifyClose(make(chan *amqp.Error, 1))
	answers, err := ch.Consume(directReply, "", true, false, false, false, nil)
	if err != nil {
		_ = ch.Close()
		return nil, err
	}
	go a.watch(answers, returns, closes)
	a.ownAnswers(c, conn)
	return a, nil
}

// ownAnswers makes a queue for answers, which goes with its channel. Who may not have one
// is answered through the default exchange.
func (a *askChannel) ownAnswers(c *link.Client, conn *amqp.Connection) {
	ch, err := conn.Channel()
	if err != nil {
		return
	}
	name := c.AnswersExchange() + "." + uuid.NewString()
	_, err = ch.QueueDeclare(name, false, true, true, false, amqp.Table{"x-queue-type": "classic",
		"x-max-length": int64(1000)})
	if err == nil {
		err = ch.QueueBind(name, name, c.AnswersExchange(), false, nil)
	}
	var answers <-chan amqp.Delivery
	if err == nil {
		answers, err = ch.Consume(name, "", true, true, false, false, nil)
	}
	if err != nil {
		c.Log.Debug("there is no queue for the answers to check-backs: they come through the default exchange",
			"error", err)
		_ = ch.Close()
		return
	}
	a.answers = name
	go func() {
		defer func() { _ = a.ch.Close() }() // who asks later makes both anew
		for {
			select {
			case d, ok := <-answers:
				if !ok {
					return
				}
				if d.Exchange == c.AnswersExchange() {
					a.heard(&d)
				}
			case <-a.closed:
				_ = ch.Close()
				return
			}
		}
	}()
}

// watch ends when the channel is closed, with its connection at the latest.
func (a *askChannel) watch(answers <-chan amqp.Delivery, returns <-chan amqp.Return, closes <-chan *amqp.Error) {
	defer close(a.closed)
	for {
		select {
		case d, ok := <-answers:
			if !ok {
				answers = nil // closes says why
				continue
			}
			a.heard(&d)
		case r, ok := <-returns:
			if !ok {
				returns = nil
				continue
			}
			a.tell(r.CorrelationId, answered{returned: true})
		case e := <-closes:
			if a.why = amqp.ErrClosed; e != nil {
				a.why = e
			}
			go link.Drain(returns)
			return
		}
	}
}

// expect returns where the answer to a request will come.
func (a *askChannel) expect(id string) <-chan answered {
	c := make(chan answered, 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting[id] = c
	return c
}

func (a *askChannel) drop(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, id)
}

// heard takes an answer, if somebody waits for it.
func (a *askChannel) heard(d *amqp.Delivery) {
	a.mu.Lock()
	awaited := a.waiting[d.CorrelationId] != nil
	a.mu.Unlock()
	if awaited {
		a.tell(d.CorrelationId, answered{body: d.Body, forged: a.signs.Answer(d)})
	}
}

// tell hands over the first answer to a request; a later one, and one that nobody
// waits for, is dropped.
func (a *askChannel) tell(id string, got answered) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.waiting[id]; c != nil {
		delete(a.waiting, id)
		c <- got
	}
}

func (a *askChannel) isClosed() bool {
	select {
	case <-a.closed:
		return true
	default:
		return false
	}
}
