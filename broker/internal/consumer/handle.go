package consumer

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

// Work is one delivery in a worker's hands.
type Work struct {
	J   *Job
	d   Delivery
	Era uint64
	a   wire.Attempts

	// What is written with a retry or a dead letter; see consumer.failed.
	log    []holdfast.Attempt
	Class  holdfast.ErrorClass
	Reason string
}

// handle brings one delivery to its end, or leaves it to come again.
func (c *Consumer) handle(j *Job) {
	if j.Ch.IsClosed() {
		return // lost meanwhile: it comes again
	}
	w := Work{J: j, a: wire.ReadAttempts(j.D.Headers)}
	refused := wire.Refused(&j.D)
	m, tx, group, err := wire.DecodeMessage(&j.D)
	if err == nil && c.O.NeedsID {
		err = wire.StorableID(m.ID)
	}
	var notice *wire.Notice
	if err == nil {
		notice, err = wire.DecodeNotice(&j.D, m.Topic)
	}
	if err == nil && notice == nil {
		err = c.misled(&j.D)
	}
	call, callErr := wire.DecodeCall(c.Client.Prefix, &j.D)
	if err == nil {
		err = callErr
	}
	if refused != nil {
		call, err = nil, refused // nobody is answered, and nothing compensated
	}
	w.d = Delivery{Message: m, TxID: tx, Group: group, Notice: notice, Saga: call, Redelivered: w.a.Lost > 0,
		Redelivery: w.a.Redelivery, Published: j.D.Timestamp}
	stray := w.a.Lost >= suspectAt && !j.Alone
	if err == nil && w.a.Hops == 0 && !j.D.Redelivered && !stray {
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
		c.Hop(&w)
	case j.D.Redelivered:
		c.lost(&w)
	default:
		c.MoveBack(j.Delivery())
	}
}

// enter tries a delivery, if the circuit breaker says so.
func (c *Consumer) enter(w *Work) {
	var e entry
	switch w.Era, e = c.Gate.Enter(Candidate{ID: w.key(), failed: w.a.Failed > 0, alone: w.J.Alone}); e {
	case EntryTry:
		c.TryOut(w)
	default: // later, or after the others
		c.MoveBack(w.J.Delivery())
	}
}

// key is what the circuit breaker knows the message by.
func (w *Work) key() string {
	if w.d.Message.ID != "" {
		return w.d.Message.ID
	}
	sum := sha256.Sum256(w.d.Message.Body)
	return string(sum[:])
}

// TryOut tries a delivery until its schedule has something else for it. Whatever
// returns without an acknowledgement leaves it to come again with its channel's
// end.
func (c *Consumer) TryOut(w *Work) {
	away, crowded := link.NewBackoff(), link.NewBackoff()
	crowded.InitialInterval, crowded.MaxInterval, crowded.RandomizationFactor = 10*time.Millisecond, time.Second, 0.5
	crowded.Reset()
	var waiting time.Time
	for !w.J.Ch.IsClosed() {
		fault.Point(fault.ConsumeBefore)
		w.d.Attempt = w.a.Failed + 1
		began := time.Now()
		timedOut, err := c.try(w.d)
		took := time.Since(began)
		switch {
		case err == nil:
			c.Gate.success(w.Era, w.key())
			c.observeAttempt(w, EventAttemptOK, took)
			c.succeed(w)
			return
		case c.Handlers.Err() != nil:
			// Interrupted by the shutdown, not failed.
			c.GiveBack(w)
			return
		case Waits(err) && !holdfast.IsPermanent(err):
			if waiting.IsZero() {
				waiting = began
			}
			over := c.isStopping() || time.Since(waiting) > c.patience.Wait
			if contends(err) && !over {
				c.Log.Debug("a message contends with others for the same rows", "message", w.d.Message.ID, "error", err)
				c.pause(crowded.NextBackOff())
				continue
			}
			c.Log.Warn("a message waits for what its handler needs", "message", w.d.Message.ID, "since", waiting,
				"error", err)
			if !c.Gate.Failure(w.Era, w.key(), true, err) || over {
				c.Rotate(w)
				return
			}
			c.pause(away.NextBackOff())
			if !c.Gate.counts(w.Era) || c.isStopping() {
				c.Rotate(w)
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
		v := c.Schedule.after(w.a.Failed, w.a.Redelivery, e)
		if v.Do == doAgain && c.Gate.counts(w.Era) {
			if c.isStopping() {
				c.Retry(w, Verdict{Do: DoTail}) // elsewhere
				return
			}
			c.Log.Debug("handler failed, trying again", "message", w.d.Message.ID, "attempt", w.d.Attempt, "error", err)
			continue
		}
		if class == holdfast.ClassPermanent || class == holdfast.ClassMalformed {
			c.Gate.success(w.Era, w.key()) // the handler could judge it
			c.giveUp(w)
			return
		}
		switch counts := c.Gate.Failure(w.Era, w.key(), false, err); {
		case !counts:
			c.Rotate(w)
		case v.Do == doBury:
			c.giveUp(w)
		default:
			c.Retry(w, v)
		}
		return
	}
	c.Gate.leave(w.Era) // a probe of which nothing came must not stay under way
}

// try runs the handler once, and reports whether its time limit passed.
func (c *Consumer) try(d Delivery) (timedOut bool, err error) {
	ctx, cancel := context.WithTimeout(c.Handlers, c.O.HandlerTimeout)
	defer cancel()
	d.Message = d.Message.Clone() // what one try changes, the next must not see
	err = link.Protect(func() error { return c.O.Handle(d.Context(ctx, c.O.Name), d) })
	return errors.Is(ctx.Err(), context.DeadlineExceeded), err
}

// failed notes an attempt that returned with an error. Whatever was lost before
// is forgotten: it was not the message that killed its process.
func (c *Consumer) failed(w *Work, class holdfast.ErrorClass, err error) {
	w.a.Failed++
	w.a.Lost = 0
	c.note(w, class, err.Error())
}

// note adds to the log of attempts.
func (c *Consumer) note(w *Work, class holdfast.ErrorClass, reason string) {
	if w.log == nil {
		w.log = wire.ReadLog(w.J.D.Headers)
	}
	w.Class, w.Reason = class, reason
	w.log = wire.Logged(w.log, w.a.Failed+w.a.Lost, class, reason, time.Now())
}

// lost deals with a delivery that came again without a result. Before it is
// tried, that is written down, and not only here: if it kills its process, the
// next one knows. So it goes to its queue's end, or into a delay queue, or to the
// dead letters.
func (c *Consumer) lost(w *Work) {
	w.a.Lost++
	c.note(w, holdfast.ClassLost, fmt.Sprintf("the process that had it was killed, lost its connection or gave it "+
		"back, and no attempt returned (%d in a row)", w.a.Lost))
	c.observe(c.event(w, EventLost))
	v := c.Schedule.afterLoss(w.a.Failed, w.a.Lost, w.a.Redelivery)
	c.Log.Info("a message was delivered before and nobody knows what came of it", "message", w.d.Message.ID, "lost",
		w.a.Lost)
	if v.Do == doBury {
		c.giveUp(w)
		return
	}
	c.Retry(w, v)
}
