package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfastmq/holdfast/internal/stack/process"
	"github.com/holdfastmq/holdfast/internal/stack/progress"
)

// driver is what is particular to one of the three parts.
type driver interface {
	// prepare makes what must be there before the processes start: ports (new
	// ones only if it has none, or repick is true), configuration, data folder.
	// It is called before every start and changes nothing that is there.
	prepare(ctx context.Context, repick bool) error
	// commands are the processes, in the order of their start; the last is the
	// part's main process.
	commands() []process.Command
	// probe tries once whether the part does its work, and says its version.
	probe(ctx context.Context) (version string, err error)
	// address is where clients connect to.
	address() string
}

// Part is one of the three servers. Its methods may be called from any
// goroutine; they run one at a time.
type Part struct {
	name    string
	driver  driver
	out     *progress.Writer
	spawner *process.Spawner
	book    *book
	log     string

	mu     sync.Mutex
	procs  []*process.Process // in order of start; empty when stopped
	pinned bool               // was ready once: its ports are known to others
	pid    atomic.Int64
}

// errPortTaken means that somebody else listens on a port of a part.
var errPortTaken = errors.New("a port is taken")

const (
	probeEvery   = 50 * time.Millisecond
	probeTimeout = 5 * time.Second
	stopGrace    = 20 * time.Second
	tailLines    = 12
	startTries   = 4
)

// Name is "RabbitMQ", "PostgreSQL" or "Temporal".
func (p *Part) Name() string { return p.name }

// PID is the process ID of the part's main process (the Erlang VM, the
// postmaster, the Temporal server); 0 while it is stopped.
func (p *Part) PID() int { return int(p.pid.Load()) }

// Log is the file that the part's output goes to.
func (p *Part) Log() string { return p.log }

// Start starts the part on the same ports and data and waits until it is ready.
// A part that runs is left alone.
func (p *Part) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.procs); n > 0 && !p.procs[n-1].Ended() {
		return nil
	}
	p.reap()
	return p.start(ctx)
}

// Kill kills the part, all of its processes, as a crash of its machine's power
// supply would, and returns when they are dead.
func (p *Part) Kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kill()
}

// Stop stops the part in good order, or kills it when ctx ends first, or after
// 20 seconds.
func (p *Part) Stop(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	return p.forEach(func(proc *process.Process) error { return proc.Stop(ctx) })
}

// Restart is Stop, then Start.
func (p *Part) Restart(ctx context.Context) error {
	if err := p.Stop(ctx); err != nil {
		return err
	}
	return p.Start(ctx)
}

func (p *Part) kill() error {
	return p.forEach((*process.Process).Kill)
}

// forEach ends the processes, the main one first, and forgets them.
func (p *Part) forEach(end func(*process.Process) error) error {
	var errs []error
	for i := len(p.procs) - 1; i >= 0; i-- {
		if err := end(p.procs[i]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	p.reap()
	return errors.Join(errs...)
}

// reap forgets the processes that have ended; a part whose main process has
// ended loses its helpers too.
func (p *Part) reap() {
	for _, proc := range p.procs {
		_ = proc.Kill()
	}
	p.procs = nil
	p.pid.Store(0)
	p.book.set(p.name, nil)
}

// start tries until the part is ready, or fails for another reason than a taken
// port.
func (p *Part) start(ctx context.Context) error {
	var err error
	for try := range startTries {
		if err = p.driver.prepare(ctx, try > 0 && !p.pinned); err != nil {
			return fmt.Errorf("%s cannot be prepared: %w", p.name, err)
		}
		if err = p.startOnce(ctx); !errors.Is(err, errPortTaken) {
			break
		}
		p.out.Line(p.name, "a port was taken meanwhile, trying again")
	}
	if err == nil {
		p.pinned = true
	}
	return err
}

func (p *Part) startOnce(ctx context.Context) error {
	begun := time.Now()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("%s: its log file cannot be opened: %w", p.name, err)
	}
	defer func() { _ = log.Close() }()
	var offset int64
	if info, err := log.Stat(); err == nil {
		offset = info.Size()
	}
	for _, c := range p.driver.commands() {
		proc, err := process.Start(p.spawner, c, log)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", p.name, err), p.kill())
		}
		p.procs = append(p.procs, proc)
	}
	main := p.procs[len(p.procs)-1]
	p.pid.Store(int64(main.PID))
	p.book.set(p.name, p.procs)
	version, err := p.await(ctx, main)
	if err != nil {
		ended := main.Ended()
		err = errors.Join(err, p.kill())
		tail := process.LogTail(p.log, offset, tailLines)
		if ended && inUse(tail) {
			err = fmt.Errorf("%w: %w", errPortTaken, err)
		}
		return fmt.Errorf("%s did not start: %w\nthe end of %s:\n%s", p.name, err, filepath.Clean(p.log), tail)
	}
	p.out.Line(p.name, "ready on %s (%s, %s)", p.driver.address(), version, progress.Seconds(time.Since(begun)))
	return nil
}

// await probes until the part does its work, its process ends, or ctx ends.
func (p *Part) await(ctx context.Context, main *process.Process) (version string, err error) {
	defer p.out.Still(p.name, "starting")()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var last error
	for {
		probe, stop := context.WithTimeout(ctx, probeTimeout)
		version, err := p.driver.probe(probe)
		stop()
		if err == nil {
			return version, nil
		}
		if ctx.Err() == nil {
			last = err
		}
		t := time.NewTimer(probeEvery)
		select {
		case <-main.Done:
			t.Stop()
			return "", fmt.Errorf("its process ended: %v", main.Err)
		case <-ctx.Done():
			t.Stop()
			return "", fmt.Errorf("not ready in time (%w); last try: %v", context.Cause(ctx), last)
		case <-t.C:
		}
	}
}
