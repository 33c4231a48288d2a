package install

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/internal/stack/process"
)

//go:embed apt.sh
var aptScript string

// aptGrace is how long a cancelled installation may take to finish: cutting
// dpkg off in the middle would leave the machine's packages half configured.
const aptGrace = 2 * time.Minute

// Packages installs Debian packages, unless installed says meanwhile that they
// are there. what names the piece in errors.
func (i *Installer) Packages(ctx context.Context, part, remedy string, installed func() bool, names ...string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.locked(ctx, part, "apt", func() error {
		if installed() {
			return nil
		}
		command, err := aptCommand(ctx)
		if err != nil {
			return fmt.Errorf("%s is not installed and %w (%v): %s", part, errNotInstallable, err, remedy)
		}
		defer i.Out.Long(part, "installing Debian package "+strings.Join(names, " "))()
		if err := i.apt(ctx, command, names); err != nil {
			return fmt.Errorf("%s is not installed and %w: %s\n%w", part, errNotInstallable, remedy, err)
		}
		if !installed() {
			return fmt.Errorf("%s was installed (%s) but is not where it is looked for: %s",
				part, strings.Join(names, " "), remedy)
		}
		return nil
	})
}

// aptCommand is the command line that runs a script as root, or why there is none.
func aptCommand(ctx context.Context) ([]string, error) {
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("only Debian and Ubuntu are supported")
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return nil, fmt.Errorf("there is no apt-get")
	}
	if os.Geteuid() == 0 {
		return []string{"sh"}, nil
	}
	if _, err := exec.LookPath("sudo"); err != nil {
		return nil, fmt.Errorf("not root, and there is no sudo")
	}
	if err := exec.CommandContext(ctx, "sudo", "-n", "true").Run(); err != nil {
		return nil, fmt.Errorf("not root, and sudo asks for a password")
	}
	return []string{"sudo", "-n", "sh"}, nil
}

// apt runs the installation script.
func (i *Installer) apt(ctx context.Context, command, names []string) error {
	update := "update"
	if i.updated {
		update = "keep"
	}
	args := append(append(command[1:], "-c", aptScript, "holdfast-install", update), names...)
	cmd := exec.CommandContext(ctx, command[0], args...)
	process.OwnGroup(cmd) // a Ctrl-C at the terminal must not reach dpkg
	cmd.Cancel = func() error {
		i.Out.Line("Packages", "cancelled: letting apt-get finish first")
		return nil
	}
	cmd.WaitDelay = aptGrace
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("apt-get: %w\n%s", err, process.LastLines(log.String(), 15))
	}
	i.updated = true
	return nil
}
