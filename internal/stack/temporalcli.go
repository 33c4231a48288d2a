package stack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
	dir := i.versioned("temporal", temporalCLI)
	path := filepath.Join(dir, "temporal")
	err := i.build(ctx, goBuild{
		what: "the Temporal CLI " + temporalCLI, duration: "about 3 minutes",
		dir: dir, module: temporalModule, version: temporalCLI,
		ldflags:  fmt.Sprintf("-X %s/temporalcli.Version=%s", temporalModule, strings.TrimPrefix(temporalCLI, "v")),
		programs: []program{{"cmd/temporal", "temporal"}},
		remedy: fmt.Sprintf("run `go install %s/cmd/temporal@%s` or see https://docs.temporal.io/cli#install, "+
			"then have `temporal` on the PATH; or set TEMPORAL_ADDRESS to a running server", temporalModule, temporalCLI),
	})
	return path, err
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
