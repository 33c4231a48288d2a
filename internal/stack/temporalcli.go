package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

const (
	// temporalCLI is the version that is built where none is on the PATH. Later
	// ones refuse `go install` (their go.mod has a replace directive).
	temporalCLI    = "v1.5.1"
	temporalModule = "github.com/temporalio/cli"
	// temporalServerMajor and temporalServerMinor are the oldest dev server that
	// is used from the PATH: eager workflow start is on by default from it. CLI
	// 1.5.0 is the first that has it.
	temporalServerMajor, temporalServerMinor = 1, 29
)

// temporalBinary finds the Temporal CLI, or builds it.
func (i *installer) temporalBinary(ctx context.Context) (string, error) {
	if path, err := exec.LookPath("temporal"); err == nil {
		out, err := exec.CommandContext(ctx, path, "--version").Output()
		switch {
		case err != nil:
			i.out.line(temporalName, "%s does not say its version (%v); not used", path, err)
		case recentTemporal(string(out)):
			return filepath.Abs(path)
		default:
			i.out.line(temporalName, "%s is too old (%s); not used", path, strings.TrimSpace(string(out)))
		}
	}
	dir := filepath.Join(i.cache, fmt.Sprintf("temporal-%s-%s-%s", temporalCLI, runtime.GOOS, runtime.GOARCH))
	path := filepath.Join(dir, "temporal")
	if isFile(path) {
		return path, nil
	}
	err := i.locked(ctx, temporalName, "temporal", func() error {
		if isFile(path) {
			return nil
		}
		return i.buildTemporal(ctx, dir)
	})
	return path, err
}

// buildTemporal builds the CLI into a new folder, which then takes its place as
// a whole: a build that was cut off is never mistaken for a finished one.
func (i *installer) buildTemporal(ctx context.Context, dir string) error {
	remedy := fmt.Sprintf("run `go install %s/cmd/temporal@%s` or see https://docs.temporal.io/cli#install, "+
		"then have `temporal` on the PATH; or set TEMPORAL_ADDRESS to a running server", temporalModule, temporalCLI)
	goTool, err := exec.LookPath("go")
	if err != nil {
		return fmt.Errorf("the Temporal CLI is not installed and %w (no Go toolchain on the PATH): %s", errNotInstallable, remedy)
	}
	tmp, err := os.MkdirTemp(i.cache, "building-temporal-")
	if err != nil {
		return fmt.Errorf("the Temporal CLI cannot be built: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	defer i.out.long(temporalName, fmt.Sprintf("building the Temporal CLI %s from source, once (about 3 minutes)", temporalCLI))()
	ldflags := fmt.Sprintf("-s -w -X %s/temporalcli.Version=%s", temporalModule, strings.TrimPrefix(temporalCLI, "v"))
	cmd := exec.CommandContext(ctx, goTool, "install", "-ldflags", ldflags, temporalModule+"/cmd/temporal@"+temporalCLI)
	cmd.Dir = tmp
	// The user's own build settings are for the user's builds.
	cmd.Env = append(withoutEnv(os.Environ(), "GOFLAGS", "GOOS", "GOARCH", "GOBIN", "GOWORK", "GO111MODULE", "CGO_ENABLED"),
		"GOFLAGS=-trimpath", "GOBIN="+tmp, "GOWORK=off", "CGO_ENABLED=0")
	ownGroup(cmd)
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("building the Temporal CLI: %w", context.Cause(ctx))
		}
		return fmt.Errorf("the Temporal CLI %w: %s\ngo install: %w\n%s", errNotInstallable, remedy, err, lastLines(string(out), 15))
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return fmt.Errorf("the Temporal CLI was built but cannot be kept: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the Temporal CLI was built but cannot be kept: %w", err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("the Temporal CLI was built but cannot be kept: %w", err)
	}
	return nil
}

var temporalVersion = regexp.MustCompile(`Server (\d+)\.(\d+)\.\d+`)

// recentTemporal reads the output of `temporal --version`. What counts is the
// server inside: a CLI built with plain `go install` calls itself 0.0.0.
func recentTemporal(out string) bool {
	m := temporalVersion.FindStringSubmatch(out)
	if m == nil {
		return false
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	return major > temporalServerMajor || major == temporalServerMajor && minor >= temporalServerMinor
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// withoutEnv is env without the named variables; a name that ends in "_" stands
// for all that begin so.
func withoutEnv(env []string, names ...string) []string {
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
