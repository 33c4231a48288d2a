// Package child runs processes of this same program: workers and participants
// that are to have a process, and so memory and processor time, of their own. The
// rooms of the competitors say in which roles (Role), and package main asks at its
// start whether it is in one (Main). It imports servers only.
package child

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/log"

	"github.com/holdfastmq/holdfast/bench/internal/servers"
)

// Role is what a process of this program does instead of measuring where the
// environment variable Env is set: Run, with the variable's value.
type Role struct {
	Env string
	Run func(value string, in io.Reader, out io.Writer) error
}

// Main is the main function of a child process; is says whether this is one,
// in one of roles. It ends when its standard input does, that is, with its parent
// at the latest.
func Main(roles ...Role) (code int, is bool) {
	for _, r := range roles {
		value := os.Getenv(r.Env)
		if value == "" {
			continue
		}
		signal.Ignore(os.Interrupt) // the terminal's; the parent has it, too
		if err := r.Run(value, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// Temporal is a child's Temporal client.
func Temporal() (client.Client, error) {
	o, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return nil, err
	}
	o.Logger = log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	return client.Dial(o)
}

// stopTimeout is longer than a worker drains.
const stopTimeout = 45 * time.Second

// AskState asks a child how it is. It changes nothing.
const AskState = "state"

// Process is a process of this program, as its parent has it. It answers in JSON,
// first of all when it is ready.
type Process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
	stderr  bytes.Buffer
}

// Start starts one in a role, with its value and more in the environment, and
// reads its first answer into ready.
func Start(ctx context.Context, s *servers.Servers, ready any, r Role, value string, env ...string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &Process{cmd: exec.Command(self)}
	c.cmd.Env = append(append(s.Env(), r.Env+"="+value), env...)
	c.cmd.Stderr = &c.stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.answers = json.NewDecoder(out)
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	if err := c.answer(ctx, ready); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// Ask sends a question, a line, and reads the answer.
func (c *Process) Ask(ctx context.Context, question string, answer any) error {
	if _, err := fmt.Fprintln(c.in, question); err != nil {
		return lost(err)
	}
	return c.answer(ctx, answer)
}

// answer reads an answer. When ctx is done first, the process is killed.
func (c *Process) answer(ctx context.Context, answer any) error {
	defer context.AfterFunc(ctx, func() { _ = c.cmd.Process.Kill() })()
	if err := c.answers.Decode(answer); err != nil {
		return lost(errors.Join(err, ctx.Err()))
	}
	return nil
}

func lost(err error) error { return fmt.Errorf("the child process does not answer: %w", err) }

// Stop ends the process and waits for it; it is killed if it takes too long. What
// it wrote to its standard error is in the error.
func (c *Process) Stop() error {
	_ = c.in.Close()
	kill := time.AfterFunc(stopTimeout, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("the child process: %w: %s", err, bytes.TrimSpace(c.stderr.Bytes()))
	}
	return nil
}
