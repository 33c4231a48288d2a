package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/holdfastmq/holdfast/internal/stack/process"
)

// quiet keeps Temporal's client library from writing into the story.
var quiet = slog.New(slog.DiscardHandler)

// service is a running process of the example.
type service struct {
	name    string
	address string // the order service's, for its clients
	cmd     *exec.Cmd
	dead    chan struct{} // closed when the process has ended

	mu  sync.Mutex
	log []string // its last lines
}

// env is what the processes need to find everything, with the demo's patience.
func (s *stage) env(databaseURL string) []string {
	return append(s.stack.Env(), "DATABASE_URL="+databaseURL, "LISTEN=127.0.0.1:0", "HOLDFAST_PREFIX="+s.prefix,
		"HOLDFAST_CHECK_AFTER=5s", "HOLDFAST_CHECK_BACK=1s", "HOLDFAST_MAX_CHECKS=3",
		"HOLDFAST_TASK_TIMEOUT=3s", "HOLDFAST_LOCK_TIMEOUT=10s",
		"HOLDFAST_LADDER=1s,1s", "HOLDFAST_BREAKER_FAILURES=5", "HOLDFAST_BREAKER_PAUSE=1s",
		"APPROVAL_TIMEOUT=10s")
}

// start starts a service of the example and waits until it is ready. Where faultAt
// names an instant, the process kills itself with SIGKILL when it comes there.
func (s *stage) start(ctx context.Context, h *house, faultAt string) (err error) {
	h.service, err = s.process(ctx, h.name, h.url, faultAt)
	return err
}

// restart replaces a service, which is dead or is to stop.
func (s *stage) restart(ctx context.Context, h *house, faultAt string) error {
	h.stop()
	return s.start(ctx, h, faultAt)
}

func (s *stage) process(ctx context.Context, name, databaseURL, faultAt string) (*service, error) {
	p := &service{name: name, dead: make(chan struct{})}
	p.cmd = exec.Command(filepath.Join(s.dir, "orderpayment"), name)
	p.cmd.Env = append(append(os.Environ(), s.env(databaseURL)...), "HOLDFAST_FAULT="+faultAt)
	process.OwnGroup(p.cmd) // a Ctrl-C is the demo's to handle
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan string, 1)
	var readers sync.WaitGroup
	readers.Go(func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if line := lines.Text(); strings.Contains(line, "ready") {
				ready <- line
			}
		}
	})
	readers.Go(func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.note(lines.Text())
		}
	})
	go func() {
		readers.Wait()
		_ = p.cmd.Wait() // how it ended is in ProcessState
		close(p.dead)
	}()
	select {
	case line := <-ready:
		if _, address, ok := strings.Cut(line, " on "); ok {
			p.address = address
		}
		return p, nil
	case <-p.dead:
		return nil, fmt.Errorf("the %s service ended before it was ready: %v\n%s", name, p.cmd.ProcessState, p.tail())
	case <-ctx.Done():
		p.stop()
		return nil, fmt.Errorf("the %s service was not ready in time: %w\n%s", name, ctx.Err(), p.tail())
	}
}

func (p *service) note(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	const keep = 40
	if p.log = append(p.log, line); len(p.log) > keep {
		p.log = p.log[1:]
	}
}

func (p *service) tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, "\n")
}

// killed waits until the process has died by SIGKILL, as its fault should make
// it.
func (p *service) killed(ctx context.Context) error {
	select {
	case <-p.dead:
	case <-ctx.Done():
		return fmt.Errorf("the %s service was to be killed and lives: %w", p.name, ctx.Err())
	}
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		return fmt.Errorf("the %s service did not die by SIGKILL: %v", p.name, p.cmd.ProcessState)
	}
	return nil
}

// stop ends the process: kindly, then not.
func (p *service) stop() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.dead:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.dead
	}
}

// showLogs prints what the services said last.
func (s *stage) showLogs() {
	for _, h := range s.houses() {
		if h.service != nil {
			fmt.Fprintf(s.out, "--- the %s service's last lines\n%s\n", h.name, h.tail())
		}
	}
}

var errNotKilled = errors.New("the order service answered although it was to be killed")
