package stack

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/stack/process"
	"github.com/holdfastmq/holdfast/internal/stack/progress"
)

// sleeper is a part that does nothing. What answer says is what a probe finds.
type sleeper struct {
	mu     sync.Mutex
	answer error
	probed chan struct{}
}

func (*sleeper) prepare(context.Context, bool) error { return nil }

func (*sleeper) commands() []process.Command {
	return []process.Command{{Label: "sleep", Path: "/bin/sleep", Args: []string{"3600"},
		Stop: process.SigTerminate, Crash: process.SigKill}}
}

func (s *sleeper) probe(context.Context) (string, error) {
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	select {
	case s.probed <- struct{}{}:
	default:
	}
	return "sleep", answer
}

func (*sleeper) address() string { return "nowhere" }

func (s *sleeper) answers(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = err
}

// A dev server that is stuck is started again; one that answers, that is away for
// another reason, or that somebody stopped, is left alone.
func TestStuckTemporalIsStartedAgain(t *testing.T) {
	b, err := newBook(filepath.Join(t.TempDir(), "book"))
	require.NoError(t, err)
	d := &sleeper{probed: make(chan struct{})}
	p := &Part{name: "Sleep", driver: d, out: progress.New(nil), book: b, log: filepath.Join(t.TempDir(), "log")}
	require.NoError(t, p.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, p.Kill()) })
	first := p.PID()

	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { p.watch(ctx, time.Millisecond) })
	defer watching.Wait()
	defer cancel()
	probes := func(n int) {
		for range n {
			<-d.probed
		}
	}
	probes(2 * stuckAfter)
	d.answers(errors.New("connection refused"))
	probes(2 * stuckAfter)
	require.Equal(t, first, p.PID())

	d.answers(errors.New("namespace: GetNamespace operation failed. Error " + sqliteStuck))
	for p.PID() == first {
		probes(1)
	}
	d.answers(nil)
	require.NoError(t, p.Start(t.Context())) // waits for the watch's own start
	second := p.PID()
	require.NotEqual(t, first, second)

	require.NoError(t, p.Stop(t.Context()))
	d.answers(errors.New(sqliteStuck))
	probes(2 * stuckAfter)
	require.Zero(t, p.PID())
	d.answers(nil)
}
