package deadletters

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/bench/internal/child"
	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
)

// Redeliver is an operator who has had the consumer mended.
var Redeliver = contest.Competitor{
	Name: "dead-redeliver",
	About: "one command `holdfast dead redeliver` for all of 2,000 dead letters of a consumer, 64 at a time, until " +
		"it has ended: each redelivered, handled by the consumer, its workflow completed, and all that seen by the command",
	Callers: []int{Callers},
	Open: func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
		folder, err := os.MkdirTemp("", "holdfast-bench-")
		if err != nil {
			return nil, err
		}
		command := filepath.Join(folder, "holdfast")
		if err := buildCommand(ctx, command); err != nil {
			_ = os.RemoveAll(folder)
			return nil, err
		}
		m := &mortuary{s: s}
		return &contest.Entry{
			Prepare: func(ctx context.Context) error {
				if err := m.begin(ctx); err != nil {
					return err
				}
				if err := m.die(ctx); err != nil {
					return err
				}
				if err := m.allOpen(ctx); err != nil {
					return err
				}
				_, err := m.worker.ask(ctx, askHeal)
				return err
			},
			Run: func(ctx context.Context, callers int) (measure.Figure, error) {
				return m.redeliver(ctx, command, callers)
			},
			Settle: m.end,
			Close:  func() { _ = os.RemoveAll(folder) },
		}, nil
	},
}

// redeliver runs the command and sees for itself that all is done.
func (m *mortuary) redeliver(ctx context.Context, command string, callers int) (measure.Figure, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, command, "dead", "redeliver", "--consumer", m.worker.consumer,
		"--reason", "the consumer is mended", "--operator", "bench", "--yes", "--parallel", strconv.Itoa(callers),
		"--wait", "2m", "--timeout", timeout.String())
	cmd.Env, cmd.Stdout, cmd.Stderr = m.s.Env(), &stdout, &stderr
	began, used := time.Now(), measure.ReadCPU()
	err := cmd.Run()
	took := time.Since(began)
	used = measure.ReadCPU().Sub(used)
	if err != nil {
		return measure.Figure{}, fmt.Errorf("holdfast dead redeliver: %w: %s %s",
			err, ending(stdout.String()), ending(stderr.String()))
	}
	if len(used) > 0 { // it has ended, so /proc no longer says what it used
		used["command"] = measure.Millis(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime())
		used["elsewhere"] = max(0, used["elsewhere"]-used["command"])
	}
	if err := m.allHandled(ctx); err != nil {
		return measure.Figure{}, err
	}
	state, err := m.worker.ask(ctx, child.AskState)
	if err == nil && state.Handled < letters {
		err = fmt.Errorf("the consumer has handled %d of %d messages", state.Handled, letters)
	}
	return measure.Figure{Rate: letters / took.Seconds(), Operations: letters,
		Seconds: took.Seconds(), CPU: used.Per(letters)}, err
}

// buildCommand builds the program holdfast.
func buildCommand(ctx context.Context, path string) error {
	const module = "github.com/holdfastmq/holdfast"
	folder, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return fmt.Errorf("find the source of %s: run the benchmark in its folder, bench: %w", module, err)
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", path, "./cmd/holdfast")
	build.Dir = strings.TrimSpace(string(folder))
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build holdfast: %w: %s", err, ending(string(out)))
	}
	return nil
}

// ending is the end of what a program printed.
func ending(text string) string {
	const most = 1000
	text = strings.TrimSpace(text)
	if len(text) > most {
		text = "…" + text[len(text)-most:]
	}
	return text
}
