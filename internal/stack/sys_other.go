//go:build !unix

package stack

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// A stack cannot be started on this system; external parts can be used.

var errLocked = errors.New("locked by another process")

var errUnsupported = errors.New("a private RabbitMQ, PostgreSQL and Temporal can be started on Linux and macOS only: " +
	"set AMQP_URL, DATABASE_URL and TEMPORAL_ADDRESS to running ones, see docker-compose.yml")

type fileLock struct{}

func tryLock(string) (*fileLock, error) { return nil, errUnsupported }

func (*fileLock) release() {}

func OwnGroup(*exec.Cmd) {}

func asUser(*exec.Cmd, *account) {}

func dieWithParent(*exec.Cmd, syscall.Signal) {}

func killGroup(int) error { return errUnsupported }

func signalPID(int, syscall.Signal) error { return errUnsupported }

func ownedByUs(os.FileInfo) bool { return false }

func ownerOf(os.FileInfo) (uint32, bool) { return 0, false }

const (
	sigStop      = syscall.SIGKILL
	sigKill      = syscall.SIGKILL
	sigTerminate = syscall.SIGTERM
	sigFast      = syscall.SIGINT
	sigImmediate = syscall.SIGQUIT
)

func raiseFileLimit() {}
