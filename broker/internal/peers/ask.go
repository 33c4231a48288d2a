package peers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// askWait is how long Ask waits for answers, unless told otherwise.
const askWait = time.Second

// Ask asks all processes of c's prefix on which something is shown how they are, and
// collects the answers that come within wait; 0 means askWait.
func Ask(ctx context.Context, c *link.Client, wait time.Duration, want wire.StatusRequest) ([]wire.ProcessStatus,
	error) {
	if wait <= 0 {
		wait = askWait
	}
	// RabbitMQ does not read from a connection that it blocks.
	if c.Publishing.IsBlocked() {
		return nil, fmt.Errorf("ask the processes: %s", c.Publishing.State())
	}
	ctx, cancel := context.WithTimeout(ctx, c.PublishTimeout+wait)
	defer cancel()
	conn, err := c.Publishing.Get(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the processes: %w", err)
	}
	a := &asking{wait: wait, want: want, id: uuid.NewString(), exchange: c.StatusExchange(), from: map[string]bool{}}
	err = c.Calls.OnChannel(ctx, conn, func(ch *amqp.Channel) error { return a.run(ctx, ch) })
	answers, err := a.result(err)
	if err == nil && len(answers) == 0 && c.Publishing.IsBlocked() {
		err = fmt.Errorf("ask the processes: %s", c.Publishing.State())
	}
	return answers, err
}

// asking is one request and its answers.
type asking struct {
	wait         time.Duration
	want         wire.StatusRequest
	id, exchange string

	mu      sync.Mutex // Ask may leave before run does
	sent    bool
	from    map[string]bool
	bytes   int // of the answers
	answers []wire.ProcessStatus
}

// Answers beyond these are not taken: they are not of processes.
const (
	maxAnswers     = 1000
	maxAnswerBytes = 32 << 20
)

// run sends the request and takes answers until the time is over.
func (a *asking) run(ctx context.Context, ch *amqp.Channel) error {
	closes := ch.NotifyClose(make(chan *amqp.Error, 1))
	returns := ch.NotifyReturn(make(chan amqp.Return, 1))
	answers, err := ch.Consume(directReply, "", true, false, false, false, nil)
	if err != nil {
		return err
	}
	// A process that gets the request later than that need not answer.
	err = ch.PublishWithContext(ctx, a.exchange, "", true, false, amqp.Publishing{Headers: a.want.Headers(),
		ReplyTo: directReply, CorrelationId: a.id, Expiration: strconv.FormatInt(max(1, a.wait.Milliseconds()), 10)})
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.sent = true
	a.mu.Unlock()
	timer := time.NewTimer(a.wait)
	defer timer.Stop()
	for {
		select {
		case d, ok := <-answers:
			if !ok {
				answers = nil // closes says why
				continue
			}
			a.take(&d)
		case _, ok := <-returns:
			if ok {
				return nil // no process listens
			}
			returns = nil // closes says why
		case e := <-closes:
			switch {
			case e == nil:
				return amqp.ErrClosed
			case e.Code == amqp.NotFound:
				return nil // no process has ever listened: there is no exchange
			}
			return e
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// take reads an answer. What is malformed, belongs to another request or comes
// again is skipped.
func (a *asking) take(d *amqp.Delivery) {
	a.mu.Lock()
	full := len(a.answers) == maxAnswers || a.bytes+len(d.Body) > maxAnswerBytes || a.from[d.MessageId]
	a.mu.Unlock()
	if d.CorrelationId != a.id || full {
		return
	}
	p, ok := wire.DecodeStatus(d.Body)
	if !ok {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.from[d.MessageId] = true
	a.bytes += len(d.Body)
	p.ID = d.MessageId
	a.answers = append(a.answers, p)
}

// result is what Ask returns when run has ended with err, or was left.
func (a *asking) result(err error) ([]wire.ProcessStatus, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	answers := slices.Clone(a.answers)
	slices.SortStableFunc(answers, func(x, y wire.ProcessStatus) int { return cmp.Compare(x.Instance, y.Instance) })
	if over := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled); a.sent && over {
		err = nil
	}
	if err != nil {
		return answers, fmt.Errorf("ask the processes: %w", err)
	}
	return answers, nil
}
