package worker_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// relay passes TCP connections on, and cuts them when told to.
type relay struct {
	t  testing.TB
	l  net.Listener
	to string
	wg sync.WaitGroup

	mu      sync.Mutex
	conns   map[net.Conn]bool
	closed  bool
	refuses bool
	refused int
	cuts    int
}

// newRelay relays to an address until the test's end.
func newRelay(t testing.TB, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{t: t, l: l, to: to, conns: map[net.Conn]bool{}}
	r.wg.Go(r.accept)
	t.Cleanup(r.close)
	return r
}

func (r *relay) address() string { return r.l.Addr().String() }

func (r *relay) accept() {
	for {
		c, err := r.l.Accept()
		if err != nil {
			return
		}
		r.wg.Go(func() { r.pass(c) })
	}
}

func (r *relay) pass(c net.Conn) {
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
			_, _ = io.Copy(pair[0], pair[1])
			_ = pair[0].Close()
			_ = pair[1].Close()
			done <- struct{}{}
		}()
	}
	<-done
	<-done
}

func (r *relay) enter(c net.Conn) bool {
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

func (r *relay) leave(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

// cut cuts all connections, and returns how many ends there were.
func (r *relay) cut() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.conns)
	for c := range r.conns {
		_ = c.Close()
	}
	r.cuts++
	return n
}

// refuse makes new connections end at once, or not.
func (r *relay) refuse(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuses = on
}

func (r *relay) refusals() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused
}

func (r *relay) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	_ = r.l.Close()
	r.cut()
	r.wg.Wait()
}

// hostOf is the HOST:PORT of a URL.
func hostOf(t testing.TB, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return u.Host
}

// through is the URL over a relay.
func (r *relay) through(raw string) string {
	r.t.Helper()
	u, err := url.Parse(raw)
	require.NoError(r.t, err)
	u.Host = r.address()
	return u.String()
}
