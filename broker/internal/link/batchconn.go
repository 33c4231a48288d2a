package link

import (
	"net"
	"sync"
	"time"
)

// MaxUnwritten is how many bytes a connection may hold that the network has not
// taken yet; a Write then waits.
const MaxUnwritten = 1 << 20

// batchConn writes in a goroutine of its own. amqp091 flushes after every
// publish and every acknowledgement, under its locks: so they cost no system
// call each, but share one with what came while the last was under way; and no
// lock is held over a write that hangs.
//
// An error of writing comes with a later Write. That is early enough: nothing
// counts as stored before its confirm.
type batchConn struct {
	net.Conn

	mu    sync.Mutex
	room  sync.Cond
	buf   []byte
	err   error
	wake  chan struct{}
	ended chan struct{}
	once  sync.Once
}

// NewBatchConn batches what is written to c.
func NewBatchConn(c net.Conn) *batchConn {
	b := &batchConn{Conn: c, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	b.room.L = &b.mu
	go b.run()
	return b
}

// Write takes a copy of p.
func (b *batchConn) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.err == nil && len(b.buf) >= MaxUnwritten {
		b.room.Wait()
	}
	if b.err != nil {
		return 0, b.err
	}
	b.buf = append(b.buf, p...)
	Token(b.wake)
	return len(p), nil
}

// Close closes the connection; what is not written yet is lost.
func (b *batchConn) Close() error {
	b.fail(net.ErrClosed)
	b.once.Do(func() { close(b.ended) })
	return b.Conn.Close()
}

func (b *batchConn) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	b.room.Broadcast()
}

func (b *batchConn) run() {
	var out []byte
	for {
		select {
		case <-b.wake:
		case <-b.ended:
			return
		}
		b.mu.Lock()
		out, b.buf = b.buf, out[:0]
		b.room.Broadcast()
		b.mu.Unlock()
		if len(out) == 0 {
			continue
		}
		err := b.SetWriteDeadline(time.Now().Add(writeTimeout))
		if err == nil {
			_, err = b.Conn.Write(out)
		}
		if err != nil {
			b.fail(err)
			_ = b.Close() // the reader must notice, too
			return
		}
		if cap(out) > MaxUnwritten {
			out = nil
		}
	}
}
