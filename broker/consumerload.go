package broker

import "sync"

// ConsumerLoad is how many deliveries a consumer of this process has in work.
type ConsumerLoad struct {
	Name        string
	Busy, Limit int
}

// busyConsumers are the consumers that run in this process.
type busyConsumers struct {
	mu   sync.Mutex
	next int
	all  map[int]func() ConsumerLoad
}

// showBusy lets ConsumerLoads tell of a consumer until hide is called.
func (b *Broker) showBusy(name string, limit int, busy func() int) (hide func()) {
	r := &b.busy
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[int]func() ConsumerLoad{}
	}
	n := r.next
	r.next++
	r.all[n] = func() ConsumerLoad { return ConsumerLoad{Name: name, Busy: busy(), Limit: limit} }
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.all, n)
	}
}

// ConsumerLoads tells of the consumers that run in this process. One more than its limit may
// be in work: that one waits for a handler.
func (b *Broker) ConsumerLoads() []ConsumerLoad {
	r := &b.busy
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]ConsumerLoad, 0, len(r.all))
	for _, load := range r.all {
		out = append(out, load())
	}
	return out
}
