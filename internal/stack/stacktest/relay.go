package stacktest

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// Relay passes TCP connections on, and cuts them when told to.
type Relay struct {
	t  testing.TB
	l  net.Listener
	to string
	wg sync.WaitGroup

	ended   chan struct{} // closed by Stop
	end     sync.Once
	mu      sync.Mutex
	silent  bool
	conns   map[net.Conn]bool
	closed  bool
	refuses bool
	refused int
}

// NewRelay relays to an address, HOST:PORT, until the test's end.
func NewRelay(t testing.TB, to string) *Relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("a relay to %s: %v", to, err)
	}
	r := &Relay{t: t, l: l, to: to, conns: map[net.Conn]bool{}, ended: make(chan struct{})}
	r.wg.Go(r.accept)
	t.Cleanup(r.Stop)
	return r
}

// Address is where the relay listens, HOST:PORT.
func (r *Relay) Address() string { return r.l.Addr().String() }

func (r *Relay) accept() {
	for {
		c, err := r.l.Accept()
		if err != nil {
			return
		}
		r.wg.Go(func() { r.pass(c) })
	}
}

func (r *Relay) pass(c net.Conn) {
	defer func() { _ = c.Close() }()
	if !r.enter(c) {
		return
	}
	defer r.leave(c)
	server, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	if !r.enter(server) {
		return
	}
	defer r.leave(server)
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{c, server}, {server, c}} {
		go func() {
			_, _ = io.Copy(pair[0], audible{pair[1], r})
			_ = pair[0].Close()
			_ = pair[1].Close()
			done <- struct{}{}
		}()
	}
	<-done
	<-done
}

// audible passes on what is read until the relay falls silent.
type audible struct {
	net.Conn
	r *Relay
}

// Read returns what there is, or nothing more until the relay is stopped.
func (a audible) Read(p []byte) (int, error) {
	n, err := a.Conn.Read(p)
	a.r.mu.Lock()
	silent := a.r.silent
	a.r.mu.Unlock()
	if silent {
		<-a.r.ended
		return 0, io.EOF
	}
	return n, err
}

// Silence has nothing more come through, of old connections and new ones, for good; they stay
// open, as where a machine has lost its power.
func (r *Relay) Silence() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.silent = true
}

func (r *Relay) enter(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuses {
		r.refused++
	}
	if r.closed || r.refuses {
		return false
	}
	r.conns[c] = true
	return true
}

func (r *Relay) leave(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

// Cut cuts all connections, and returns how many ends there were.
func (r *Relay) Cut() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.conns)
	for c := range r.conns {
		_ = c.Close()
	}
	return n
}

// Refuse makes new connections end at once, or not.
func (r *Relay) Refuse(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuses = on
}

// Refusals is how many connections were refused.
func (r *Relay) Refusals() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused
}

// Stop cuts all connections and listens no more, for good: the address is as that of a
// server that is gone.
func (r *Relay) Stop() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.end.Do(func() { close(r.ended) })
	_ = r.l.Close()
	r.Cut()
	r.wg.Wait()
}

// HostOf is the HOST:PORT of a URL.
func HostOf(t testing.TB, raw string) string {
	t.Helper()
	return parse(t, raw).Host
}

// Through is the URL over the relay.
func (r *Relay) Through(raw string) string {
	r.t.Helper()
	u := parse(r.t, raw)
	u.Host = r.Address()
	return u.String()
}

func parse(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
