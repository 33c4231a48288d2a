package dev

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// signalsToForward returns the signals that end programs, until stop. The
// process itself no longer dies of them, not even of a second one.
func signalsToForward() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 8)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

// runCommand runs a command with env in addition to the environment, passes
// signals on to it, and returns its exit status.
func runCommand(a *frame.App, command, env []string, signals <-chan os.Signal) error {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(append([]string(nil), a.Environ...), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.In, text.Raw(a.Out), text.Raw(a.Err)
	if err := cmd.Start(); err != nil {
		return text.WithRemedy(fmt.Errorf("run the command: %w", err), "give a program and its arguments after --")
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			// A terminal has sent Ctrl-C to the command too; twice would often mean
			// "do not clean up".
			if s != os.Interrupt || !text.IsTerminal(a.In) {
				_ = cmd.Process.Signal(s) // it may have ended meanwhile
			}
		case err := <-ended:
			return exitStatus(err)
		}
	}
}

// exitStatus makes the end of a command this program's, as a shell does.
func exitStatus(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return frame.StatusError(128 + int(status.Signal()))
	}
	return frame.StatusError(exit.ExitCode())
}
