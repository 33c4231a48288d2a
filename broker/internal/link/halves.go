package link

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// Group commit of half messages: those that come together share a record, and those that come by
// themselves while the last records are being confirmed share the next one. One that finds fewer
// than halfFlight under way goes at once, in a record of its own. So at one caller nothing waits,
// and nothing is different.

const (
	// halfFlight is how many half records of one half queue are under way before further half
	// messages wait.
	halfFlight = 2
	// halfPatience is how long they wait at most, whatever is under way: one record that RabbitMQ
	// does not confirm must not hold up the others.
	halfPatience = 50 * time.Millisecond
	// maxShared is how long a half record may be to share one of many, which is maxHalvesBytes
	// long at most.
	maxShared      = 16 << 10
	maxHalvesBytes = 128 << 10
)

// HalfWriter publishes half messages, under load many in one record.
type HalfWriter struct {
	// Patience is how long half messages wait at most; tests change it before the first one.
	Patience time.Duration

	pub  *Publisher
	most int
	run  context.Context

	mu      sync.Mutex
	streams map[halfStream]*halfFlow
	wg      sync.WaitGroup
}

// halfStream is what the half messages of one record have in common.
type halfStream struct{ queue, with string }

// halfFlow are the records of a stream.
type halfFlow struct {
	flying  int             // under way
	waiting []*sharedHalves // to come, in this order; the last one takes in what comes
}

// sharedHalves is a record of many.
type sharedHalves struct {
	to        halfStream
	members   []*Publication // their records if they were alone
	ids, size int
	patience  *time.Timer // nil: it never waited
	started   bool
	left      int // members whose callers gave up after it was started

	hurry, cancel context.CancelFunc // it must not be written any more; nobody waits for its confirm
	written       chan struct{}      // closed once it is known whether it is written: sent says so
	done          chan struct{}      // closed once its outcome is known
	sent          bool
	outcome       outcome
}

// NewHalfWriter publishes through pub until ctx is done. o.HalfBatch is how many half messages
// one record has at most.
func NewHalfWriter(ctx context.Context, pub *Publisher, o Options) *HalfWriter {
	return &HalfWriter{Patience: halfPatience, pub: pub, most: o.HalfBatch, run: ctx, streams: map[halfStream]*halfFlow{}}
}

// Publish stores the half record m as Publisher.One does, alone or in a record of many. A record
// of many is tried once: if it is not confirmed, each of its members goes on alone. In the Traced
// lane a transaction that comes alone goes alone: others come with theirs.
func (w *HalfWriter) Publish(ctx context.Context, m *Publication) error {
	to, may := w.stream(m)
	if !may || wire.LaneOf(m.Msg.Headers) != holdfast.Express || ctx.Err() != nil {
		return w.pub.One(ctx, m, fault.HalfBeforeConfirm)
	}
	s := w.join(to, m)
	if s == nil {
		defer w.landed(to)
		return w.pub.One(ctx, m, fault.HalfBeforeConfirm)
	}
	return w.await(ctx, s, m)
}

// PublishAll stores half records that come together, as Publish does, each for a caller with a
// context of its own: in as few records as have room for them, which wait for no others. done is
// told what became of each, at once, also by several goroutines at a time.
func (w *HalfWriter) PublishAll(ctxs []context.Context, ms []*Publication, done func(i int, err error)) {
	shared := w.together(ctxs, ms)
	var all sync.WaitGroup
	for i, m := range ms {
		all.Go(func() {
			if shared[i] == nil {
				done(i, w.Publish(ctxs[i], m))
			} else {
				done(i, w.await(ctxs[i], shared[i], m))
			}
		})
	}
	all.Wait()
}

// together starts the records that ms share, and returns that of each; nil: it shares none.
func (w *HalfWriter) together(ctxs []context.Context, ms []*Publication) []*sharedHalves {
	shared := make([]*sharedHalves, len(ms))
	last := map[halfStream]*sharedHalves{}
	for i, m := range ms {
		to, may := w.stream(m)
		if !may || ctxs[i].Err() != nil {
			continue
		}
		s := last[to]
		if s == nil || !w.takes(s, m) {
			s = newShared(to)
			last[to] = s
		}
		s.add(m)
		shared[i] = s
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, s := range shared {
		switch {
		case s == nil || s.started:
		case len(s.members) == 1:
			shared[i] = nil
		default:
			w.start(w.flow(s.to), s)
		}
	}
	return shared
}

// stream is what m has in common with those that it may share a record with.
func (w *HalfWriter) stream(m *Publication) (to halfStream, may bool) {
	with, may := wire.SharesWith(m.Msg.Headers)
	return halfStream{m.Key, with}, may && w.most >= 2 && len(m.Msg.Body) <= maxShared
}

// await waits until s is stored, in which m is, and sees to m where that does not come to be.
func (w *HalfWriter) await(ctx context.Context, s *sharedHalves, m *Publication) error {
	if err := w.pub.enter(); err != nil {
		w.leave(s, m)
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	defer w.pub.leave()
	select {
	case <-s.done:
	case <-ctx.Done():
		if !w.leave(s, m) {
			return fmt.Errorf("%w: %w: it waited for others to be stored: %s", ErrNotSent, ctx.Err(), w.pub.link.State())
		}
		select {
		case <-s.done: // just in time
		default:
			m.unknown = true
			w.pub.expire(ctx.Err(), m)
			return m.err
		}
	}
	switch s.outcome {
	case outcomeAcked:
		return nil
	case outcomeNacked, outcomeUnknown, outcomeLeft:
		m.unknown = true // this time it may have been stored
	}
	return w.pub.all(ctx, []Publication{*m}, fault.HalfBeforeConfirm)[0]
}

// join has m wait in a record of many; nil: it is to go alone, now, and counts as under way.
func (w *HalfWriter) join(to halfStream, m *Publication) *sharedHalves {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.flow(to)
	if f.flying < halfFlight && len(f.waiting) == 0 {
		f.flying++
		return nil
	}
	if n := len(f.waiting); n > 0 {
		if s := f.waiting[n-1]; w.takes(s, m) {
			s.add(m)
			return s
		}
	}
	s := newShared(to)
	s.add(m)
	s.patience = time.AfterFunc(w.Patience, func() { w.tooLong(s) })
	f.waiting = append(f.waiting, s)
	return s
}

// flow is that of a stream; mu is held.
func (w *HalfWriter) flow(to halfStream) *halfFlow {
	f := w.streams[to]
	if f == nil {
		f = &halfFlow{}
		w.streams[to] = f
	}
	return f
}

func newShared(to halfStream) *sharedHalves {
	return &sharedHalves{to: to, written: make(chan struct{}), done: make(chan struct{})}
}

func (s *sharedHalves) add(m *Publication) {
	s.members, s.ids, s.size = append(s.members, m), s.ids+len(m.Msg.MessageId), s.size+len(m.Msg.Body)
}

// takes reports whether there is room in s for m. One transaction is in a record once.
func (w *HalfWriter) takes(s *sharedHalves, m *Publication) bool {
	n := len(s.members) + 1
	return n <= w.most && s.size+len(m.Msg.Body) <= maxHalvesBytes &&
		wire.MayShare(n, s.ids+len(m.Msg.MessageId), s.size+len(m.Msg.Body)) &&
		!slices.ContainsFunc(s.members, func(o *Publication) bool { return o.Msg.MessageId == m.Msg.MessageId })
}

// landed says that a record is not under way any more, and starts the next one.
func (w *HalfWriter) landed(to halfStream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.streams[to]
	f.flying--
	for f.flying < halfFlight && len(f.waiting) > 0 {
		s := f.waiting[0]
		f.waiting = slices.Delete(f.waiting, 0, 1)
		w.start(f, s)
	}
	if f.flying == 0 {
		delete(w.streams, to)
	}
}

// tooLong starts what has waited long enough.
func (w *HalfWriter) tooLong(s *sharedHalves) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.streams[s.to]
	if s.started || f == nil {
		return
	}
	if i := slices.Index(f.waiting, s); i >= 0 {
		f.waiting = slices.Delete(f.waiting, i, i+1)
		w.start(f, s)
	}
}

// start publishes s; mu is held.
func (w *HalfWriter) start(f *halfFlow, s *sharedHalves) {
	s.started = true
	if s.patience != nil {
		s.patience.Stop()
	}
	f.flying++
	writing, hurry := context.WithCancel(w.run)
	confirming, cancel := context.WithCancel(w.run)
	s.hurry, s.cancel = hurry, cancel
	w.wg.Go(func() {
		defer w.landed(s.to)
		defer close(s.done)
		defer cancel()
		defer hurry()
		w.publish(writing, confirming, s)
	})
}

// leave says that the caller of m gave up, and reports whether s was written. If not, it never is:
// the others in it go on alone.
func (w *HalfWriter) leave(s *sharedHalves, m *Publication) (sent bool) {
	w.mu.Lock()
	if !s.started {
		s.members = slices.DeleteFunc(s.members, func(o *Publication) bool { return o == m })
		s.ids, s.size = s.ids-len(m.Msg.MessageId), s.size-len(m.Msg.Body)
		if f := w.streams[s.to]; len(s.members) == 0 && f != nil {
			s.patience.Stop()
			f.waiting = slices.DeleteFunc(f.waiting, func(o *sharedHalves) bool { return o == s })
		}
		w.mu.Unlock()
		return false
	}
	s.left++
	all := s.left == len(s.members)
	w.mu.Unlock()
	s.hurry()
	<-s.written
	if all {
		s.cancel()
	}
	return s.sent
}

// publish tries to store s, once.
func (w *HalfWriter) publish(writing, confirming context.Context, s *sharedHalves) {
	p, first := w.pub, s.members[0]
	m := Publication{Exchange: first.Exchange, Key: first.Key, Mandatory: true, Msg: first.Msg}
	if len(s.members) > 1 {
		records := make([]amqp.Publishing, len(s.members))
		for i, one := range s.members {
			records[i] = one.Msg
		}
		m.Msg = wire.EncodeHalves(records)
	}
	m.Msg.DeliveryMode, m.Msg.Timestamp = amqp.Persistent, time.Now()
	s.outcome = outcomeUnwritten
	r := w.write(writing, &m)
	if r == nil || r.state.Load() == reqLeft {
		close(s.written)
		return
	}
	s.sent = true
	close(s.written)
	for range s.members {
		fault.Point(fault.HalfBeforeConfirm)
	}
	if s.outcome = r.waitConfirm(confirming); s.outcome == outcomeAcked && p.Refused.N.Load() > 0 {
		p.Refused.Taken(p.queuesFor(&m)...)
	}
}

// write has m written; nil: it is not.
func (w *HalfWriter) write(ctx context.Context, m *Publication) *request {
	p := w.pub
	if p.sign(m) != nil || p.Apart.knows(m) {
		return nil
	}
	lim := p.link.Limits()
	size, err := lim.Check(m.Exchange, m.Key, &m.Msg)
	if err != nil || size > lim.Room() {
		return nil
	}
	m.size = size
	r := p.submit(ctx, m)
	r.waitWritten(ctx)
	return r
}

// Waiting is how many half messages wait for the next record.
func (w *HalfWriter) Waiting() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.streams {
		for _, s := range f.waiting {
			n += len(s.members)
		}
	}
	return n
}

// Wait waits for what is under way, after ctx is done.
func (w *HalfWriter) Wait() { w.wg.Wait() }
