package stack

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/holdfastmq/holdfast/internal/stack/install"
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
func temporalBinary(ctx context.Context, in *install.Installer) (string, error) {
	if path, err := exec.LookPath("temporal"); err == nil {
		out, err := exec.CommandContext(ctx, path, "--version").Output()
		switch {
		case err != nil:
			in.Out.Line(temporalName, "%s does not say its version (%v); not used", path, err)
		case recentTemporal(string(out)):
			return filepath.Abs(path)
		default:
			in.Out.Line(temporalName, "%s is too old (%s); not used", path, strings.TrimSpace(string(out)))
		}
	}
	dir := in.Versioned("temporal", temporalCLI)
	path := filepath.Join(dir, "temporal")
	err := in.Build(ctx, install.GoBuild{
		Part: temporalName, What: "the Temporal CLI " + temporalCLI, Duration: "about 3 minutes", Dir: dir,
		Module: temporalModule, Version: temporalCLI,
		LDFlags:  fmt.Sprintf("-X %s/temporalcli.Version=%s", temporalModule, strings.TrimPrefix(temporalCLI, "v")),
		Programs: []install.Program{{Package: "cmd/temporal", Name: "temporal"}},
		Remedy: fmt.Sprintf("run `go install %s/cmd/temporal@%s` or see https://docs.temporal.io/cli#install, "+
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
