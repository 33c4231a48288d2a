package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// command says how to start one process of a part.
type command struct {
	label string // "postgres", for the state file
	path  string
	args  []string
	env   []string
	dir   string
	user  *account       // nil: the user of this process
	stop  syscall.Signal // asks it to end in good order
	crash syscall.Signal // what it gets when its owner dies
}

// process is one started process.
type process struct {
	label   string
	pid     int
	started string // see procInfo
	stopSig syscall.Signal
	done    chan struct{} // closed when it has ended
	err     error         // how it ended; valid once done is closed
}

// startProcess starts a command in a process group of its own, its output going
// to the log file.
func startProcess(s *spawner, c command, log *os.File) (*process, error) {
	cmd := exec.Command(c.path, c.args...)
	cmd.Env, cmd.Dir = c.env, c.dir
	cmd.Stdout, cmd.Stderr = log, log
	OwnGroup(cmd)
	asUser(cmd, c.user)
	if s != nil {
		dieWithParent(cmd, c.crash)
	}
	start := cmd.Start
	if s != nil {
		start = func() error { return s.start(cmd) }
	}
	if err := start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.path, err)
	}
	p := &process{label: c.label, pid: cmd.Process.Pid, stopSig: c.stop, done: make(chan struct{})}
	if info, ok := lookup(p.pid); ok {
		p.started = info.started
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// ended says whether the process has ended.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill kills the process and everything below it, and returns when all is dead.
func (p *process) kill() error {
	var err error
	if !p.ended() {
		err = killTree(p.pid)
	}
	<-p.done
	return err
}

// stop asks the process to end, and kills it when ctx ends first.
func (p *process) stop(ctx context.Context) error {
	if p.ended() {
		return nil
	}
	below := descendants(p.pid)
	if err := signalPID(p.pid, p.stopSig); err != nil {
		return err
	}
	select {
	case <-p.done:
		return errors.Join(killAll(below))
	case <-ctx.Done():
		return p.kill()
	}
}

// killWait is how long the kernel may take to remove killed processes.
const killWait = 10 * time.Second

// killTree kills a process and all its descendants. The root is stopped first,
// so that it starts nothing new meanwhile. Descendants are found by parent, not
// by process group: PostgreSQL's backends each have a group of their own.
func killTree(root int) error {
	if err := signalPID(root, sigStop); err != nil {
		return err
	}
	below := descendants(root)
	for _, p := range below { // they may have children of their own
		_ = signalPID(p.pid, sigStop)
	}
	below = descendants(root)
	if err := signalPID(root, sigKill); err != nil {
		return err
	}
	return killAll(below)
}

// killAll kills these very processes and waits until they are gone.
func killAll(list []procInfo) error {
	for _, p := range list {
		if running(p.pid, p.started) {
			if err := signalPID(p.pid, sigKill); err != nil {
				return err
			}
		}
	}
	for _, p := range list {
		if !awaitGone(p.pid, p.started, killWait) {
			return fmt.Errorf("process %d was killed and is still there after %s", p.pid, killWait)
		}
	}
	return nil
}

// awaitGone waits until a process that is not our child is gone; there is
// nothing to wait on, so it looks again and again.
func awaitGone(pid int, started string, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for running(pid, started) {
		if pause(ctx, 2*time.Millisecond) != nil {
			return !running(pid, started)
		}
	}
	return true
}
