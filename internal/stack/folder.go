package stack

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/holdfastmq/holdfast/internal/stack/process"
)

// tempPrefix makes temporary data folders recognisable, see sweep.
const tempPrefix = "holdfast-stack-"

// folder is a stack's data folder, locked for as long as the stack lives.
type folder struct {
	path      string
	temporary bool
	lock      *process.FileLock
}

// openFolder makes the data folder and takes its lock.
func openFolder(path string) (*folder, error) {
	f := &folder{path: path, temporary: path == ""}
	if f.temporary {
		dir, err := os.MkdirTemp("", tempPrefix)
		if err != nil {
			return nil, fmt.Errorf("a temporary data folder cannot be created: %w", err)
		}
		f.path = dir
	}
	abs, err := filepath.Abs(f.path)
	if err != nil {
		return nil, fmt.Errorf("data folder %s: %w", f.path, err)
	}
	f.path = abs
	// 0711: PostgreSQL runs as another user where this process runs as root.
	if err := os.MkdirAll(f.path, 0o711); err != nil {
		return nil, fmt.Errorf("the data folder cannot be created: %w", err)
	}
	if f.temporary {
		if err := os.Chmod(f.path, 0o711); err != nil {
			return nil, fmt.Errorf("data folder %s: %w", f.path, err)
		}
	}
	f.lock, err = process.TryLock(f.join("lock"))
	if errors.Is(err, process.ErrLocked) {
		return nil, fmt.Errorf("a stack is already running from %s (PID %d): stop it or use another folder",
			f.path, readBook(f.join(bookFile)).Owner)
	}
	if err != nil {
		return nil, fmt.Errorf("data folder %s: %w", f.path, err)
	}
	return f, nil
}

func (f *folder) join(elem ...string) string {
	return filepath.Join(append([]string{f.path}, elem...)...)
}

// sub makes a sub-folder that only this user can read.
func (f *folder) sub(name string) (string, error) {
	path := f.join(name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", fmt.Errorf("data folder: %w", err)
	}
	return path, nil
}

// close releases the lock, and removes a temporary folder.
func (f *folder) close() error {
	var err error
	if f.temporary {
		err = os.RemoveAll(f.path)
	}
	f.lock.Release()
	return err
}

// secret reads the password that is kept in the named file, made at first use.
func (f *folder) secret(name string) (string, error) {
	path := f.join(name + ".password")
	text, err := os.ReadFile(path)
	if err == nil && len(text) > 0 {
		return string(text), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("password file: %w", err)
	}
	random := make([]byte, 16)
	_, _ = rand.Read(random) // never fails
	password := hex.EncodeToString(random)
	return password, writeFile(path, []byte(password), 0o600)
}

// loadPorts and savePorts keep a part's ports, so that a stack that is started
// again from the same folder has them again, if they are free.
func (f *folder) loadPorts(part string) ports {
	p := ports{}
	if text, err := os.ReadFile(f.join(part + ".ports.json")); err == nil {
		_ = json.Unmarshal(text, &p) // unreadable: new ports
	}
	return p
}

func (f *folder) savePorts(part string, p ports) error {
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("ports of %s: %w", part, err)
	}
	return writeFile(f.join(part+".ports.json"), text, 0o600)
}

// writeFile replaces a file as a whole.
func writeFile(path string, text []byte, mode os.FileMode) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, text, mode); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
