package broker

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/blame"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// maxWait is how long a message waits in its worker for what its handler lacks.
const maxWait = time.Minute

// waitError is an error that is not the message's fault.
type waitError struct{ error }

func (e waitError) Unwrap() error { return e.error }

// Wait marks what a handler returns as no fault of the message, such as a
// database that cannot be reached: the message waits in this process and is tried
// again with growing pauses of up to 4 s, until the circuit breaker opens, or
// after a minute goes to its queue's end. It is not counted against the message,
// and each time for the breaker. The log says since when it waits. Wait(nil) is nil.
func Wait(err error) error {
	if err == nil {
		return nil
	}
	return waitError{err}
}

// contentionError is a waitError that a short pause cures.
type contentionError struct{ error }

func (e contentionError) Unwrap() error { return e.error }

// Excuse is [Wait] for an error that is not the message's fault, see package
// internal/blame. Other errors, and nil, it returns as they are.
func Excuse(err error) error {
	switch blame.Of(err) {
	case blame.Contention:
		return contentionError{waitError{err}}
	case blame.Surroundings:
		return Wait(err)
	}
	return err
}

func contends(err error) bool {
	var c contentionError
	return errors.As(err, &c)
}

// Waits reports whether err was marked by [Wait] or [Excuse].
func Waits(err error) bool {
	var w waitError
	return errors.As(err, &w)
}

// work is one delivery in a worker's hands.
type work struct {
	j   *job
	d   Delivery
	era uint64
	a   wire.Attempts

	// What is written with a retry or a dead letter; see consumer.failed.
	log    []holdfast.Attempt
	class  holdfast.ErrorClass
	reason string
}

// handle brings one delivery to its end, or leaves it to come again.
func (c *consumer) handle(j *job) {
	if j.ch.IsClosed() {
		return // lost meanwhile: it comes again
	}
	w := work{j: j, a: wire.ReadAttempts(j.d.Headers)}
	m, tx, group, err := wire.DecodeMessage(&j.d)
	if err == nil && c.o.NeedsID {
		err = wire.StorableID(m.ID)
	}
	var notice *wire.Notice
	if err == nil {
		notice, err = wire.DecodeNotice(&j.d, m.Topic)
	}
	if err == nil && notice == nil {
		err = c.misled(&j.d)
	}
	call, callErr := wire.DecodeCall(c.Client.Prefix, &j.d)
	if err == nil {
		err = callErr
	}
	w.d = Delivery{Message: m, TxID: tx, Group: group, Notice: notice, Saga: call, Redelivered: w.a.Lost > 0, Redelivery: w.a.Redelivery}
	stray := w.a.Lost >= suspectAt && !j.alone
	if err == nil && w.a.Hops == 0 && !j.d.Redelivered && !stray {
		c.enter(&w)
		return
	}
	switch {
	case err != nil:
		c.failed(&w, wire.ErrorClass(err), err)
		if call == nil {
			c.bury(&w)
		} else {
			c.giveUp(&w) // its saga need not wait for it
		}
	case w.a.Hops > 0:
		c.hop(&w)
	case j.d.Redelivered:
		c.lost(&w)
	default:
		c.moveBack(j.delivery())
	}
}

// enter tries a delivery, if the circuit breaker says so.
func (c *consumer) enter(w *work) {
	var e entry
	switch w.era, e = c.gate.enter(candidate{id: w.key(), failed: w.a.Failed > 0, alone: w.j.alone}); e {
	case entryTry:
		c.tryOut(w)
	default: // later, or after the others
		c.moveBack(w.j.delivery())
	}
}

// key is what the circuit breaker knows the message by.
func (w *work) key() string {
	if w.d.Message.ID != "" {
		return w.d.Message.ID
	}
	sum := sha256.Sum256(w.d.Message.Body)
	return string(sum[:])
}

// tryOut tries a delivery until its schedule has something else for it. Whatever
// returns without an acknowledgement leaves it to come again with its channel's
// end.
func (c *consumer) tryOut(w *work) {
	away, crowded := link.NewBackoff(), link.NewBackoff()
	crowded.InitialInterval, crowded.MaxInterval, crowded.RandomizationFactor = 10*time.Millisecond, time.Second, 0.5
	crowded.Reset()
	var waiting time.Time
	for !w.j.ch.IsClosed() {
		fault.Point(fault.ConsumeBefore)
		w.d.Attempt = w.a.Failed + 1
		began := time.Now()
		timedOut, err := c.try(w.d)
		took := time.Since(began)
		switch {
		case err == nil:
			c.gate.success(w.era, w.key())
			c.observeAttempt(w, EventAttemptOK, took)
			c.succeed(w)
			return
		case c.handlers.Err() != nil:
			// Interrupted by the shutdown, not failed.
			c.giveBack(w)
			return
		case Waits(err) && !holdfast.IsPermanent(err):
			if waiting.IsZero() {
				waiting = began
			}
			over := c.isStopping() || time.Since(waiting) > c.patience.wait
			if contends(err) && !over {
				c.log.Debug("a message contends with others for the same rows", "message", w.d.Message.ID, "error", err)
				c.pause(crowded.NextBackOff())
				continue
			}
			c.log.Warn("a message waits for what its handler needs", "message", w.d.Message.ID, "since", waiting, "error", err)
			if !c.gate.failure(w.era, w.key(), true, err) || over {
				c.rotate(w)
				return
			}
			c.pause(away.NextBackOff())
			if !c.gate.counts(w.era) || c.isStopping() {
				c.rotate(w)
				return
			}
			continue
		}
		class := wire.ErrorClass(err)
		if timedOut && class == holdfast.ClassError {
			class = holdfast.ClassTimeout
		}
		e := ending{class: class}
		e.wish, e.wished = holdfast.RetryDelay(err)
		c.failed(w, class, err)
		c.observeAttempt(w, EventAttemptFailed, took)
		v := c.schedule.after(w.a.Failed, w.a.Redelivery, e)
		if v.do == doAgain && c.gate.counts(w.era) {
			if c.isStopping() {
				c.retry(w, verdict{do: doTail}) // elsewhere
				return
			}
			c.log.Debug("handler failed, trying again", "message", w.d.Message.ID, "attempt", w.d.Attempt, "error", err)
			continue
		}
		if class == holdfast.ClassPermanent || class == holdfast.ClassMalformed {
			c.gate.success(w.era, w.key()) // the handler could judge it
			c.giveUp(w)
			return
		}
		switch counts := c.gate.failure(w.era, w.key(), false, err); {
		case !counts:
			c.rotate(w)
		case v.do == doBury:
			c.giveUp(w)
		default:
			c.retry(w, v)
		}
		return
	}
	c.gate.leave(w.era) // a probe of which nothing came must not stay under way
}

// try runs the handler once, and reports whether its time limit passed.
func (c *consumer) try(d Delivery) (timedOut bool, err error) {
	ctx, cancel := context.WithTimeout(c.handlers, c.o.HandlerTimeout)
	defer cancel()
	d.Message = d.Message.Clone() // what one try changes, the next must not see
	err = link.Protect(func() error { return c.o.Handle(ctx, d) })
	return errors.Is(ctx.Err(), context.DeadlineExceeded), err
}

// failed notes an attempt that returned with an error. Whatever was lost before
// is forgotten: it was not the message that killed its process.
func (c *consumer) failed(w *work, class holdfast.ErrorClass, err error) {
	w.a.Failed++
	w.a.Lost = 0
	c.note(w, class, err.Error())
}

// note adds to the log of attempts.
func (c *consumer) note(w *work, class holdfast.ErrorClass, reason string) {
	if w.log == nil {
		w.log = wire.ReadLog(w.j.d.Headers)
	}
	w.class, w.reason = class, reason
	w.log = wire.Logged(w.log, w.a.Failed+w.a.Lost, class, reason, time.Now())
}

// lost deals with a delivery that came again without a result. Before it is
// tried, that is written down, and not only here: if it kills its process, the
// next one knows. So it goes to its queue's end, or into a delay queue, or to the
// dead letters.
func (c *consumer) lost(w *work) {
	w.a.Lost++
	c.note(w, holdfast.ClassLost, fmt.Sprintf("the process that had it was killed, lost its connection or gave it back, and no attempt returned (%d in a row)", w.a.Lost))
	c.observe(c.event(w, EventLost))
	v := c.schedule.afterLoss(w.a.Failed, w.a.Lost, w.a.Redelivery)
	c.log.Info("a message was delivered before and nobody knows what came of it", "message", w.d.Message.ID, "lost", w.a.Lost)
	if v.do == doBury {
		c.giveUp(w)
		return
	}
	c.retry(w, v)
}
