//go:build unix

package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// ErrLocked means that another process holds the lock.
var ErrLocked = errors.New("locked by another process")

// FileLock is a lock that the kernel releases when its holder dies.
type FileLock struct{ f *os.File }

// TryLock takes the lock, or fails with errLocked at once.
func TryLock(path string) (*FileLock, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &FileLock{f}, nil
}

func (l *FileLock) Release() { _ = l.f.Close() }

// OwnGroup puts the command into a process group of its own, out of the reach of
// the terminal's Ctrl-C.
func OwnGroup(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
}

// AsUser makes the command run as another user; it needs root.
func AsUser(cmd *exec.Cmd, u *Account) {
	if u == nil {
		return
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: u.UID, Gid: u.GID}
}

// KillGroup kills every process of the group.
func KillGroup(pgid int) error {
	if err := syscall.Kill(-pgid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill process group %d: %w", pgid, err)
	}
	return nil
}

// Signal sends a signal; a process that is gone is no error.
func Signal(pid int, sig syscall.Signal) error {
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %s to process %d: %w", sig, pid, err)
	}
	return nil
}

// OwnedByUs says whether the file belongs to the user who runs this process.
func OwnedByUs(info os.FileInfo) bool {
	uid, ok := OwnerOf(info)
	return ok && uid == uint32(os.Geteuid())
}

func OwnerOf(info os.FileInfo) (uint32, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return st.Uid, true
}

// manyFiles is how many files a server may have open: RabbitMQ sets some aside
// for each queue, and takes no connection when none are left.
const manyFiles = 200_000

// RaiseFileLimit lets what is started from now on open many files, as many as
// this user may allow.
func RaiseFileLimit() {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil || limit.Cur >= manyFiles {
		return
	}
	most := syscall.Rlimit{Cur: manyFiles, Max: max(manyFiles, limit.Max)}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &most) == nil {
		return
	}
	limit.Cur = limit.Max
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) // then it stays as it is
}

const (
	sigStop      = syscall.SIGSTOP
	SigKill      = syscall.SIGKILL
	SigTerminate = syscall.SIGTERM
	SigFast      = syscall.SIGINT  // PostgreSQL's fast shutdown
	SigImmediate = syscall.SIGQUIT // PostgreSQL's immediate shutdown
)
