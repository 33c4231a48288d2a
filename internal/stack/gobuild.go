package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// goBuild is what is built from source, once, and kept in a folder of its own.
type goBuild struct {
	what     string // "the Temporal CLI v1.5.1", for the user
	duration string // "about 3 minutes"
	remedy   string // what to do where it cannot be built
	dir      string // where it is kept
	module   string
	version  string
	ldflags  string
	programs []program
}

// program is one program of a build.
type program struct {
	pkg  string // in the module; its last element is what `go install` calls it
	name string // what it is called in the folder
}

// versioned is the folder in the cache for one version of something.
func (i *installer) versioned(name, version string) string {
	return filepath.Join(i.cache, fmt.Sprintf("%s-%s-%s-%s", name, version, runtime.GOOS, runtime.GOARCH))
}

func (b goBuild) done() bool {
	for _, p := range b.programs {
		if !isFile(filepath.Join(b.dir, p.name)) {
			return false
		}
	}
	return true
}

// build builds what is not there yet; one build at a time.
func (i *installer) build(ctx context.Context, b goBuild) error {
	if b.done() {
		return nil
	}
	return i.locked(ctx, temporalName, "temporal", func() error {
		if b.done() {
			return nil
		}
		return i.buildLocked(ctx, b)
	})
}

// buildLocked builds into a new folder, which then takes its place as a whole: a
// build that was cut off is never mistaken for a finished one.
func (i *installer) buildLocked(ctx context.Context, b goBuild) error {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return fmt.Errorf("%s is not installed and %w (no Go toolchain on the PATH): %s", b.what, errNotInstallable, b.remedy)
	}
	tmp, err := os.MkdirTemp(i.cache, "building-temporal-")
	if err != nil {
		return fmt.Errorf("%s cannot be built: %w", b.what, err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	defer i.out.long(temporalName, fmt.Sprintf("building %s from source, once (%s)", b.what, b.duration))()
	args := []string{"install", "-ldflags", strings.TrimSpace("-s -w " + b.ldflags)}
	for _, p := range b.programs {
		args = append(args, b.module+"/"+p.pkg+"@"+b.version)
	}
	cmd := exec.CommandContext(ctx, goTool, args...)
	cmd.Dir = tmp
	// The user's own build settings are for the user's builds.
	cmd.Env = append(withoutEnv(os.Environ(),
		"GOFLAGS", "GOOS", "GOARCH", "GOBIN", "GOWORK", "GO111MODULE", "CGO_ENABLED"),
		"GOFLAGS=-trimpath", "GOBIN="+tmp, "GOWORK=off", "CGO_ENABLED=0")
	OwnGroup(cmd)
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("building %s: %w", b.what, context.Cause(ctx))
		}
		return fmt.Errorf("%s %w: %s\ngo install: %w\n%s", b.what,
			errNotInstallable, b.remedy, err, lastLines(string(out), 15))
	}
	if err := b.keep(tmp); err != nil {
		return fmt.Errorf("%s was built but cannot be kept: %w", b.what, err)
	}
	return nil
}

// keep gives the programs their names and the folder its place.
func (b goBuild) keep(tmp string) error {
	for _, p := range b.programs {
		if err := os.Rename(filepath.Join(tmp, filepath.Base(p.pkg)), filepath.Join(tmp, p.name)); err != nil {
			return err //nolint:wrapcheck // wrapped by the caller
		}
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err //nolint:wrapcheck // wrapped by the caller
	}
	if err := os.RemoveAll(b.dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err //nolint:wrapcheck // wrapped by the caller
	}
	return os.Rename(tmp, b.dir) //nolint:wrapcheck // wrapped by the caller
}
