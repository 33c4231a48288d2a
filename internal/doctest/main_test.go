package doctest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/cli"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// asProgram is set where this test binary is to be the program holdfast.
const asProgram = "HOLDFAST_DOCTEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(cli.Main(context.Background(), os.Args[1:], frame.Process()))
	}
	os.Exit(stacktest.Main(m))
}

// reader is somebody who has a shell, in which holdfast is found.
type reader struct {
	env []string
}

func newReader(t *testing.T, env ...string) *reader {
	t.Helper()
	binary, err := os.Executable()
	require.NoError(t, err)
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\n%s=1 exec '%s' \"$@\"\n", asProgram, binary)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "holdfast"), []byte(script), 0o755))
	return &reader{append(os.Environ(), append(env, "PATH="+dir+":"+os.Getenv("PATH"), "MAKEFLAGS=")...)}
}

// types types a line in the repository's root, and returns what it prints and its
// exit status.
func (r *reader) types(line string) (out string, status int) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir, cmd.Env = root, r.env
	raw, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		return err.Error(), -1
	}
	return strings.TrimSpace(string(raw)), cmd.ProcessState.ExitCode()
}
