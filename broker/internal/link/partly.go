package link

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
	PartlyFor = time.Hour
	MaxPartly = 10_000 // transactions
)

// Partly are the transactions of which some messages were confirmed, and others not.
type Partly struct {
	N  atomic.Int32 // of tx: none, nearly always
	mu sync.Mutex
	Tx map[string]PartlyDelivered // by transaction
}

// PartlyDelivered is what was confirmed of a transaction.
type PartlyDelivered struct {
	confirmed map[[sha256.Size]byte]bool // digests of messages
	Until     time.Time
}

// NewPartly remembers nothing yet.
func NewPartly() *Partly { return &Partly{Tx: map[string]PartlyDelivered{}} }

// Confirmed says which of a transaction's messages need not be published; nil: none.
func (p *Partly) Confirmed(group, txID string, ms []holdfast.Message) []bool {
	if p.N.Load() == 0 {
		return nil
	}
	p.mu.Lock()
	d, known := p.Tx[group+"\x00"+txID]
	p.mu.Unlock()
	if !known || time.Now().After(d.Until) {
		return nil
	}
	out := make([]bool, len(ms))
	for i := range ms {
		out[i] = d.confirmed[digestOf(&ms[i])]
	}
	return out
}

// Note remembers which messages are confirmed now: some, or all.
func (p *Partly) Note(group, txID string, ms []holdfast.Message, errs []error, all bool) {
	if all && p.N.Load() == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	name, now := group+"\x00"+txID, time.Now()
	delete(p.Tx, name)
	if !all {
		for old, d := range p.Tx {
			if now.After(d.Until) || len(p.Tx) >= MaxPartly {
				delete(p.Tx, old)
			}
		}
		d := PartlyDelivered{confirmed: map[[sha256.Size]byte]bool{}, Until: now.Add(PartlyFor)}
		for i := range ms {
			if errs[i] == nil {
				d.confirmed[digestOf(&ms[i])] = true
			}
		}
		p.Tx[name] = d
	}
	p.N.Store(int32(len(p.Tx)))
}

// Forget forgets everything: RabbitMQ has lost what it had confirmed.
func (p *Partly) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.Tx)
	p.N.Store(0)
}

// digestOf tells a message from every other one.
func digestOf(m *holdfast.Message) [sha256.Size]byte {
	text, err := json.Marshal(m)
	if err != nil {
		return sha256.Sum256([]byte(m.ID))
	}
	return sha256.Sum256(text)
}
