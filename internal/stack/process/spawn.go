package process

import (
	"os/exec"
	"runtime"
	"sync"
)

// Spawner starts all processes of a stack from one thread that lives as long as
// the stack. Linux sends a process its "parent is dead" signal when the *thread*
// that started it ends; so that signal comes exactly when this process dies,
// however it dies, and nothing is left behind.
type Spawner struct {
	jobs chan func()
	wg   sync.WaitGroup
	once sync.Once
}

func NewSpawner() *Spawner {
	s := &Spawner{jobs: make(chan func())}
	s.wg.Go(func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for job := range s.jobs {
			job()
		}
	})
	return s
}

// start starts the command.
func (s *Spawner) start(cmd *exec.Cmd) error {
	answer := make(chan error, 1)
	s.jobs <- func() { answer <- cmd.Start() }
	return <-answer
}

// Close ends the thread. Whatever still runs gets its signal.
func (s *Spawner) Close() {
	s.once.Do(func() { close(s.jobs) })
	s.wg.Wait()
}
