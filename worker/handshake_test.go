package worker_test

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/worker"
)

// shaky stands before RabbitMQ, and lets its first connections down: some at once, then
// some during the handshake, when the client has sent who it is.
type shaky struct {
	mute atomic.Int32 // connections that it closes at once
	left atomic.Int32 // connections that it lets down during the handshake
	drop bool         // it closes them; false: it says nothing more
}

// before returns the URL that leads to amqpURL over it.
func (h *shaky) before(t *testing.T, amqpURL string) string {
	t.Helper()
	u, err := url.Parse(amqpURL)
	require.NoError(t, err)
	to := u.Host
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	u.Host = l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go h.carry(c, to)
		}
	}()
	return u.String()
}

func (h *shaky) carry(c net.Conn, to string) {
	defer c.Close()
	if h.mute.Add(-1) >= 0 {
		return
	}
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	if h.left.Add(-1) < 0 {
		go func() { _, _ = io.Copy(server, c); _ = server.Close() }()
		_, _ = io.Copy(c, server)
		return
	}
	go func() { _, _ = io.Copy(c, server) }() // what RabbitMQ says first
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if bytes.Contains(buf[:n], []byte("PLAIN")) { // who the client is
			if h.drop {
				return
			}
			_, _ = io.Copy(io.Discard, c) // until the client gives up
			return
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}

// TestRabbitMQDuringTheHandshake: one that goes down, or is slow, just when a process
// connects does not mean wrong credentials.
func TestRabbitMQDuringTheHandshake(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]*shaky{"is slow": {}, "goes down": {drop: true}, "restarts": {drop: true}} {
		h.left.Store(1)
		if name == "restarts" {
			h.mute.Store(2)
			h.left.Store(2)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.producer(func(o *worker.Options) { o.AMQPURL = h.before(t, o.AMQPURL) })
			require.Negative(t, h.left.Load(), "it was let down, and came again")
		})
	}
}
