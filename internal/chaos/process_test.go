package chaos

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

// slot is a place for a process: one that is killed is followed by another at once.
type slot struct {
	w      *world
	config childConfig

	mu       sync.Mutex
	cmd      *exec.Cmd
	stdin    io.WriteCloser // once it is ready
	closing  bool
	finished bool // it has made all its calls, or has none to make
	log      []string
	ready    chan struct{} // closed when the first process is
	over     chan struct{} // closed when the last one has ended
}

func (w *world) slot(c childConfig) *slot {
	return &slot{w: w, config: c, finished: c.Slot < 0, ready: make(chan struct{}), over: make(chan struct{})}
}

// live runs one process after the other.
func (s *slot) live() {
	defer close(s.over)
	for !s.isClosing() {
		wait, err := s.spawn()
		if err != nil {
			s.note("cannot start: " + err.Error())
			return
		}
		wait()
	}
}

func (s *slot) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

func (s *slot) isFinished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.finished
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
	s.cmd = cmd
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
		_ = cmd.Wait() // how it ended is in ProcessState
		s.mu.Lock()
		s.stdin, s.finished = nil, s.config.Slot < 0
		closing := s.closing
		s.mu.Unlock()
		_ = stdin.Close()
		s.note(fmt.Sprint("the process ended: ", cmd.ProcessState))
		switch status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus); {
		case status.Signaled() && status.Signal() == syscall.SIGKILL:
			s.w.count(killedProcess)
		case !closing || !cmd.ProcessState.Success(): // the race detector says so, too
			s.w.Errorf("a process ended by itself: %v\n%s", cmd.ProcessState, s.said())
		}
	}, nil
}

// hear takes what a process says.
func (s *slot) hear(r report, stdin io.WriteCloser) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished = s.finished || r.Finished
	if !r.Ready {
		s.w.advance(r.Ended)
		return
	}
	if s.closing {
		_ = stdin.Close()
		return
	}
	s.stdin = stdin
	select {
	case <-s.ready:
	default:
		close(s.ready)
	}
}

// kill ends the process, at once or at the point.
func (s *slot) kill(k kill) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.point == "" || s.stdin == nil {
		_ = s.cmd.Process.Kill()
		return
	}
	line, err := json.Marshal(order{Point: k.point, Hit: k.hit})
	if err != nil {
		panic(err)
	}
	_, _ = s.stdin.Write(append(line, '\n'))
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
		s.w.Errorf("%s does not end in good order", s.config.Name)
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
