//go:build !unix

package process

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// A stack cannot be started on this system; external parts can be used.

var ErrLocked = errors.New("locked by another process")

var errUnsupported = errors.New("a private RabbitMQ, PostgreSQL and Temporal can be started on Linux and macOS only: " +
	"set AMQP_URL, DATABASE_URL and TEMPORAL_ADDRESS to running ones, see docker-compose.yml")

type FileLock struct{}

func TryLock(string) (*FileLock, error) { return nil, errUnsupported }

func (*FileLock) Release() {}

func OwnGroup(*exec.Cmd) {}

func AsUser(*exec.Cmd, *Account) {}

func dieWithParent(*exec.Cmd, syscall.Signal) {}

func KillGroup(int) error { return errUnsupported }

func Signal(int, syscall.Signal) error { return errUnsupported }

func OwnedByUs(os.FileInfo) bool { return false }

func OwnerOf(os.FileInfo) (uint32, bool) { return 0, false }

const (
	sigStop      = syscall.SIGKILL
	SigKill      = syscall.SIGKILL
	SigTerminate = syscall.SIGTERM
	SigFast      = syscall.SIGINT
	SigImmediate = syscall.SIGQUIT
)

func RaiseFileLimit() {}
