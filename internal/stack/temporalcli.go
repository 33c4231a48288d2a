package stack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/internal/stack/install"
)

const (
	// temporalCLI is the version that is fetched where none is on the PATH. Later
	// ones refuse `go install` (their go.mod has a replace directive).
	temporalCLI    = "v1.5.1"
	temporalModule = "github.com/temporalio/cli"
	// temporalServerMajor and temporalServerMinor are the oldest dev server that
	// is used from the PATH: eager workflow start is on by default from it. CLI
	// 1.5.0 is the first that has it.
	temporalServerMajor, temporalServerMinor = 1, 29
)

// temporalReleases is where Temporal publishes its CLI, built. HOLDFAST_TEMPORAL_CLI_URL takes its place.
const temporalReleases = "https://github.com/temporalio/cli/releases/download/" + temporalCLI

// temporalArchives has the SHA-256 of temporalCLI's archives, by system and processor. Another
// version needs other ones.
var temporalArchives = map[string]string{
	"linux_amd64":  "ddc95e08b0b076efd4ea9733a3f488eb7d2be875f8834e616cd2a37358b4852d",
	"linux_arm64":  "bd1b0db9f18b051026de8bf6cc1505f2510f14bbb7a8b9a4a91fff46c77454f5",
	"darwin_amd64": "bbb73e2a31135abe50a1f1cdb35030c42961df618e8ce9c60ae89f201540c5d9",
	"darwin_arm64": "cca01b7ea35ad56e2a328d9ae596bf716bd22313ef63c7a761c88354457c2415",
}

const (
	// EnvTemporalCLI names the variable that has the path of a Temporal CLI to use.
	EnvTemporalCLI = "HOLDFAST_TEMPORAL_CLI"
	// EnvTemporalCLIURL names the variable that has the address of the folder that Temporal's archives
	// are downloaded from, or "off".
	EnvTemporalCLIURL = "HOLDFAST_TEMPORAL_CLI_URL"
)

// temporalBinary finds the Temporal CLI: the one that the environment names, one on the
// PATH that is recent, or the one that was fetched before; or downloads it, or builds it.
func temporalBinary(ctx context.Context, in *install.Installer) (string, error) {
	if named := os.Getenv(EnvTemporalCLI); named != "" {
		path, err := exec.LookPath(named)
		if err == nil {
			err = usableTemporal(ctx, path)
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w: name the program `temporal` of CLI 1.5.0 or later, or unset it", EnvTemporalCLI, err)
		}
		return filepath.Abs(path)
	}
	if path, err := exec.LookPath("temporal"); err == nil {
		if err = usableTemporal(ctx, path); err == nil {
			return filepath.Abs(path)
		}
		in.Out.Line(temporalName, "not used: %v", err)
	}
	dir := in.Versioned("temporal", temporalCLI)
	path := filepath.Join(dir, "temporal")
	err := in.Build(ctx, install.GoBuild{
		Prebuilt: temporalPrebuilt(os.Getenv(EnvTemporalCLIURL), runtime.GOOS, runtime.GOARCH),
		Part:     temporalName, What: "the Temporal CLI " + temporalCLI, Duration: "about 3 minutes", Dir: dir,
		Module: temporalModule, Version: temporalCLI,
		LDFlags:  fmt.Sprintf("-X %s/temporalcli.Version=%s", temporalModule, strings.TrimPrefix(temporalCLI, "v")),
		Programs: []install.Program{{Package: "cmd/temporal", Name: "temporal"}}, Packages: 1300,
		Remedy: fmt.Sprintf("run `go install %s/cmd/temporal@%s` or see https://docs.temporal.io/cli#install, "+
			"then have `temporal` on the PATH, or name it in %s; or set TEMPORAL_ADDRESS to a running server",
			temporalModule, temporalCLI, EnvTemporalCLI),
	})
	return path, err
}

// temporalPrebuilt is what is published for a system: at base, empty for Temporal's own. Zero where
// base is "off", or nothing is known of the system.
func temporalPrebuilt(base, system, processor string) install.Prebuilt {
	sum, known := temporalArchives[system+"_"+processor]
	if base = strings.TrimSpace(base); strings.EqualFold(base, "off") || !known {
		return install.Prebuilt{}
	}
	if base == "" {
		base = temporalReleases
	}
	return install.Prebuilt{
		URL: fmt.Sprintf("%s/temporal_cli_%s_%s_%s.tar.gz", strings.TrimRight(base, "/"),
			strings.TrimPrefix(temporalCLI, "v"), system, processor),
		SHA256: sum, File: "temporal", Usable: usableTemporal,
	}
}

// usableTemporal says why a Temporal CLI cannot be used.
func usableTemporal(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.WaitDelay = time.Second // of a script whose children hold its output
	out, err := cmd.Output()
	switch {
	case err != nil:
		return fmt.Errorf("%s does not say its version: %w", path, err)
	case !recentTemporal(string(out)):
		said, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%s is too old, or no Temporal CLI: it says %.100q, and its server has to be %d.%d or later",
			path, said, temporalServerMajor, temporalServerMinor)
	}
	return nil
}

// versionTimeout is how long a program may take to say its version.
const versionTimeout = 30 * time.Second

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
