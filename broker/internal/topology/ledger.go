package topology

import (
	"context"
	"slices"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Ledger knows what this process has made in RabbitMQ, or found there, so that nothing
// is done again while RabbitMQ has it: two hundred consumers that come back find that
// their process has looked. It begins anew where RabbitMQ may have lost something:
// when all connections were lost, and when something turns out to be missing.
type Ledger struct {
	mu     sync.Mutex
	era    uint64
	made   map[string]string // what was made, and the queue or exchange that it is about
	doubts map[string]bool   // queues whose subscription was lost though the connection was not
	// witnesses are connections that were there since the era began, or longer than one
	// that was.
	witnesses []*amqp.Connection
}

func newLedger() *Ledger { return &Ledger{made: map[string]string{}, doubts: map[string]bool{}} }

// begin begins a new era: nothing is known.
func (l *Ledger) begin() (era uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.era++
	clear(l.made)
	clear(l.doubts)
	return l.era
}

func (l *Ledger) now() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.era
}

// add notes what was made in an era.
func (l *Ledger) add(era uint64, steps []Step) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if era != l.era {
		return
	}
	for _, s := range steps {
		if !s.brief {
			l.made[s.What] = s.Of
		}
	}
}

// lacking are the steps that are to be taken.
func (l *Ledger) lacking(steps []Step) (out []Step) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := map[string]bool{}
	for _, s := range steps {
		if _, made := l.made[s.What]; !made && !seen[s.What] {
			seen[s.What] = true
			out = append(out, s)
		}
	}
	return out
}

// Forget has the steps taken again.
func (l *Ledger) Forget(steps []Step) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range steps {
		delete(l.made, s.What)
	}
}

// Doubt notes that a queue may be gone: who consumed it was cut off, and its
// connection was not.
func (l *Ledger) Doubt(queue string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doubts[queue] = true
	for what, of := range l.made {
		if of == queue {
			delete(l.made, what)
		}
	}
}

// Doubted reports whether one of the queues is to be looked for.
func (l *Ledger) Doubted(queues ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(queues, func(q string) bool { return l.doubts[q] })
}

// sure takes doubts back.
func (l *Ledger) sure(queues ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range queues {
		delete(l.doubts, q)
	}
}

// attest adds a connection that was there since RabbitMQ was looked at; alone: the
// others were not.
func (l *Ledger) attest(conn *amqp.Connection, alone bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if alone {
		l.witnesses = nil
	}
	l.witnesses = append(slices.DeleteFunc(l.witnesses, (*amqp.Connection).IsClosed), conn)
}

func (l *Ledger) attesting() []*amqp.Connection {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.witnesses = slices.DeleteFunc(l.witnesses, (*amqp.Connection).IsClosed)
	return slices.Clone(l.witnesses)
}

// witnessed asks the connections that were there all the time whether they still are:
// what RabbitMQ stores outlives everything but the end of RabbitMQ, and that ends them.
func (t *Maker) witnessed(ctx context.Context) bool {
	for _, conn := range t.Ledger.attesting() {
		err := t.limited(ctx, func() error {
			ch, err := conn.Channel()
			if err == nil {
				t.c.Calls.Spawn(func() { _ = ch.Close() })
			}
			return err
		})
		if err == nil {
			return true
		}
	}
	return false
}
