package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/holdfastmq/holdfast/internal/stack/process"
	"github.com/holdfastmq/holdfast/internal/stack/progress"
)

// GoBuild is what is built from source, once, and kept in a folder of its own; or is
// downloaded instead, where that can be.
type GoBuild struct {
	Prebuilt Prebuilt
	Part     string // "Temporal", which waits for it
	What     string // "the Temporal CLI v1.5.1", for the user
	Duration string // "about 3 minutes"
	Remedy   string // what to do where it cannot be built
	Dir      string // where it is kept
	Module   string
	Version  string
	LDFlags  string
	Programs []Program
	Packages int // how many are compiled, about
}

// Program is one program of a build.
type Program struct {
	Package string // in the module; its last element is what `go install` calls it
	Name    string // what it is called in the folder
}

// Versioned is the folder in the cache for one version of something.
func (i *Installer) Versioned(name, version string) string {
	return filepath.Join(i.cache, fmt.Sprintf("%s-%s-%s-%s", name, version, runtime.GOOS, runtime.GOARCH))
}

func (b GoBuild) done() bool {
	for _, p := range b.Programs {
		if !IsFile(filepath.Join(b.Dir, p.Name)) {
			return false
		}
	}
	return true
}

// Build gets what is not there yet; one at a time, in all processes. A download that fails says so
// in a line, and is built.
func (i *Installer) Build(ctx context.Context, b GoBuild) error {
	if b.done() {
		return nil
	}
	return i.locked(ctx, b.Part, strings.ToLower(b.Part), func() error {
		if b.done() {
			return nil
		}
		if b.Prebuilt.URL != "" {
			err := i.fetchLocked(ctx, b)
			if err == nil {
				return nil
			}
			if ctx.Err() != nil {
				return fmt.Errorf("downloading %s: %w", b.What, context.Cause(ctx))
			}
			i.Out.Line(b.Part, "not downloaded, so it is built: %s", oneLine(err))
		}
		return i.buildLocked(ctx, b)
	})
}

// buildLocked builds into a new folder, which then takes its place as a whole: a
// build that was cut off is never mistaken for a finished one.
func (i *Installer) buildLocked(ctx context.Context, b GoBuild) error {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return fmt.Errorf("%s is not installed and %w (no Go toolchain on the PATH): %s", b.What, errNotInstallable, b.Remedy)
	}
	tmp, err := os.MkdirTemp(i.cache, "building-"+strings.ToLower(b.Part)+"-")
	if err != nil {
		return fmt.Errorf("%s cannot be built: %w", b.What, err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	task := i.Out.Task(b.Part, fmt.Sprintf("building %s from source, once (%s)", b.What, b.Duration))
	defer task.Stop()
	args := []string{"install", "-v", "-ldflags", strings.TrimSpace("-s -w " + b.LDFlags)}
	for _, p := range b.Programs {
		args = append(args, b.Module+"/"+p.Package+"@"+b.Version)
	}
	cmd := exec.CommandContext(ctx, goTool, args...)
	cmd.Dir = tmp
	// The user's own build settings are for the user's builds.
	cmd.Env = append(process.WithoutEnv(os.Environ(),
		"GOFLAGS", "GOOS", "GOARCH", "GOBIN", "GOWORK", "GO111MODULE", "CGO_ENABLED"),
		"GOFLAGS=-trimpath", "GOBIN="+tmp, "GOWORK=off", "CGO_ENABLED=0")
	process.OwnGroup(cmd)
	cmd.Cancel = func() error { return process.KillGroup(cmd.Process.Pid) }
	out := &goOutput{most: b.Packages, tell: task.At}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("building %s: %w", b.What, context.Cause(ctx))
		}
		return fmt.Errorf("%s %w: %s\ngo install: %w\n%s", b.What,
			errNotInstallable, b.Remedy, err, process.LastLines(out.why(), 15))
	}
	if err := b.keep(tmp); err != nil {
		return fmt.Errorf("%s was built but cannot be kept: %w", b.What, err)
	}
	task.Stop()
	i.Out.Line(b.Part, "built %s in %s (%d packages compiled), kept in %s", b.What, progress.Seconds(task.Took()),
		out.compiled, b.Dir)
	return nil
}

// keep gives the programs their names and the folder its place.
func (b GoBuild) keep(tmp string) error {
	for _, p := range b.Programs {
		if err := os.Rename(filepath.Join(tmp, filepath.Base(p.Package)), filepath.Join(tmp, p.Name)); err != nil {
			return err //nolint:wrapcheck // wrapped by the caller
		}
	}
	return place(tmp, b.Dir)
}

// place gives a folder that is complete its place.
func place(tmp, dir string) error {
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err //nolint:wrapcheck // wrapped by the caller
	}
	if err := os.RemoveAll(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err //nolint:wrapcheck // wrapped by the caller
	}
	return os.Rename(tmp, dir) //nolint:wrapcheck // wrapped by the caller
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
