package broker

import (
	"crypto/sha256"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfastmq/holdfast"
)

// Of a transaction's messages some may be delivered and others not yet. Whoever tries
// again publishes only the others: so this process remembers what was confirmed.

const (
	partlyFor = time.Hour
	maxPartly = 10_000 // transactions
)

// partly are the transactions of which some messages were confirmed, and others not.
type partly struct {
	n  atomic.Int32 // of tx: none, nearly always
	mu sync.Mutex
	tx map[string]partlyDelivered // by transaction
}

type partlyDelivered struct {
	confirmed map[[sha256.Size]byte]bool // digests of messages
	until     time.Time
}

func newPartly() *partly { return &partly{tx: map[string]partlyDelivered{}} }

// confirmed says which of a transaction's messages need not be published; nil: none.
func (p *partly) confirmed(group, txID string, ms []holdfast.Message) []bool {
	if p.n.Load() == 0 {
		return nil
	}
	p.mu.Lock()
	d, known := p.tx[group+"\x00"+txID]
	p.mu.Unlock()
	if !known || time.Now().After(d.until) {
		return nil
	}
	out := make([]bool, len(ms))
	for i := range ms {
		out[i] = d.confirmed[digestOf(&ms[i])]
	}
	return out
}

// note remembers which messages are confirmed now: some, or all.
func (p *partly) note(group, txID string, ms []holdfast.Message, errs []error, all bool) {
	if all && p.n.Load() == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	name, now := group+"\x00"+txID, time.Now()
	delete(p.tx, name)
	if !all {
		for old, d := range p.tx {
			if now.After(d.until) || len(p.tx) >= maxPartly {
				delete(p.tx, old)
			}
		}
		d := partlyDelivered{confirmed: map[[sha256.Size]byte]bool{}, until: now.Add(partlyFor)}
		for i := range ms {
			if errs[i] == nil {
				d.confirmed[digestOf(&ms[i])] = true
			}
		}
		p.tx[name] = d
	}
	p.n.Store(int32(len(p.tx)))
}

// forget forgets everything: RabbitMQ has lost what it had confirmed.
func (p *partly) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.tx)
	p.n.Store(0)
}

// digestOf tells a message from every other one.
func digestOf(m *holdfast.Message) [sha256.Size]byte {
	text, err := json.Marshal(m)
	if err != nil {
		return sha256.Sum256([]byte(m.ID))
	}
	return sha256.Sum256(text)
}
