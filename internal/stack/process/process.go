// Package process starts the programs of a stack and ends them, with everything that
// they started themselves: their groups, their users, what the process table says of
// them, and the locks that end with a process. What differs between systems is in the
// files sys_* and pdeathsig_*.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Command says how to start one process of a part.
type Command struct {
	Label string // "postgres", for the state file
	Path  string
	Args  []string
	Env   []string
	Dir   string
	User  *Account       // nil: the user of this process
	Stop  syscall.Signal // asks it to end in good order
	Crash syscall.Signal // what it gets when its owner dies
}

// Account is the user that a process runs as.
type Account struct{ UID, GID uint32 }

// Process is one started process.
type Process struct {
	Label      string
	PID        int
	Started    string // see Info
	StopSignal syscall.Signal
	Done       chan struct{} // closed when it has ended
	Err        error         // how it ended; valid once done is closed
}

// Start starts a command in a process group of its own, its output going
// to the log file.
func Start(s *Spawner, c Command, log *os.File) (*Process, error) {
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Env, cmd.Dir = c.Env, c.Dir
	cmd.Stdout, cmd.Stderr = log, log
	OwnGroup(cmd)
	AsUser(cmd, c.User)
	if s != nil {
		dieWithParent(cmd, c.Crash)
	}
	start := cmd.Start
	if s != nil {
		start = func() error { return s.start(cmd) }
	}
	if err := start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	p := &Process{Label: c.Label, PID: cmd.Process.Pid, StopSignal: c.Stop, Done: make(chan struct{})}
	if info, ok := Lookup(p.PID); ok {
		p.Started = info.Started
	}
	go func() {
		p.Err = cmd.Wait()
		close(p.Done)
	}()
	return p, nil
}

// Ended says whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.Done:
		return true
	default:
		return false
	}
}

// Kill kills the process and everything below it, and returns when all is dead.
func (p *Process) Kill() error {
	var err error
	if !p.Ended() {
		err = KillTree(p.PID)
	}
	<-p.Done
	return err
}

// Stop asks the process to end, and kills it when ctx ends first.
func (p *Process) Stop(ctx context.Context) error {
	if p.Ended() {
		return nil
	}
	below := Descendants(p.PID)
	if err := Signal(p.PID, p.StopSignal); err != nil {
		return err
	}
	select {
	case <-p.Done:
		return errors.Join(KillAll(below))
	case <-ctx.Done():
		return p.Kill()
	}
}

// KillWait is how long the kernel may take to remove killed processes.
const KillWait = 10 * time.Second

// KillTree kills a process and all its descendants. The root is stopped first,
// so that it starts nothing new meanwhile. Descendants are found by parent, not
// by process group: PostgreSQL's backends each have a group of their own.
func KillTree(root int) error {
	if err := Signal(root, sigStop); err != nil {
		return err
	}
	below := Descendants(root)
	for _, p := range below { // they may have children of their own
		_ = Signal(p.PID, sigStop)
	}
	below = Descendants(root)
	if err := Signal(root, SigKill); err != nil {
		return err
	}
	return KillAll(below)
}

// KillAll kills these very processes and waits until they are gone.
func KillAll(list []Info) error {
	for _, p := range list {
		if Running(p.PID, p.Started) {
			if err := Signal(p.PID, SigKill); err != nil {
				return err
			}
		}
	}
	for _, p := range list {
		if !AwaitGone(p.PID, p.Started, KillWait) {
			return fmt.Errorf("process %d was killed and is still there after %s", p.PID, KillWait)
		}
	}
	return nil
}

// AwaitGone waits until a process that is not our child is gone; there is
// nothing to wait on, so it looks again and again.
func AwaitGone(pid int, started string, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for Running(pid, started) {
		if Pause(ctx, 2*time.Millisecond) != nil {
			return !Running(pid, started)
		}
	}
	return true
}

// Pause waits for d, or for the end of ctx.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// WithoutEnv is env without the named variables; a name that ends in "_" stands
// for all that begin so.
func WithoutEnv(env []string, names ...string) []string {
	kept := make([]string, 0, len(env))
next:
	for _, kv := range env {
		key, _, _ := strings.Cut(kv, "=")
		for _, name := range names {
			if key == name || strings.HasSuffix(name, "_") && strings.HasPrefix(key, name) {
				continue next
			}
		}
		kept = append(kept, kv)
	}
	return kept
}
