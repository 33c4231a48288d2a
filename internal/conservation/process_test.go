package conservation

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// slot is a place for a process: one that dies is followed by another at once.
type slot struct {
	w      *world
	config childConfig

	mu        sync.Mutex
	cmd       *exec.Cmd
	stdin     io.WriteCloser
	following map[int]following
	steering  map[string]steered
	closing   bool
	log       []string
	ready     chan struct{} // closed when the first process is
	over      chan struct{} // closed when the last one has ended
}

// steered is what is asked of a saga, and who waits for the answer.
type steered struct {
	steering
	done chan bool
}

func (s steering) name() string { return fmt.Sprint(s.N, s.Ask) }

func (w *world) slot(name, database string) *slot {
	s := &slot{w: w, config: w.at, following: map[int]following{}, steering: map[string]steered{}, ready: make(chan struct{}), over: make(chan struct{})}
	s.config.Name, s.config.Database = name, database
	return s
}

// live runs one process after the other.
func (s *slot) live() {
	defer close(s.over)
	for {
		wait, err := s.spawn()
		if err != nil {
			s.note("cannot start: " + err.Error())
			return
		}
		wait()
		if s.isClosing() {
			return
		}
	}
}

func (s *slot) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// spawn starts a process; wait waits for its end.
func (s *slot) spawn() (wait func(), err error) {
	config, err := json.Marshal(s.config)
	if err != nil {
		return nil, err
	}
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return func() {}, nil
	}
	cmd := exec.Command(binary, "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+string(config))
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	stderr, err3 := cmd.StderrPipe()
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return nil, err
		}
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.cmd, s.stdin = cmd, nil // told nothing before it is ready
	var readers sync.WaitGroup
	readers.Go(func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var r report
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				s.note(lines.Text())
				continue
			}
			s.hear(r, stdin)
		}
	})
	readers.Go(func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			s.note(lines.Text())
		}
	})
	return func() {
		readers.Wait()
		s.mu.Lock()
		s.stdin = nil
		s.mu.Unlock()
		_ = stdin.Close()
		_ = cmd.Wait() // how it ended is in ProcessState
		s.note(fmt.Sprint("the process ended: ", cmd.ProcessState))
		switch status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus); {
		case status.Signaled() && status.Signal() == syscall.SIGKILL:
			s.w.killed.Add(1)
		case !cmd.ProcessState.Success(): // the race detector says so, too
			s.w.Errorf("a process ended by itself: %v\n%s", cmd.ProcessState, s.said())
		}
	}, nil
}

// hear takes what a process says.
func (s *slot) hear(r report, stdin io.WriteCloser) {
	switch {
	case r.Ready:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closing {
			_ = stdin.Close()
			return
		}
		s.stdin = stdin
		for _, f := range s.following {
			s.tell(command{Follow: &f})
		}
		for _, a := range s.steering {
			s.tell(command{Steer: &a.steering})
		}
		select {
		case <-s.ready:
		default:
			close(s.ready)
		}
	case r.Ended != "":
		s.mu.Lock()
		delete(s.following, r.N)
		s.mu.Unlock()
		s.w.ended(r.N, r.Ended)
	case r.Asked != "":
		s.mu.Lock()
		defer s.mu.Unlock()
		name := steering{following: following{N: r.N}, Ask: r.Asked}.name()
		if a, there := s.steering[name]; there {
			delete(s.steering, name)
			a.done <- r.Done
		}
	default:
		s.w.begun(r.N)
	}
}

// tell says something to the process, if there is one; one that dies is followed
// by one that is told again. s.mu is held.
func (s *slot) tell(c command) {
	if s.stdin == nil {
		return
	}
	line, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	_, _ = s.stdin.Write(append(line, '\n'))
}

// follow has a saga started and waited for.
func (s *slot) follow(f following) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.following[f.N] = f
	s.tell(command{Follow: &f})
}

// steer has something asked of a saga by its handle. done gets whether it was done.
func (s *slot) steer(what steering) (done chan bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := steered{what, make(chan bool, 1)}
	s.steering[what.name()] = a
	s.tell(command{Steer: &a.steering})
	return a.done
}

// kill ends the process, at once or at the point.
func (s *slot) kill(k kill) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.point != "" {
		s.tell(command{Point: k.point, Hit: k.hit})
		return
	}
	_ = s.cmd.Process.Kill()
}

// close ends the process in good order.
func (s *slot) close() {
	s.mu.Lock()
	s.closing = true
	cmd := s.cmd
	if s.stdin != nil {
		_ = s.stdin.Close()
	}
	s.mu.Unlock()
	select {
	case <-s.over:
	case <-time.After(time.Minute):
		if cmd != nil {
			_ = cmd.Process.Kill()
		}
		<-s.over
	}
}

func (s *slot) note(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log = append(s.log, line); len(s.log) > 400 {
		s.log = s.log[200:]
	}
}

// said is the end of what its processes wrote.
func (s *slot) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config.Name + ":\n\t" + strings.Join(s.log[max(0, len(s.log)-40):], "\n\t")
}
