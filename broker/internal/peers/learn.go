package peers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/topology"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

const (
	// helloTimeout is how long it may take to say hello.
	helloTimeout = 10 * time.Second
	// LearnEvery is how often all processes are asked, and the queues of the known
	// consumers looked for.
	learnEvery = 5 * time.Minute
	// LearnPause lies between two askings at least, however often processes say
	// hello.
	learnPause = 5 * time.Second
)

// Learning says how consumers are remembered. The zero value keeps them in memory.
type Learning struct {
	// Save keeps consumers that were seen just now; Load returns all that are kept,
	// with those that other processes have kept. Either both are set or none.
	Save func(context.Context, []wire.Bound) error
	Load func(context.Context) ([]wire.Bound, error)

	// News is told of consumers that were not known, and of those with other topics
	// than before. It must return quickly. Nil: nobody is told.
	News func([]wire.Bound)
}

// Learn asks all processes for their consumers, now and then, and remembers them, until
// ctx is done.
func (s *Board) Learn(ctx context.Context, o Learning) error {
	every, pause := s.LearnEvery, s.LearnPause
	if every == 0 {
		every = learnEvery + rand.N(learnEvery/4) // not all processes at once
	}
	if pause == 0 {
		pause = learnPause
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := s.learnNow(ctx, o); err != nil && ctx.Err() == nil {
			s.c.Log.Warn("which consumers there are could not be learned; the next try comes soon", "error", err)
		}
		if !link.Sleep(ctx, pause) {
			return nil
		}
		select {
		case <-s.Asked:
		case <-tick.C:
			if err := s.look(ctx, o); err != nil && ctx.Err() == nil {
				s.c.Log.Warn("the queues of known consumers could not be looked for; the next try comes soon", "error",
					err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// learnNow asks, and remembers.
func (s *Board) learnNow(ctx context.Context, o Learning) error {
	answers, err := Ask(ctx, s.c, askWait, wire.StatusRequest{Consumers: true})
	if err != nil && len(answers) == 0 {
		return err
	}
	var seen []wire.Bound
	for _, c := range boundOf(answers) {
		if c.Valid() && len(seen) < topology.MaxRemembered {
			seen = append(seen, c)
		}
	}
	news := s.memory.Unknown(seen)
	if s.memory.Note(time.Now(), seen...) {
		s.c.Log.Debug("new consumers, or new topics of known ones", "consumers", len(seen))
	}
	if len(news) > 0 && o.News != nil {
		o.News(news)
	}
	if o.Save == nil || len(seen) == 0 {
		return nil
	}
	if err := o.Save(ctx, seen); err != nil {
		return fmt.Errorf("keep them: %w", err)
	}
	return nil
}

// look takes over what others have kept, and forgets what they have forgotten; then
// it makes what is missing, also of what it remembers itself while nothing can be read.
func (s *Board) look(ctx context.Context, o Learning) error {
	return errors.Join(s.recall(ctx, o), s.topo.CheckRemembered(ctx))
}

func (s *Board) recall(ctx context.Context, o Learning) error {
	if o.Load == nil {
		return nil
	}
	kept, err := o.Load(ctx)
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for _, c := range kept {
		names[c.Name] = true
	}
	s.memory.Note(time.Now(), kept...)
	s.memory.Forget(func(name string) bool { return names[name] })
	return nil
}

// boundOf joins what several processes say of the same consumer: during an upgrade
// they may differ.
func boundOf(answers []wire.ProcessStatus) (out []wire.Bound) {
	at := map[string]int{}
	for _, p := range answers {
		for _, c := range p.Consumers {
			i, known := at[c.Name]
			if !known {
				i = len(out)
				at[c.Name] = i
				out = append(out, wire.Bound{Name: c.Name})
			}
			out[i].Topics = append(out[i].Topics, c.Topics...)
		}
	}
	for i := range out {
		slices.Sort(out[i].Topics)
		out[i].Topics = slices.Compact(out[i].Topics)
	}
	return out
}

// sayHello has the processes that remember consumers ask. It says nothing else:
// anybody could.
func (s *Board) sayHello(ctx context.Context) {
	if s.consumers.Load() > 0 {
		s.hello(ctx, amqp.Table{wire.HeaderKind: wire.KindHello})
	}
}

// SayAble has the Keepers that cannot hand over look at once whether another one can.
// Older processes ask for consumers then, which does no harm.
func (s *Board) SayAble(ctx context.Context) {
	s.hello(ctx, amqp.Table{wire.HeaderKind: wire.KindHello, wire.HeaderWant: wire.WantKeepers})
}

// hello tells all processes. If it cannot, they find out by themselves, later.
func (s *Board) hello(ctx context.Context, headers amqp.Table) {
	if s.c.Publishing.IsBlocked() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	conn, err := s.c.Publishing.Get(ctx)
	if err == nil {
		err = s.c.Calls.OnChannel(ctx, conn, func(ch *amqp.Channel) error {
			return ch.PublishWithContext(ctx, s.c.StatusExchange(), "", false, false, amqp.Publishing{
				Headers: headers, Expiration: "10000"})
		})
	}
	if err != nil {
		s.c.Log.Debug("other processes were not told that this one has begun", "error", err)
	}
}

// hear is called with what another process says that has begun.
func (s *Board) hear(what string) {
	if what != wire.WantKeepers {
		link.Token(s.Asked)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.able {
		link.Token(c)
	}
}

// Listen has able get a token whenever a process says that it hands over.
func (s *Board) Listen(able chan struct{}) (forget func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.able = append(s.able, able)
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.able = slices.DeleteFunc(s.able, func(c chan struct{}) bool { return c == able })
	})
}
