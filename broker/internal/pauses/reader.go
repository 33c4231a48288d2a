package pauses

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/topology"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

const (
	// unableAgain is how often it is tried again to read what cannot be read here.
	unableAgain = time.Minute
	// unableAfter is after how many failures in a row others are told of the last one.
	unableAfter = 10
	// Patience is how long consumers wait at their beginning for what is paused to be known.
	// After that they begin: that this stream is in trouble is no reason to hold up everything.
	Patience = 15 * time.Second
)

// Reader follows the pauses in a process. Its methods may be called from many goroutines.
type Reader struct {
	c    *link.Client
	topo *topology.Maker

	proven bool   // the stream was read once; only run uses it
	looks  looker // only run uses it

	mu       sync.Mutex
	began    bool
	all      *known           // as far as it was last read
	known    bool             // all is what the stream says now
	failed   int              // readings, in a row
	unable   error            // why it cannot be read; nil: it can, or nobody knows yet
	judged   chan struct{}    // closed while it is known, or known that it cannot be
	on       *amqp.Connection // over which it is followed; nil: it was not yet
	watchers map[int]func()
	last     int
}

// NewReader reads nothing before Begin.
func NewReader(c *link.Client, topo *topology.Maker) *Reader {
	return &Reader{c: c, topo: topo, looks: looker{marks: true}, all: newKnown(), judged: make(chan struct{}),
		watchers: map[int]func(){}}
}

// Begin has the stream followed from now on, until the Broker is closed.
func (r *Reader) Begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.began {
		r.began = true
		r.c.Calls.Spawn(func() { r.run(r.c.Run) })
	}
}

// Await waits until it is known what is paused, or that this cannot be known here, for
// Patience at most.
func (r *Reader) Await(ctx context.Context) {
	t := time.NewTimer(Patience)
	defer t.Stop()
	r.mu.Lock()
	if r.known && r.on.IsClosed() { // run has not heard of it yet
		r.lost()
	}
	judged := r.judged
	r.mu.Unlock()
	select {
	case <-judged:
	case <-ctx.Done():
	case <-t.C:
		r.c.Log.Warn("it is not known which consumers are paused by hand: they begin all the same, and pause once it is",
			"waited", Patience)
	}
}

// Paused is the oldest pause of a consumer that lasts, as far as is known; nil: there is none.
func (r *Reader) Paused(consumer string) *wire.Pause {
	r.mu.Lock()
	defer r.mu.Unlock()
	if of := r.all.all(consumer); len(of) > 0 {
		return &of[0]
	}
	return nil
}

// State says whether all pauses are known here, or else why they cannot be; empty: they are
// not yet.
func (r *Reader) State() (knows bool, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unable != nil {
		why = r.unable.Error()
	}
	return r.known, why
}

// Watch has changed called whenever other consumers may be paused; it must return at once.
func (r *Reader) Watch(changed func()) (stop func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	n := r.last
	r.watchers[n] = changed
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watchers, n)
	}
}

// run follows the stream for as long as ctx lasts.
func (r *Reader) run(ctx context.Context) {
	pause := link.NewBackoff()
	for ctx.Err() == nil {
		began := time.Now()
		err := r.session(ctx)
		if ctx.Err() != nil || errors.Is(err, link.ErrClosed) {
			return
		}
		wait := pause.NextBackOff()
		if lasting(err) {
			wait = unableAgain
		}
		r.note(err)
		if time.Since(began) > 10*time.Second {
			pause.Reset()
		}
		if !link.Sleep(ctx, wait) {
			return
		}
	}
}

// session follows it until it is lost.
func (r *Reader) session(ctx context.Context) error {
	if _, err := r.c.Consuming.Get(ctx); err != nil { // however long that takes
		return err
	}
	if err := r.topo.Declare(ctx, r.topo.PauseSteps()); err != nil {
		return err
	}
	if err := r.prove(ctx); err != nil {
		return err
	}
	r.looks.before = r.all // only run writes it
	f, err := follow(ctx, r.c, &r.looks)
	if err != nil {
		return err
	}
	defer f.close()
	for {
		r.take(f)
		for changed := false; !changed; {
			if _, changed, err = f.next(ctx); err != nil {
				return err
			}
		}
	}
}

// prove reads the stream once over a connection of its own: RabbitMQ 3.10 ends one, with
// INTERNAL_ERROR, that reads a stream which another one is just making, and over the common
// one consumers have deliveries in hand.
func (r *Reader) prove(ctx context.Context) error {
	if r.proven {
		return nil
	}
	bounded, cancel := r.c.Timeout(ctx)
	defer cancel()
	conn, raw, err := r.c.Consuming.Dial(bounded)
	if err != nil {
		return err
	}
	defer func() {
		_ = conn.CloseDeadline(time.Now().Add(time.Second))
		_ = raw.Close()
	}()
	f, err := consume(conn, r.c.PausesExchange(), "last")
	if err != nil {
		return err
	}
	f.close()
	r.proven = true
	return nil
}

// take makes what was read what counts. Until a new reading has come to the end, the last one
// counts.
func (r *Reader) take(f *following) {
	r.mu.Lock()
	if r.unable != nil {
		r.c.Log.Info("consumers can be paused by hand here")
	}
	r.all, r.known, r.unable, r.failed, r.on = f.all.clone(), true, nil, 0, f.on
	r.judge()
	watchers := make([]func(), 0, len(r.watchers))
	for _, changed := range r.watchers {
		watchers = append(watchers, changed)
	}
	r.mu.Unlock()
	for _, changed := range watchers {
		changed()
	}
}

// lost has consumers that begin wait until the stream has been read anew: what was written
// meanwhile is not known. It is called with mu held.
func (r *Reader) lost() {
	r.known, r.judged = false, make(chan struct{})
}

// judge is called with mu held.
func (r *Reader) judge() {
	select {
	case <-r.judged:
	default:
		close(r.judged)
	}
}

// note says, once, why the stream cannot be read. What a connection was lost with is none of
// that.
func (r *Reader) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known {
		r.lost()
	}
	if r.failed++; !lasting(err) && r.failed < unableAfter {
		r.c.Log.Debug("pauses by hand are not heard of for a moment", "error", err)
		return
	}
	if r.unable == nil {
		r.c.Log.Warn("consumers of this process cannot be paused by hand; everything else goes on", "error", err)
	}
	if r.unable = err; lasting(err) { // otherwise who waits goes on waiting, for Patience
		r.judge()
	}
}

// lasting reports whether it takes a person to mend it.
func lasting(err error) bool {
	var missing *topology.MissingError
	var refused *amqp.Error
	var forbidden *holdfast.UnavailableError
	if errors.As(err, &missing) || errors.As(err, &forbidden) || errors.Is(err, holdfast.ErrInvalid) {
		return true
	}
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Code {
	case amqp.AccessRefused, amqp.NotImplemented, amqp.NotAllowed:
		return true
	case amqp.PreconditionFailed: // of a stream that is just being made, a node may not have its replica yet
		return !strings.Contains(refused.Reason, "replica on the local node")
	}
	return false // what is not found may be on a node that is about to come back
}

// explain is err for people.
func explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
