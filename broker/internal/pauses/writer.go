package pauses

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/topology"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

const (
	// MinFor and MaxFor are how long a pause with an end lasts at least, and at most: RabbitMQ
	// keeps its end in a queue whose time is limited.
	MinFor, MaxFor = time.Second, 45 * 24 * time.Hour
)

// ErrNotPaused means that nobody has paused the consumer, or that its pause has ended.
var ErrNotPaused = errors.New("holdfast: the consumer is not paused")

// Writer pauses consumers, and has them go on.
type Writer struct {
	c    *link.Client
	topo *topology.Maker
	// Aging is after how many bytes of later records a pause that lasts is written again, so
	// that it is not among those that RabbitMQ forgets. Tests make it small.
	Aging int64
}

// NewWriter needs no connection yet.
func NewWriter(c *link.Client, topo *topology.Maker) *Writer {
	return &Writer{c: c, topo: topo, Aging: topology.MaxPauses / 4}
}

// Pause pauses p.Consumer for p.By because of p.Reason; if it is paused already, this takes
// the place of that pause. It fills in what else a pause has, and returns it. With a duration
// that is not 0 it ends after that, by RabbitMQ's clock.
//
// First the end is stored, then the pause, then the ends of the pauses that it replaces:
// whatever this process dies between, a consumer is never left paused without the end that
// was asked for, nor does it go on in between.
func (w *Writer) Pause(ctx context.Context, p wire.Pause, lasts time.Duration) (wire.Pause, error) {
	return w.pause(ctx, p, lasts, true)
}

// Beside pauses p.Consumer as Pause does, without an end; pauses that it has already last on.
func (w *Writer) Beside(ctx context.Context, p wire.Pause) (wire.Pause, error) {
	return w.pause(ctx, p, 0, false)
}

func (w *Writer) pause(ctx context.Context, p wire.Pause, lasts time.Duration, replace bool) (wire.Pause, error) {
	if err := valid(p, lasts); err != nil {
		return p, err
	}
	p.ID = uuid.NewString()
	if lasts > 0 {
		p.Until = p.Since.Add(lasts)
	}
	doing := "pause consumer " + p.Consumer
	all, err := w.read(ctx, true)
	if err != nil {
		return p, explain(doing, err)
	}
	if lasts > 0 {
		if err := w.topo.Declare(ctx, w.topo.PauseEndSteps(p.ID, lasts)); err != nil {
			return p, explain(doing, err)
		}
		end := p
		end.Over = true
		if err := writeTo(ctx, w.c, p.ID, record{Pause: &end}); err != nil {
			return p, explain(doing, err)
		}
	}
	if err := write(ctx, w.c, record{Pause: &p}); err != nil {
		return p, explain(doing, err)
	}
	var before []wire.Pause
	if replace {
		before = all.all(p.Consumer)
	}
	err = w.end(ctx, all, before, p.By, "another pause took its place: "+p.Reason)
	return p, explain(doing+": it is paused, but the pause before it lasts", err)
}

// Resume ends all pauses of a consumer, and those besides that processes tell of: they may know
// one that this Broker's keys do not count. It returns them; that there are none is
// [ErrNotPaused].
func (w *Writer) Resume(ctx context.Context, consumer, by, reason string, told ...wire.Pause) ([]wire.Pause, error) {
	return w.resume(ctx, consumer, by, reason, func(all *known) []wire.Pause {
		ends := all.all(consumer)
		for _, p := range told {
			same := func(of wire.Pause) bool { return of.ID == p.ID }
			if p.Consumer == consumer && uuid.Validate(p.ID) == nil && !slices.ContainsFunc(ends, same) {
				ends = append(ends, p)
			}
		}
		return ends
	})
}

// End ends one pause, and no other of its consumer.
func (w *Writer) End(ctx context.Context, p wire.Pause, by, reason string) error {
	_, err := w.resume(ctx, p.Consumer, by, reason, func(*known) []wire.Pause { return []wire.Pause{p} })
	return err
}

func (w *Writer) resume(ctx context.Context, consumer, by, reason string,
	which func(*known) []wire.Pause) ([]wire.Pause, error) {
	if err := valid(wire.Pause{Consumer: consumer, By: by, Reason: reason}, 0); err != nil {
		return nil, err
	}
	doing := "resume consumer " + consumer
	all, err := w.read(ctx, true)
	if err != nil {
		return nil, explain(doing, err)
	}
	ends := which(all)
	if len(ends) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNotPaused, consumer)
	}
	return ends, explain(doing, w.end(ctx, all, ends, by, reason))
}

// end ends pauses, and writes those again that would be forgotten.
func (w *Writer) end(ctx context.Context, all *known, ends []wire.Pause, by, reason string) error {
	for _, p := range ends {
		p.Over, p.EndedBy, p.EndedReason = true, by, wire.Clip(reason, maxReason)
		if err := write(ctx, w.c, record{Pause: &p}); err != nil {
			return err
		}
		all.apply(record{Pause: &p})
	}
	for _, p := range all.aging(w.Aging) {
		if err := write(ctx, w.c, record{Pause: &p}); err != nil {
			return err
		}
	}
	return nil
}

// All are the pauses that last, by consumer, or with past all that are kept, those that have
// ended, too, the latest first. It makes nothing: without the stream there are none.
func (w *Writer) All(ctx context.Context, past bool) ([]wire.Pause, error) {
	const doing = "read which consumers are paused"
	there, err := w.c.QueueExists(ctx, w.c.PausesExchange())
	if err != nil || !there {
		return nil, explain(doing, err)
	}
	all, err := w.read(ctx, false)
	if err != nil {
		return nil, explain(doing, err)
	}
	if past {
		return all.past(), nil
	}
	return all.all(""), nil
}

// read reads the stream to its end; making it if it may.
func (w *Writer) read(ctx context.Context, making bool) (*known, error) {
	ctx, cancel := w.c.Timeout(ctx)
	defer cancel()
	if making {
		if err := w.topo.Declare(ctx, w.topo.PauseSteps()); err != nil {
			return nil, err
		}
	}
	for pause := link.NewBackoff(); ; {
		all, err := w.readOnce(ctx, making)
		if err == nil || lasting(err) || errors.Is(err, link.ErrClosed) || !link.Sleep(ctx, pause.NextBackOff()) {
			return all, err
		}
	}
}

func (w *Writer) readOnce(ctx context.Context, writing bool) (all *known, err error) {
	read := make(chan *known, 1)
	err = w.c.Calls.Await(ctx, func() error {
		var f *following
		var err error
		if writing {
			f, err = followWriting(ctx, w.c)
		} else {
			f, err = follow(ctx, w.c, &looker{})
		}
		if err != nil {
			return err
		}
		f.close()
		read <- f.all
		return nil
	})
	if err != nil {
		return nil, err
	}
	return <-read, nil
}

func valid(p wire.Pause, lasts time.Duration) error {
	if err := holdfast.ValidateName("consumer", p.Consumer); err != nil {
		return err
	}
	switch {
	case lasts != 0 && (lasts < MinFor || lasts > MaxFor):
		return fmt.Errorf("%w: a pause of %v: want %v to %v, or one without an end", holdfast.ErrInvalid, lasts, MinFor,
			MaxFor)
	case p.By == "" || len(p.By) > maxName:
		return fmt.Errorf("%w: say who pauses it, in %d bytes at most", holdfast.ErrInvalid, maxName)
	case p.Reason == "" || len(p.Reason) > maxReason:
		return fmt.Errorf("%w: say why, in %d bytes at most", holdfast.ErrInvalid, maxReason)
	}
	return nil
}
